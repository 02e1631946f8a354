"""Folders of diskcache.Cache, opened as stashes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import diskcache
import pytest

from hashstash import HashStash
from hashstash.errors import (
    ConfigurationError,
    CorruptRowError,
    EngineError,
    SizeLimitError,
    UntrustedRowError,
)
from hashstash.testing.processes import METHODS, in_processes, in_threads


class Point:
    """A class that only code can bring back."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    def __hash__(self) -> int:
        return self.x


class Command:
    """Unpickles by running a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.path}'",)


PLAIN: dict[Any, Any] = {
    "text": "a text",
    "": "",
    "umlaut ä\0\n": "ä\r\n\0",
    b"bytes": b"\0\xff",
    b"": b"",
    "bytes": b"other",
    1: 1,
    -(2**63): 2**63 - 1,
    2.5: -2.5,
    float("inf"): float("inf"),
    "x" * 300: "a key too long to be stored itself",
    b"x" * 300: b"y" * 300,
    "file": b"z" * 100_000,
    "text file": "zä\r\n" * 50_000,
}
PICKLED: dict[Any, Any] = {
    (1, "a"): [1, 2],
    None: None,
    False: True,
    2**70: 2**80,
    date(2020, 1, 2): {"a": {1, 2}},
    ("long",) * 50: "value",
    "plain": (1, 2),
    "large": list(range(50_000)),
    "point": Point(3),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[Any]:
    with diskcache.Cache(folder) as cache:
        yield cache


@pytest.fixture
def view(folder: Path, tmp_path: Path) -> Iterator[Callable[..., HashStash]]:
    """A function from options to a stash over the cache."""
    opened: list[HashStash] = []

    def build(**options: Any) -> HashStash:
        stash = HashStash(tmp_path / "stash", engine="diskcache", existing=folder, **options)
        opened.append(stash)
        return stash

    yield build
    for stash in opened:
        stash.close()


def fill(cache: Any, *parts: dict[Any, Any]) -> None:
    for part in parts:
        for key, value in part.items():
            cache[key] = value


def plant(folder: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    connection.execute(statement, parameters)
    connection.commit()
    connection.close()


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def test_plain_entries(cache: Any, view: Callable[..., HashStash]) -> None:
    fill(cache, PLAIN)
    stash = view()
    assert len(stash) == len(PLAIN)
    for key, value in PLAIN.items():
        assert same(stash[key], value), key
        assert key in stash
    found = dict(stash.items())
    assert found == PLAIN
    assert {type(key) for key in found} == {str, bytes, int, float}
    assert set(stash) == set(PLAIN)
    assert stash.get_many(PLAIN) == list(PLAIN.values())
    for missing in ("none", 2, 1.0, True, 2.0, b"text", "\ud800", 2**70, (1,), None, "y" * 300):
        assert missing not in stash
        assert stash.get(missing, "missing") == "missing"
    assert "DiskcacheHashStash" in repr(stash)
    assert stash.size_bytes() > 350_000


def test_equal_numbers_are_two_keys(cache: Any, view: Callable[..., HashStash]) -> None:
    cache[1], cache[2.0] = "int", "float"
    stash = view(trust_existing=True)
    assert stash[1] == "int"
    assert stash[2.0] == "float"
    assert 1.0 not in stash
    assert 2 not in stash
    cache[True] = "bool"
    assert stash[True] == "bool"
    assert stash[1] == "int"


def test_pickles_are_refused(cache: Any, view: Callable[..., HashStash], tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    fill(cache, PLAIN)
    cache["value"] = Command(ran)
    stash = view()
    with pytest.raises(UntrustedRowError, match=r"'value'.*trust_existing=True"):
        stash["value"]
    assert "value" in stash
    assert stash["text"] == "a text"
    cache[(Command(ran),)] = 1
    assert same(stash["x" * 300], PLAIN["x" * 300])
    assert "none" not in stash
    for act in (
        lambda: list(stash),
        lambda: list(stash.items()),
        lambda: list(stash.values()),
        lambda: stash[(1, 2)],
        lambda: (1, 2) in stash,
        lambda: stash.get("y" * 300),
        stash.copy,
    ):
        with pytest.raises(UntrustedRowError, match="trust_existing=True"):
            act()
    assert len(stash) == len(PLAIN) + 2
    assert not ran.exists()
    assert view(trust_existing=True)["value"] == 0
    assert ran.exists()


def test_pickles_that_are_trusted(cache: Any, view: Callable[..., HashStash]) -> None:
    everything = {**PLAIN, **PICKLED}
    fill(cache, PLAIN, PICKLED)
    stash = view(trust_existing=True)
    assert len(stash) == len(everything)
    for key, value in everything.items():
        assert same(stash[key], value), key
    assert dict(stash.items()) == everything
    assert set(stash) == set(everything)
    assert (1, "b") not in stash
    for serializer in ("pickle", "hashstash"):
        assert view(trust_existing=True, serializer=serializer, compress="zlib")["point"] == Point(
            3
        )


def test_unstable_keys_are_passed_over_in_look_ups(
    cache: Any, view: Callable[..., HashStash]
) -> None:
    cache[(1, 2)] = "tuple"
    cache[(object(),)] = "unstable"
    assert view(trust_existing=True)[(1, 2)] == "tuple"


def test_a_pickle_that_cannot_be_loaded(
    cache: Any, folder: Path, view: Callable[..., HashStash]
) -> None:
    insert = "INSERT INTO Cache (key, raw, mode, value) VALUES (?, ?, 4, ?)"
    plant(folder, insert, "missing", 1, b"cno_such_module\nname\n.")
    plant(folder, insert, "short", 1, pickle.dumps([1, 2])[:-3])
    plant(folder, insert, "text", 1, "text")
    plant(folder, insert, "nothing", 1, None)
    stash = view(trust_existing=True)
    for key in ("missing", "short"):
        with pytest.raises(CorruptRowError, match="cannot be loaded") as caught:
            stash[key]
        assert key in str(caught.value)
    for key in ("text", "nothing"):
        with pytest.raises(CorruptRowError, match="Bytes were expected"):
            stash[key]


def test_imported_into_a_stash(cache: Any, view: Callable[..., HashStash], tmp_path: Path) -> None:
    fill(cache, PLAIN, PICKLED)
    old = view(trust_existing=True)
    with HashStash(tmp_path / "new") as new:
        new.update(old)
        assert new == old
        assert new["point"] == Point(3)
    with old.copy() as copy:
        assert copy[(1, "a")] == [1, 2]
    with old.tmp() as empty:
        assert len(empty) == 0
        empty["key"] = "value"
    assert "key" not in cache
    assert len(cache) == len(PLAIN) + len(PICKLED)


def test_nothing_is_written(cache: Any, folder: Path, view: Callable[..., HashStash]) -> None:
    cache["key"] = "value"
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".db"}
    for stash in (view(), view(append_mode=True)):
        assert stash["key"] == "value"
        assert stash.get_all("key") == ["value"]
        changes: list[Callable[[], object]] = [
            partial(stash.__setitem__, "key", "new"),
            partial(stash.__delitem__, "key"),
            partial(stash.update, {"a": 1}),
            partial(stash.setdefault, "new", 1),
            partial(stash.pop, "key"),
            stash.clear,
            stash.popitem,
        ]
        for change in changes:
            with pytest.raises(EngineError, match="only reads") as caught:
                change()
            assert str(folder) in str(caught.value)
        stash.close()
    after = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".db"}
    assert after == before
    assert cache["key"] == "value"


def test_what_the_library_writes_meanwhile_is_seen(
    cache: Any, view: Callable[..., HashStash]
) -> None:
    stash = view(trust_existing=True)
    cache["key"] = 1
    assert stash["key"] == 1
    assert (1, 2) not in stash
    cache[(1, 2)] = 2
    assert stash[(1, 2)] == 2
    cache[(1, 2)] = 3
    assert stash[(1, 2)] == 3
    cache["key"] = b"f" * 100_000
    assert stash["key"] == b"f" * 100_000
    del cache["key"], cache[(1, 2)]
    assert (1, 2) not in stash
    assert dict(stash) == {}


def test_what_has_expired_is_gone(cache: Any, view: Callable[..., HashStash]) -> None:
    cache.set("kept", 1, expire=1000)
    cache.set("gone", 1, expire=1e-9)
    cache.set((1, 2), 1, expire=1e-9)
    time.sleep(0.01)
    stash = view(trust_existing=True)
    assert dict(stash) == {"kept": 1}
    assert len(stash) == 1
    assert "gone" not in stash
    assert (1, 2) not in stash


def test_many_entries_come_once(cache: Any, view: Callable[..., HashStash]) -> None:
    with cache.transact():
        for number in range(2500):
            cache[number] = number
            if number % 500 == 0:
                cache[str(number)] = number
    stash = view()
    keys = iter(stash)
    seen = [next(keys)]
    for number in range(0, 2500, 100):
        cache[number] = "changed"
    seen += keys
    assert len(seen) == len(set(seen)) == 2505


def test_a_value_whose_file_is_gone(
    cache: Any, folder: Path, view: Callable[..., HashStash]
) -> None:
    cache["file"], cache["other"] = b"z" * 100_000, 1
    (file,) = folder.rglob("*.val")
    file.unlink()
    assert view().get("file") is None
    assert dict(view().items()) == {"other": 1}


@pytest.mark.parametrize("mode", [2, 3, 4])
def test_files_elsewhere_are_not_read(
    cache: Any, folder: Path, view: Callable[..., HashStash], tmp_path: Path, mode: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(pickle.dumps("secret"))
    (folder / "link").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    insert = "INSERT INTO Cache (key, raw, mode, filename) VALUES (?, 1, ?, ?)"
    names = ["../secret", str(secret), "link", "up/secret", "a/../../secret"]
    for name in names:
        plant(folder, insert, name, mode, name)
    stash = view(trust_existing=True)
    for name in names:
        with pytest.raises(CorruptRowError, match="not in the cache"):
            stash[name]


def test_what_is_no_file(
    cache: Any, folder: Path, view: Callable[..., HashStash], tmp_path: Path
) -> None:
    insert = "INSERT INTO Cache (key, raw, mode, filename) VALUES (?, 1, 2, ?)"
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with (folder / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    for name in ("pipe", "folder", "huge", "nul\0", ""):
        plant(folder, insert, name, name)
    stash = view()
    with pytest.raises(CorruptRowError, match="no file"):
        stash["pipe"]
    with pytest.raises(SizeLimitError, match="max_value_bytes"):
        stash["huge"]
    for name in ("folder", "nul\0", ""):
        with pytest.raises((CorruptRowError, EngineError)):
            stash[name]
    cache["file"] = b"z" * 100_000
    with pytest.raises(SizeLimitError, match="max_value_bytes"):
        view(max_value_bytes=1000)["file"]


def test_cells_that_make_no_sense(cache: Any, folder: Path, view: Callable[..., HashStash]) -> None:
    cache["good"] = 1
    insert = "INSERT INTO Cache (key, raw, mode, value) VALUES (?, ?, ?, ?)"
    plant(folder, insert, "mode", 1, 9, "value")
    plant(folder, insert, "text", 1, 3, b"\xff")
    plant(folder, insert, None, 1, 1, "value")
    stash = view()
    with pytest.raises(CorruptRowError, match="unknown way"):
        stash["mode"]
    with pytest.raises(CorruptRowError, match="UTF-8"):
        stash["text"]
    assert stash["good"] == 1
    assert len(list(stash)) == len(stash) == 3
    plant(folder, "INSERT INTO Cache (key, raw, mode) VALUES (CAST(x'ff' AS TEXT), 1, 1)")
    with pytest.raises(CorruptRowError, match="UTF-8"):
        list(stash)
    assert stash["good"] == 1


def test_json(folder: Path, view: Callable[..., HashStash]) -> None:
    entries: dict[Any, Any] = {"a": [1, None, {"b": 2.5}], "large": ["x"] * 100_000, 3: True}
    with diskcache.Cache(folder, disk=diskcache.JSONDisk) as cache:
        fill(cache, entries)
        cache[["a", "list"]] = "value"
        stash = view(existing_format="json")
        assert {key: stash[key] for key in entries} == entries
        assert stash[["a", "list"]] == "value"
        assert len(list(stash)) == 4
        assert "b" not in stash
        assert "a" not in view()  # as another Disk would see it
    bomb = zlib.compress(b" " * 10_000_000)
    insert = "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, ?)"
    for number, value in enumerate([bomb, b"no zlib", zlib.compress(b"["), "text"]):
        plant(folder, insert, zlib.compress(b"%d" % (10 + number)), value)
    plant(folder, insert, zlib.compress(b"99"), zlib.compress(b"[" * 200_000))
    stash = view(existing_format="json", max_value_bytes=1_000_000)
    with pytest.raises(SizeLimitError, match="max_value_bytes"):
        stash[10]
    for number in (11, 12, 13, 99):
        with pytest.raises(CorruptRowError):
            stash[number]
    assert stash["a"] == entries["a"]


def test_options(cache: Any, folder: Path, tmp_path: Path) -> None:
    def build(**options: Any) -> HashStash:
        return HashStash(tmp_path / "stash", engine="diskcache", **options)

    cache["key"] = 1
    with pytest.raises(ConfigurationError, match="'disk', 'json', not 'pickle'"):
        build(existing=folder, existing_format="pickle")
    with pytest.raises(ConfigurationError, match="choose one"):
        build(existing=folder, trust_existing=True, safe=True)
    with pytest.raises(TypeError, match="existing"):
        build(exsting=folder)
    url = f"diskcache://{tmp_path.name}?existing={folder}"
    assert HashStash(url)["key"] == 1
    with pytest.raises(ConfigurationError, match="trust_existing is True or False"):
        HashStash(f"{url}&trust_existing=False")
    assert build(existing=str(folder), safe=True)["key"] == 1
    for empty in (tmp_path / "nowhere", tmp_path):
        for act in (lambda: len(build(existing=empty)), lambda: build(existing=empty)["key"]):  # noqa: B023
            with pytest.raises(ConfigurationError, match="no cache of diskcache in"):
                act()
    assert not (tmp_path / "nowhere").exists()
    with diskcache.FanoutCache(tmp_path / "fanout", shards=2) as fanout:
        fanout["key"] = "value"
    with pytest.raises(ConfigurationError, match="open each of its folders 000, 001"):
        len(build(existing=tmp_path / "fanout"))
    found = [dict(build(existing=tmp_path / "fanout" / shard)) for shard in ("000", "001")]
    assert sorted(found, key=len) == [{}, {"key": "value"}]


def test_no_database(folder: Path, view: Callable[..., HashStash]) -> None:
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"no database" * 1000)
    with pytest.raises(EngineError, match="not a database") as caught:
        view()["key"]
    assert str(folder) in str(caught.value)


def look(stash: HashStash, key: Any) -> Any:
    return stash[key]


def test_threads_forks_and_pickles(cache: Any, view: Callable[..., HashStash]) -> None:
    fill(cache, PLAIN, PICKLED)
    stash = view(trust_existing=True)
    assert stash[(1, "a")] == [1, 2]
    arguments = [(stash, key) for key in PICKLED if key != "point"]
    expected = [value for key, value in PICKLED.items() if key != "point"]
    assert in_threads(look, arguments) == expected
    for method in METHODS:
        assert in_processes(method, look, arguments[:2]) == expected[:2]
    again = HashStash.from_dict(stash.to_dict())
    assert again[(1, "a")] == [1, 2]
    assert pickle.loads(pickle.dumps(stash)) == stash
    assert multiprocessing.active_children() == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"may not mount a small disk here: {exc}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_disk(disk: Path, tmp_path: Path) -> None:
    with diskcache.Cache(disk / "cache") as cache:
        fill(cache, PLAIN)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with HashStash(tmp_path / "stash", engine="diskcache", existing=disk / "cache") as stash:
        assert dict(stash) == PLAIN
