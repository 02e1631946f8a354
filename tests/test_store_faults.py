"""A stash when the disk is full, read-only or damaged, and when the clock goes back.

What the engines themselves say to this is tested beside them; here it is what a user sees.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import remount, small_disk, take_all_descriptors

from hashstash import ConfigurationError, EngineError, HashStash, HashStashError
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing
from hashstash.testing.processes import METHODS, Child

ENGINES = ["pairtree", "sqlite", "lmdb", "diskcache", "sqlitedict"]
FILES = {"diskcache": "data.db/cache.db"}
GOOD: dict[Any, Any] = {
    **{f"key {n}": [n, "x" * n] for n in range(60)},
    "code": textwrap.dedent,
    "long " * 50: 1,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    try:
        HashStash(tmp_path, engine=request.param)
    except MissingDependencyError as exc:
        missing(exc)
    return str(request.param)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "3m") as folder:
        yield folder


def writes(stash: HashStash) -> list[Callable[[], object]]:
    """Return ways to write: each must fail, and change nothing."""
    return [
        lambda: stash.__setitem__("key 1", 0),
        lambda: stash.__setitem__("new", textwrap.dedent),
        lambda: stash.update({"key 1": 0, "new": 0}),
        lambda: stash.setdefault("new", 0),
        lambda: stash.pop("key 1"),
        lambda: stash.__delitem__("key 1"),
        lambda: stash.delete_many(["key 1"]),
        stash.popitem,
        stash.clear,
    ]


def has(stash: HashStash, items: dict[Any, Any]) -> None:
    assert dict(stash.items()) == items
    assert stash.get_many(items) == list(items.values())
    assert len(stash) == len(items)
    assert stash.verify() == []


@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
def test_a_disk_that_fills_up(disk: Path, engine: str, append: bool) -> None:
    """What was acknowledged stays, reading goes on, and so does writing once there is room."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    stash = HashStash(disk / "root", engine=engine, append_mode=append)
    stash["steady"] = 0
    acknowledged = 0
    with pytest.raises(EngineError, match=r"(?i)no space|full") as caught:
        for number in range(1, 1000):
            stash[f"key {number}"] = os.urandom(20_000)
            stash["steady"] = number
            acknowledged = number
    assert caught.value.engine == engine
    assert str(disk) in str(caught.value)
    assert acknowledged > 10
    for _ in range(2):
        assert stash["steady"] == acknowledged
        versions = stash.get_all("steady")
        assert versions == (list(range(acknowledged + 1)) if append else [acknowledged])
        assert {f"key {n}" for n in range(1, acknowledged + 1)} <= set(stash)
        assert stash.verify() == []
        ballast.unlink(missing_ok=True)
        stash.close()
    stash["steady"] = acknowledged + 1
    assert stash["steady"] == acknowledged + 1
    stash.close()


def test_a_disk_that_becomes_read_only(disk: Path, engine: str) -> None:
    stash = HashStash(disk / "root", engine=engine)
    stash.update(GOOD)
    stash.close()
    remount(disk, "ro")
    has(stash, GOOD)
    for write in writes(stash):
        with pytest.raises(EngineError) as caught:
            write()
        assert str(disk) in str(caught.value)
    has(stash, GOOD)
    stash.close()
    remount(disk, "rw")
    stash["new"] = 1
    has(stash, {**GOOD, "new": 1})
    stash.close()


def test_a_disk_that_is_read_only_from_the_start(disk: Path, engine: str) -> None:
    """There is nothing in a store that cannot be made, and saying so is no error."""
    remount(disk, "ro")
    stash = HashStash(disk / "root", engine=engine)
    has(stash, {})
    assert stash.get("key 1") is None
    with pytest.raises(EngineError, match=r"(?i)read-only") as caught:
        stash["key 1"] = 1
    assert str(disk) in str(caught.value)
    remount(disk, "rw")


def without_descriptors(settings: dict[str, Any]) -> tuple[list[str], int]:
    stash = HashStash(**settings)
    assert stash["key 1"] == GOOD["key 1"]
    said, read = [], 0
    taken = take_all_descriptors()
    for act in (lambda: stash["key 2"], lambda: stash.__setitem__("key 2", GOOD["key 2"]),
                lambda: list(stash.items())):  # fmt: skip
        try:
            act()
            read += 1
        except (EngineError, ConfigurationError) as exc:  # the latter of the signing secret
            said.append(str(exc))
    for fd in taken:
        os.close(fd)
    has(stash, GOOD)
    return said, read


