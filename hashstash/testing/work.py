"""What tests have threads and processes do with an engine."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass, field
from typing import Any

from hashstash.engines import ETAG, Engine, Place

from .processes import PATIENCE, in_threads
from .samples import is_sealed, make_row, number_row, row_number, sealed_row


@dataclass(frozen=True)
class EngineSpec:
    """An engine as it is sent to another process: never opened, only described."""

    cls: type[Engine]
    place: Place
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Engine:
        """Return a new engine of this description."""
        return self.cls(self.place, **self.options)


def add_by_swaps(engine: Engine | EngineSpec, key: bytes, times: int) -> None:
    """Add one to the number under ``key``, ``times`` times, losing to nobody."""
    if isinstance(engine, EngineSpec):
        engine = engine.build()
    for _ in range(times):
        while True:
            row = engine.get(key)
            etag = None if row is None else row[ETAG]
            if engine.compare_and_set(key, etag, number_row(row_number(row) + 1)):
                break


def insert_all(spec: EngineSpec, keys: list[bytes], mark: bytes) -> list[bytes]:
    """Insert a row under each key if there is none; return the keys this process won."""
    engine = spec.build()
    return [key for key in keys if engine.compare_and_set(key, None, make_row(mark))]


def swap_until_stopped(engine: Engine | EngineSpec, rounds: int) -> None:
    """Swap the row under ``k`` again and again for one that tells which put it comes from.

    Ends when there is a row under ``stop``; ``rounds`` is for who puts it there.
    """
    if isinstance(engine, EngineSpec):
        engine = engine.build()
    while not engine.contains(b"stop"):
        for _ in range(min(rounds, 10)):
            row = engine.get(b"k")
            if row is not None:
                engine.compare_and_set(b"k", row[ETAG], make_row(_origin(row)))


def put_among_swaps(engine: Engine, rounds: int) -> None:
    """Put under ``k`` while others swap there: what is read next comes from that put."""
    try:
        for _ in range(rounds):
            row = make_row()
            engine.put(b"k", row)
            for _ in range(3):
                found = engine.get(b"k")
                assert found is not None, "a swap lost the row"
                assert _origin(found) == row[ETAG], "a swap replaced a row that it had not seen"
    finally:
        engine.put(b"stop", b"")


def delete_among_swaps(engine: Engine, rounds: int) -> None:
    """Put and delete under ``k`` while others swap there: what is deleted stays so."""
    try:
        for number in range(rounds):
            engine.put(b"k", make_row())
            for _ in range(number % 20):  # let a swap begin, each time a little further
                assert engine.get(b"k") is not None, "a swap lost the row"
            assert engine.delete(b"k"), "a swap lost the row"
            for _ in range(3):
                assert engine.get(b"k") is None, "a swap brought back a deleted row"
    finally:
        engine.put(b"stop", b"")


def _origin(row: bytes) -> bytes:
    return row[ETAG.stop :] or row[ETAG]


def put_all(engine: Engine | EngineSpec, rows: dict[bytes, bytes]) -> None:
    """Store each row."""
    if isinstance(engine, EngineSpec):
        engine = engine.build()
    for key, row in rows.items():
        engine.put(key, row)


def read_all(spec: EngineSpec, table: str) -> dict[bytes, bytes]:
    """Return all rows of a table, as this process sees them."""
    return dict(spec.build().sibling(table).items())


def put_and_die(spec: EngineSpec, key: bytes, row: bytes, how: str) -> None:
    """Store a row and end at once: no clean-up, no closing, no flushing."""
    spec.build().put(key, row)
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.SIGKILL)


def use_inherited(engine: Engine, key: bytes) -> tuple[bytes | None, int]:
    """Use an engine that came through a fork; return what is under ``key`` and the count."""
    seen = engine.get(key)
    engine.put(b"from the child", sealed_row(b"from the child"))
    engine.compare_and_set(b"swapped by the child", None, sealed_row(b"swapped by the child"))
    count = sum(1 for _ in engine.keys())
    engine.close()
    engine.put(b"after closing", sealed_row(b"after closing"))
    return seen, count


def crowd(spec: EngineSpec, seed: int, steps: int, patience: float = PATIENCE) -> None:
    """Have two threads read and change a few keys in every way, checking all they read."""
    engine = spec.build()
    in_threads(_mill_about, [(engine, seed * 2 + n, steps) for n in range(2)], patience=patience)
    engine.close()


STEADY = [b"steady %d" % n for n in range(20)]
"""Keys that a crowd overwrites and never removes."""
FLEETING = [b"fleeting %d" % n for n in range(20)]
"""Keys that a crowd stores and removes."""


def _mill_about(engine: Engine, seed: int, steps: int) -> None:
    chance = random.Random(seed)
    scratch = engine.sibling("scratch")
    for _ in range(steps):
        steady, fleeting = chance.choice(STEADY), chance.choice(FLEETING)
        match chance.randrange(10):
            case 0:
                engine.put(steady, sealed_row(steady))
            case 1:
                engine.put(fleeting, sealed_row(fleeting))
            case 2:
                engine.delete(fleeting)
            case 3:
                listed = [key for key in engine.keys() if key in STEADY]
                assert sorted(listed) == sorted(STEADY), "a key vanished or came twice"
            case 4:
                for key, row in engine.items():
                    assert key == b"counter" or is_sealed(key, row)
            case 5:
                scratch.put(fleeting, sealed_row(fleeting))
            case 6:
                scratch.clear()
            case 7:
                add_by_swaps(engine, b"counter", 1)
            case _:
                for key in (steady, fleeting):
                    found = engine.get(key)
                    assert found is not None or key is fleeting, "false miss"
                    assert found is None or is_sealed(key, found), "a row nobody wrote"
