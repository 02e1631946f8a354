"""Files of sqlitedict.SqliteDict, opened as stashes."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlitedict import SqliteDict

from hashstash import HashStash
from hashstash.errors import ConfigurationError, CorruptRowError, EngineError, UntrustedRowError
from hashstash.testing.processes import METHODS, in_processes


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


ENTRIES: dict[str, Any] = {
    "text": "a text",
    "": None,
    "umlaut ä\0\n": {"a": {1, 2}, "b": (1, 2.5)},
    "x" * 300: b"bytes",
    "1": 1,
    "point": Point(3),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.sqlite"


@pytest.fixture
def write(path: Path) -> Callable[..., None]:
    """A function that has the library store entries."""

    def store(entries: dict[Any, Any], **options: Any) -> None:
        with SqliteDict(path, autocommit=True, outer_stack=False, **options) as theirs:
            for key, value in entries.items():
                theirs[key] = value

    return store


@pytest.fixture
def view(path: Path, tmp_path: Path) -> Iterator[Callable[..., HashStash]]:
    """A function from options to a stash over the file."""
    opened: list[HashStash] = []

    def build(**options: Any) -> HashStash:
        stash = HashStash(tmp_path / "stash", engine="sqlitedict", existing=path, **options)
        opened.append(stash)
        return stash

    yield build
    for stash in opened:
        stash.close()


def plant(path: Path, statement: str, *parameters: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, parameters)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_trusted(write: Callable[..., None], view: Callable[..., HashStash], mode: str) -> None:
    write(ENTRIES, journal_mode=mode)
    stash = view(trust_existing=True)
    assert len(stash) == len(ENTRIES)
    assert dict(stash) == ENTRIES
    for key, value in ENTRIES.items():
        assert key in stash
        assert stash[key] == value
        assert type(stash[key]) is type(value)
    for missing in ("none", 1, b"text", ("text",), "\ud800", "y" * 300, None):
        assert missing not in stash
        assert stash.get(missing, "missing") == "missing"
    assert "SqlitedictHashStash" in repr(stash)
    assert stash.size_bytes() > 300


def test_pickles_are_refused(
    write: Callable[..., None], view: Callable[..., HashStash], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    write({"key": Command(ran), "plain": 1})
    stash = view()
    assert sorted(stash) == ["key", "plain"]
    assert "key" in stash
    assert len(stash) == 2
    for act in (
        lambda: stash["key"],
        lambda: stash["plain"],
        lambda: list(stash.values()),
        stash.copy,
    ):
        with pytest.raises(UntrustedRowError, match="trust_existing=True"):
            act()
    assert "none" not in stash
    assert view(existing_format="raw")["key"].startswith(b"\x80")
    assert not ran.exists()
    assert view(trust_existing=True)["key"] == 0
    assert ran.exists()


def test_json(write: Callable[..., None], view: Callable[..., HashStash], path: Path) -> None:
    entries = {"a": [1, None, {"b": 2.5}], "b": "text"}
    write(entries, encode=json.dumps)
    write({"c": True}, encode=lambda value: json.dumps(value).encode())
    stash = view(existing_format="json")
    assert dict(stash) == {**entries, "c": True}
    insert = "INSERT INTO unnamed VALUES (?, ?)"
    wrong = {
        "cut": "[1",
        "deep": "[" * 200_000,
        "bytes": b"\xff\xfe\x00",
        "number": 3,
        "null": None,
    }
    for key, value in wrong.items():
        plant(path, insert, key, value)
    for key in wrong:
        with pytest.raises(CorruptRowError, match=r"(?i)json") as caught:
            stash[key]
        assert key in str(caught.value)
    assert stash["a"] == entries["a"]


def test_raw(write: Callable[..., None], view: Callable[..., HashStash]) -> None:
    entries: dict[Any, Any] = {
        "bytes": b"\0\xff",
        "text": "ä",
        "int": 3,
        "float": 2.5,
        "none": None,
    }
    write(entries, encode=lambda value: value)
    write({b"bytes": b"as a key"}, encode=lambda value: value)
    assert dict(view(existing_format="raw")) == {**entries, b"bytes": b"as a key"}


def test_values_of_another_format(
    write: Callable[..., None], view: Callable[..., HashStash]
) -> None:
    write({"key": 1}, encode=json.dumps)
    with pytest.raises(CorruptRowError, match=r"no pickle but '1'.*'json'"):
        view(trust_existing=True)["key"]


def test_tables(write: Callable[..., None], view: Callable[..., HashStash], path: Path) -> None:
    write({"key": 1}, tablename='odd "name"; --')
    write({"key": 2}, tablename="other")
    assert view(trust_existing=True, existing_table='odd "name"; --')["key"] == 1
    assert view(trust_existing=True, existing_table="other")["key"] == 2
    for act in (len, list, lambda stash: stash["key"], lambda stash: stash.size_bytes()):
        with pytest.raises(ConfigurationError, match="no table 'unnamed'") as caught:
            act(view())
        assert "'other'" in str(caught.value)
        assert str(path) in str(caught.value)


def test_missing_or_no_database(view: Callable[..., HashStash], path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no file") as caught:
        view()["key"]
    assert str(path) in str(caught.value)
    assert not path.exists()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(EngineError, match="not a database") as failed:
        len(view())
    assert str(path) in str(failed.value)


def test_options(view: Callable[..., HashStash], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'pickle', 'json', 'raw', not 'disk'"):
        view(existing_format="disk")
    with pytest.raises(ConfigurationError, match="choose one"):
        view(trust_existing=True, safe=True)
    with pytest.raises(ConfigurationError, match="given as existing"):
        HashStash(tmp_path, engine="sqlitedict", trust_existing=True)


def test_nothing_is_written(
    write: Callable[..., None], view: Callable[..., HashStash], path: Path, tmp_path: Path
) -> None:
    write(ENTRIES)
    before = path.read_bytes()
    stash = view(trust_existing=True)
    assert stash["text"] == "a text"
    for change in (lambda: stash.update({"a": 1}), stash.clear, lambda: stash.pop("text")):
        with pytest.raises(EngineError, match="only reads"):
            change()
    with stash.tmp() as empty:
        assert len(empty) == 0
        empty["key"] = 1
    with HashStash(tmp_path / "new") as new:
        new.update(stash)
        assert new == stash
    stash.close()
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file.sqlite", "new"]


def test_what_the_library_writes_meanwhile_is_seen(
    view: Callable[..., HashStash], path: Path
) -> None:
    with SqliteDict(path, autocommit=True) as theirs:
        theirs["key"] = 1
        stash = view(trust_existing=True)
        assert stash["key"] == 1
        theirs["key"] = 2
        theirs["x" * 300] = 3
        assert stash["key"] == 2
        assert stash["x" * 300] == 3
        keys = iter(stash)
        seen = [next(keys)]
        theirs["key"] = 4  # moves the row, as the library replaces it
        seen += keys
        assert sorted(seen) == ["key", "x" * 300]
        del theirs["key"]
        assert "key" not in stash


def test_many_entries_come_once(view: Callable[..., HashStash], path: Path) -> None:
    with SqliteDict(path) as theirs:
        theirs.update((str(number), number) for number in range(2500))
        theirs.commit()
        stash = view(trust_existing=True)
        keys = iter(stash)
        seen = [next(keys)]
        theirs.update((str(number), "changed") for number in range(0, 2500, 10))
        theirs.commit()
        seen += keys
    assert sorted(seen) == sorted(map(str, range(2500)))


def look(stash: HashStash, key: Any) -> Any:
    return stash[key]


def test_processes(write: Callable[..., None], view: Callable[..., HashStash]) -> None:
    write({"a": [1], "b": {2}})
    stash = view(trust_existing=True)
    assert stash["a"] == [1]
    for method in METHODS:
        assert in_processes(method, look, [(stash, "a"), (stash, "b")]) == [[1], {2}]
