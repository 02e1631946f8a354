"""Processes and threads at one stash: every value that is read is one that somebody wrote."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from hashstash import HashStash
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing
from hashstash.testing.processes import METHODS, in_processes, in_threads

ENGINES = ["pairtree", "sqlite", "lmdb", "shm", "diskcache", "sqlitedict"]
FAST = METHODS[0]
PATIENCE = 1500.0
STEADY: list[Any] = [*(f"steady {n}" for n in range(6)), ("steady", "x" * 200), {"steady": [1]}]
"""Keys that are overwritten and never removed."""
FLEETING: list[Any] = [*(f"fleeting {n}" for n in range(6)), ["fleeting", "y" * 200]]
"""Keys that come and go."""
CODECS: list[dict[str, Any]] = [
    {},
    {"serializer": "pickle"},
    {"compress": "zlib", "b64": True},
    {"serializer": "pickle", "compress": "lz4"},
]
"""Each process writes by another one, and reads what all of them wrote; two of them sign."""

Settings = dict[str, Any]


@pytest.fixture(params=ENGINES)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of an empty stash that other processes see."""
    root = tmp_path / secrets.token_hex(8)  # the shm engine knows a place by its name alone
    settings = {"root_dir": str(root), "engine": request.param}
    try:
        HashStash(**settings)
    except MissingDependencyError as exc:
        missing(exc)
    yield settings
    for dbname in ("main", "scratch"):
        HashStash(**settings, dbname=dbname)._engine.destroy()


def value_of(key: Any, writer: object) -> dict[str, Any]:
    """Return a value that only ``key`` can have and that shows whether all of it is there."""
    text = secrets.token_hex(100)
    return {"key": repr(key), "text": text, "sum": crc32(text.encode()), "writer": writer}


def is_whole(key: Any, value: Any) -> bool:
    return bool(value["key"] == repr(key) and value["sum"] == crc32(value["text"].encode()))


def mill_about(settings: Settings, process: int, thread: int, steps: int) -> int:
    """Read and change a few keys in every way; return how many keys of its own it wrote."""
    chance = random.Random(process * 100 + thread)
    stash = HashStash(**settings, **CODECS[process % len(CODECS)])
    scratch = HashStash(**settings, dbname="scratch")
    own = itertools.count()
    written = 0
    for _ in range(steps):
        steady, fleeting = chance.choice(STEADY), chance.choice(FLEETING)
        match chance.randrange(12):
            case 0:
                stash[steady] = value_of(steady, process)
            case 1:
                stash.update([(key, value_of(key, process)) for key in (steady, fleeting)])
            case 2:
                stash.delete_many([fleeting])
            case 3:
                found = stash.pop(fleeting, None)
                assert found is None or is_whole(fleeting, found)
            case 4:
                assert is_whole(fleeting, stash.setdefault(fleeting, value_of(fleeting, process)))
            case 5:
                listed = [repr(key) for key in stash if key in STEADY]
                assert sorted(listed) == sorted(map(repr, STEADY)), "a key vanished or came twice"
            case 6:
                for key, value in stash.items():
                    assert is_whole(key, value)
            case 7:
                scratch[fleeting] = value_of(fleeting, process)
            case 8:
                scratch.clear()
                assert len(scratch) <= len(FLEETING)
            case 9:
                with stash.batch():
                    for _ in range(3):
                        key = ("own", process, thread, next(own))
                        stash[key] = value_of(key, process)
                        written += 1
            case 10:
                for key, value in zip(STEADY, stash.get_many(STEADY), strict=True):
                    assert is_whole(key, value), "a false miss or a mix-up"
            case _:
                assert is_whole(steady, stash[steady])
                kept = stash.get(fleeting)
                assert kept is None or is_whole(fleeting, kept)
    return written


def crowd(settings: Settings, process: int, steps: int) -> list[int]:
    given = [(settings, process, thread, steps) for thread in range(2)]
    return in_threads(mill_about, given, patience=PATIENCE)


