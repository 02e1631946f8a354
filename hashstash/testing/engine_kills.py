"""Writers that are killed at any instant: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hashstash.engines import ETAG, Engine

from .processes import METHODS, Child
from .samples import is_sealed, sealed_row
from .work import EngineSpec

KEYS = [b"key %d" % number for number in range(12)]
State = dict[bytes, bytes]
"""What is stored, as keys and ETags."""


class KillTests:
    """A child writes in every way and is killed at random moments."""

    kills: ClassVar[int] = 20

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
    def test_kills(self, engine: Engine, shared: EngineSpec, tmp_path: Path) -> None:
        engine.close()
        survive_kills(shared, tmp_path / "log", self.kills)
        assert self.leftovers(shared.build()) == []

    def leftovers(self, engine: Engine) -> list[str]:
        """Return what a dead writer has left after the next opening; for engines with files."""
        engine.close()
        return []


def survive_kills(spec: EngineSpec, log: Path, kills: int) -> None:
    """Start and kill writers; after each, compare the store with what the writer acknowledged.

    Args:
        spec: an empty engine.
        log: a file that the writers write their acknowledgements to.
        kills: how many.
    """
    chance = random.Random(kills)
    state: State = {}
    for number in range(kills):
        log.write_bytes(b"")
        child = Child(METHODS[0], write_and_tell, spec, str(log), number)
        while b"done" not in log.read_bytes() and child.process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.random() * 0.02)
        child.process.kill()
        assert child.wait() == -signal.SIGKILL
        whole_lines, _, _torn = log.read_text().rpartition("\n")
        acknowledged, unsure = _replay(state, whole_lines.splitlines())
        state = _check(spec, acknowledged, unsure)


def write_and_tell(spec: EngineSpec, log: str, seed: int) -> None:
    """Write for ever, telling of each change before it begins and when it is done."""
    chance = random.Random(seed)
    engine = spec.build()
    told = os.open(log, os.O_WRONLY | os.O_APPEND)
    while True:
        keys = chance.sample(KEYS, chance.choice([1, 1, 1, 4]))
        rows = {key: sealed_row(key) for key in keys}
        kind = chance.choice(["put", "put", "put", "swap", "batch", "delete", "clear"])
        if kind == "clear" and chance.random() < 0.8:
            continue
        with _telling(told, kind, rows):
            _write(engine, kind, rows)


def _write(engine: Engine, kind: str, rows: dict[bytes, bytes]) -> None:
    if kind == "batch":
        engine.put_many(rows.items())
    elif kind == "clear":
        engine.clear()
    else:
        for key, row in rows.items():
            if kind == "put":
                engine.put(key, row)
            elif kind == "swap":
                found = engine.get(key)
                assert engine.compare_and_set(key, None if found is None else found[ETAG], row)
            else:
                engine.delete(key)


@contextlib.contextmanager
def _telling(log: int, kind: str, rows: dict[bytes, bytes]) -> Iterator[None]:
    words = [kind, *(f"{key.hex()}={row[ETAG].hex()}" for key, row in rows.items())]
    os.write(log, (" ".join(words) + "\n").encode())
    yield
    os.write(log, b"done\n")


def _replay(state: State, lines: list[str]) -> tuple[State, dict[bytes, Any]]:
    """Return what must be there, and for the change that was under way what may be instead."""
    state = dict(state)
    pending: dict[bytes, bytes | None] = {}
    for line in lines:
        kind, *words = line.split(" ")
        if kind == "done":
            for key, etag in pending.items():
                if etag is None:
                    state.pop(key, None)
                else:
                    state[key] = etag
            pending = {}
        elif kind == "clear":
            pending = dict.fromkeys(KEYS)
        else:
            pairs = [word.split("=") for word in words]
            gone = kind == "delete"
            pending = {bytes.fromhex(k): None if gone else bytes.fromhex(e) for k, e in pairs}
    return state, pending


def _check(spec: EngineSpec, state: State, unsure: dict[bytes, Any]) -> State:
    engine = spec.build()
    found = dict(engine.items())
    assert all(is_sealed(key, row) for key, row in found.items()), "a torn row"
    assert {key: engine.get(key) for key in found} == found
    assert engine.count() == len(found)
    for key in KEYS:
        etag = found[key][ETAG] if key in found else None
        may_be = {state.get(key)} | ({unsure[key]} if key in unsure else set())
        assert etag in may_be, f"{key!r}: {etag!r} is not of {may_be}"
    for key in KEYS:  # nothing stays locked
        row = sealed_row(key)
        engine.put(key, row)
        assert engine.compare_and_set(key, row[ETAG], found.get(key))
    engine.close()
    return {key: row[ETAG] for key, row in found.items()}