def test_no_more_descriptors(tmp_path: Path, engine: str) -> None:
    """Engines that hold theirs open go on; the others say so, and go on afterwards."""
    settings: dict[str, Any] = {"root_dir": str(tmp_path / "root"), "engine": engine}
    stash = HashStash(**settings)
    stash.update(GOOD)
    stash.close()
    said, read = Child(METHODS[0], without_descriptors, settings).result()
    assert len(said) + read == 3
    assert all(str(tmp_path) in one or "signing.key" in one for one in said)
    assert said or engine != "pairtree"


def test_a_clock_that_goes_back(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of versions, and which write wins, is that of the writes."""
    stash = HashStash(tmp_path, engine=engine, append_mode=True)
    now = time.time_ns()
    for number, clock in enumerate([now, now - 3_600_000_000_000, 0, now]):
        monkeypatch.setattr("hashstash.rows.time_ns", lambda clock=clock: clock)
        stash["k"] = number
        assert stash["k"] == number
        stash.pop("other", None)
        stash["other"] = number
    assert stash.get_all("k") == [0, 1, 2, 3]
    assert stash.versions("k") == [1, 2, 3, 4]
    told = stash.get_all("k", with_metadata=True)
    assert told is not None
    assert told[1]["_timestamp"] == pytest.approx(now / 1e9 - 3600)
    assert stash.prune_versions(keep=2) == 2
    assert stash.get_all("k") == [2, 3]
    assert stash.verify() == []


# -- stores that are damaged -------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "a byte": lambda whole: whole[:1],
    "half": lambda whole: whole[: len(whole) // 2],
    "without its end": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "zeros at the start": lambda whole: bytes(200) + whole[200:],
    "zeros in the middle": lambda whole: (
        whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :]
    ),
    "zeros at the end": lambda whole: whole[:-4096] + bytes(4096),
    "ones in the middle": lambda whole: (
        whole[: len(whole) // 3] + b"\xff" * 4096 + whole[len(whole) // 3 + 4096 :]
    ),
    "text": lambda whole: b"no store at all\n" * 1000,
}


def look_at(settings: dict[str, Any], items: dict[Any, Any]) -> tuple[list[str], list[Any]]:
    """Read everything in every way; return what was said, and the keys that were not found."""
    stash = HashStash(**settings)
    said, lost = [], []
    for key, value in items.items():
        try:
            found = stash.get(key, "lost")
            if found == "lost":
                lost.append(key)
            else:
                assert found == value, "another value"
        except HashStashError as exc:
            said.append(str(exc))
    for act in (stash.__len__, lambda: list(stash), lambda: list(stash.items()), stash.verify):
        try:
            act()
        except HashStashError as exc:
            said.append(str(exc))
    return said, lost


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file(tmp_path: Path, engine: str, how: str) -> None:
    """No other value, no death of the process, no error but ours, and it names the store."""
    if engine == "lmdb" and how in {"zeros in the middle", "zeros at the end"}:
        pytest.skip("LMDB keeps no checksums of pages, and may abort: see docs/engines.md")
    root = tmp_path / "root"
    settings: dict[str, Any] = {"root_dir": str(root), "engine": engine}
    stash = HashStash(**settings)
    stash.update(GOOD)
    path = Path(stash.path, FILES.get(engine, "data.db").partition("/")[2])
    if engine == "pairtree":
        path = Path(stash.path, "entries")
        stored = stash.encode_key("key 7")
        (path,) = path.glob(f"*/{stored.hex()}")
    stash.close()
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[how](whole)[: max(len(whole), 20_000)])
    said, lost = Child(METHODS[0], look_at, settings, GOOD).result()
    assert said or lost, "the damage changed nothing"
    assert all(str(root) in message or "checksum" in message for message in said)
    if engine == "pairtree":  # a file for each: the others are as they were
        assert lost == []
        assert [one.key for one in stash.verify()] == ["key 7"]
        assert [one.key for one in stash.repair()] == ["key 7"]
        has(stash, {key: value for key, value in GOOD.items() if key != "key 7"})
    if how in {"empty", "a byte", "half", "zeros", "text"}:
        assert lost == [], "a store that is no more must not look like an empty one"
        assert said


READ_OTHERS = """
import sys
from hashstash import HashStash
stash = HashStash(sys.argv[1], "second", engine=sys.argv[2])
assert stash["k"] == 1
stash["k"] = 2
assert stash["k"] == 2
"""


def test_a_damaged_store_leaves_the_next_one_alone(tmp_path: Path, engine: str) -> None:
    first = HashStash(tmp_path, "first", engine=engine)
    first["k"] = 1
    HashStash(tmp_path, "second", engine=engine)["k"] = 1
    first.close()
    for path in Path(tmp_path, "first").rglob("*"):
        if path.is_file():
            path.write_bytes(b"junk" * 3000)
    with pytest.raises(HashStashError):
        first["k"]
    subprocess.run([sys.executable, "-c", READ_OTHERS, str(tmp_path), engine], check=True)