def check_crowd(settings: Settings, processes: int, steps: int) -> None:
    stash = HashStash(**settings)
    stash.update([(key, value_of(key, "first")) for key in STEADY])
    stash.close()
    given = [(settings, process, steps) for process in range(processes)]
    written = in_processes(FAST, crowd, given, patience=PATIENCE)
    for process, threads in enumerate(written):
        for thread, count in enumerate(threads):
            keys = [("own", process, thread, number) for number in range(count)]
            for key, value in zip(keys, stash.get_many(keys), strict=True):
                assert is_whole(key, value), "lost"
    items = list(stash.items())
    assert all(is_whole(key, value) for key, value in items)
    assert len(items) == len(stash) == len({stash.encode_key(key) for key, _ in items})
    rest = [key for key, _ in items if not (isinstance(key, tuple) and key[0] == "own")]
    assert len(items) - len(rest) == sum(map(sum, written))
    assert all(key in STEADY or key in FLEETING for key in rest)
    assert stash.verify() == []


def test_a_crowd(spec: Settings) -> None:
    check_crowd(spec, processes=4, steps=60)


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_a_large_crowd(spec: Settings) -> None:
    check_crowd(spec, processes=8, steps=1000)


# -- append mode -------------------------------------------------------------------------------


def append(settings: Settings, process: int, steps: int) -> None:
    given = [(settings, process, thread, steps) for thread in range(2)]
    in_threads(_append, given, patience=PATIENCE)


def _append(settings: Settings, process: int, thread: int, steps: int) -> None:
    stash = HashStash(**settings, append_mode=True, **CODECS[process % len(CODECS)])
    for step in range(steps):
        stash["shared"] = (process, thread, step)
        stash.update({f"own {process} {thread}": step})
        found = stash.get_all("shared", with_metadata=True)
        assert found is not None
        assert [one["_version"] for one in found] == list(range(1, len(found) + 1))
        mine = [one["_value"][2] for one in found if one["_value"][:2] == (process, thread)]
        assert mine == list(range(step + 1)), "an append was lost, or came twice"


def check_appends(settings: Settings, processes: int, steps: int) -> None:
    given = [(settings, process, steps) for process in range(processes)]
    in_processes(FAST, append, given, patience=PATIENCE)
    stash = HashStash(**settings, append_mode=True)
    total = processes * 2 * steps
    assert stash.versions("shared") == list(range(1, total + 1))
    found = stash.get_all("shared")
    assert found is not None
    assert len(set(found)) == total
    for process, thread in itertools.product(range(processes), range(2)):
        assert stash.get_all(f"own {process} {thread}") == list(range(steps))
    assert stash.verify() == []


def test_a_crowd_that_appends(spec: Settings) -> None:
    check_appends(spec, processes=4, steps=10)


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_a_large_crowd_that_appends(spec: Settings) -> None:
    check_appends(spec, processes=8, steps=60)


# -- reads -------------------------------------------------------------------------------------


def play(settings: Settings, role: int, reads: int) -> int:
    """Overwrite until told to stop; or, in the first role, read and then tell."""
    stash = HashStash(**settings, **CODECS[role % len(CODECS)])
    if role:
        for number in itertools.count():
            key = STEADY[number % len(STEADY)]
            stash[key] = value_of(key, role)
            if number % 50 == 0 and "stop" in stash:
                break
        return 0
    try:
        return sum(
            is_whole(key, stash[key]) for key in itertools.islice(itertools.cycle(STEADY), reads)
        )
    finally:
        stash["stop"] = True


def check_reads(settings: Settings, reads: int) -> None:
    stash = HashStash(**settings)
    stash.update([(key, value_of(key, "first")) for key in STEADY])
    stash.close()
    given = [(settings, role, reads) for role in range(3)]
    assert in_processes(FAST, play, given, patience=PATIENCE)[0] == reads


def test_no_false_miss(spec: Settings) -> None:
    check_reads(spec, 1500)


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_no_false_miss_in_a_million_reads(spec: Settings) -> None:
    check_reads(spec, 1_000_000)
