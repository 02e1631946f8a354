"""The sqlite engine when the disk is full, read-only or damaged, and when someone hits Ctrl-C."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from faults import (
    Interruption,
    interrupt_again_and_again,
    remount,
    small_disk,
    take_all_descriptors,
)

from hashstash.engines import (
    ETAG,
    Engine,
    Place,
    sqlite_pool,
    sqlite_table,
    sqlite_transactions,
)
from hashstash.engines import sqlite as sqlite_engine
from hashstash.engines.sqlite import SqliteEngine
from hashstash.engines.sqlite_pool import wal_bytes
from hashstash.errors import EngineError
from hashstash.testing.processes import METHODS, Child, in_processes, in_threads
from hashstash.testing.samples import is_sealed, make_row, sealed_row

needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")


def at(folder: Path) -> SqliteEngine:
    return SqliteEngine(Place(str(folder / "stash"), "stash"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_full_disk(disk: Path) -> None:
    engine = at(disk)
    stored = {b"old": b"as it was"}
    engine.put(b"old", b"as it was")
    rows = {b"key %d" % number: os.urandom(50_000) for number in range(30)}
    with pytest.raises(EngineError, match="disk is full") as caught:
        for key, row in rows.items():
            engine.put(key, row)
            stored[key] = row
    assert engine.location in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    with pytest.raises(EngineError, match="disk is full"):
        engine.compare_and_set(b"new", None, os.urandom(900_000))
    with pytest.raises(EngineError, match="disk is full"):
        engine.put_many(rows.items())
    with pytest.raises(EngineError, match="disk is full"), engine.transaction():
        engine.put(b"new", os.urandom(900_000))
    assert dict(engine.items()) == stored
    assert Child(METHODS[0], at(disk).get, b"old").result() == b"as it was"
    engine.close()
    assert dict(engine.items()) == stored
    engine.close()


def test_no_room_for_the_store_itself(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"x" * ((1 << 20) - 4096))
    engine = at(disk)
    assert engine.get(b"k") is None
    with pytest.raises(EngineError, match=r"full|No space left|unable to open|I/O") as caught:
        engine.put(b"k", b"row")
    assert engine.location in str(caught.value)
    assert [path.name for path in (disk / "stash").glob("*")] == []
    (disk / "ballast").unlink()
    engine.put(b"k", b"row")
    assert engine.get(b"k") == b"row"
    engine.close()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "with a log"])
def test_read_only_disk(disk: Path, closed: bool) -> None:
    engine = at(disk)
    row = make_row()
    if closed:
        engine.put(b"key", row)
        engine.close()
    else:
        assert Child(METHODS[0], put_and_die, engine.place, row).wait() == -9
        assert wal_bytes(engine.location) > 0
    remount(disk, "ro")
    assert engine.get(b"key") == row
    assert engine.get(b"other") is None
    assert list(engine.items()) == [(b"key", row)]
    assert engine.count() == 1
    assert engine.sibling("versions").count() == 0
    changes: list[Callable[[], object]] = [
        lambda: engine.put(b"key", b"new"),
        lambda: engine.delete(b"key"),
        lambda: engine.compare_and_set(b"key", row[ETAG], b"new"),
        lambda: engine.put_many([(b"key", b"new")]),
        lambda: engine.sibling("versions").put(b"key", b"new"),
        engine.clear,
        lambda: put_in_a_transaction(engine),
    ]
    for change in changes:
        with pytest.raises(EngineError, match="readonly") as caught:
            change()
        assert engine.location in str(caught.value)
        assert engine.get(b"key") == row
    with pytest.raises(EngineError, match="Read-only file system"):
        engine.destroy()
    assert engine.get(b"key") == row
    engine.close()
    remount(disk, "rw")
    engine.put(b"key", b"new")
    assert engine.get(b"key") == b"new"
    engine.close()


def put_in_a_transaction(engine: SqliteEngine) -> None:
    with engine.transaction():
        engine.put(b"key", b"new")


def put_and_die(place: Place, row: bytes) -> None:
    SqliteEngine(place).put(b"key", row)
    os.kill(os.getpid(), 9)


def use_no_more_descriptors(engine: Engine) -> list[str]:
    taken = take_all_descriptors()
    messages = []
    for spare in range(6):
        for act in (partial(engine.put, b"key", b"new"), partial(engine.get, b"key")):
            try:
                act()
            except EngineError as exc:
                messages.append(f"{spare} {exc}")
        os.close(taken.pop())
    for each in taken:
        os.close(each)
    engine.put(b"key", b"new")
    assert engine.get(b"key") == b"new"
    return messages


@needs_fork
@pytest.mark.stress
def test_no_more_descriptors(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"old")
    messages = Child("fork", use_no_more_descriptors, engine).result()
    assert len([message for message in messages if message.startswith("0 ")]) == 2
    said = ("Too many open files", "unable to open database file")
    assert all(any(words in message for words in said) for message in messages)
    assert all(engine.location in message for message in messages)
    engine.put(b"key", b"again")
    engine.destroy()


ACTS: list[Callable[[SqliteEngine], object]] = [
    lambda engine: engine.get(b"key 1"),
    lambda engine: engine.put(b"k", b"row"),
    lambda engine: engine.delete(b"key 1"),
    lambda engine: engine.compare_and_set(b"k", None, b"row"),
    lambda engine: list(engine.items()),
    lambda engine: engine.count(),
    lambda engine: engine.put_many([(b"k", b"row")]),
    lambda engine: engine.transaction().__enter__(),
]


@pytest.mark.parametrize("part", [0, 1, 50, 100, 4095, 4096, 0.3, 0.5, 0.9, 0.99])
def test_a_file_cut_short(tmp_path: Path, part: float) -> None:
    engine = at(tmp_path)
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(300)}
    engine.put_many(rows.items())
    engine.close()
    whole = Path(engine.location).read_bytes()
    size = part if isinstance(part, int) else int(len(whole) * part)
    os.truncate(engine.location, size)
    for act in ACTS:
        with pytest.raises(EngineError, match=r"cut off|malformed|not a database") as caught:
            act(engine)
        assert engine.location in str(caught.value)
    assert Path(engine.location).read_bytes() == whole[:size], "it is left as it was found"
    engine.destroy()
    assert not Path(engine.location).exists()


@pytest.mark.parametrize("content", ["zeros", "zero head", "text"])
def test_a_file_overwritten(tmp_path: Path, content: str) -> None:
    engine = at(tmp_path)
    engine.put_many((b"key %d" % number, b"row" * 100) for number in range(300))
    engine.close()
    whole = Path(engine.location).read_bytes()
    damaged = {
        "zeros": bytes(len(whole)),
        "zero head": bytes(4096) + whole[4096:],
        "text": b"no database at all, but a text" * 512,
    }[content]
    Path(engine.location).write_bytes(damaged)
    for act in ACTS:
        with pytest.raises(EngineError, match="not a database") as caught:
            act(engine)
        assert engine.location in str(caught.value)
    assert Path(engine.location).read_bytes() == damaged
    engine.destroy()
    assert not Path(engine.location).exists()
    engine.put(b"k", b"row")
    assert engine.get(b"k") == b"row"
    engine.destroy()


def test_damaged_pages(tmp_path: Path) -> None:
    engine = at(tmp_path)
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(300)}
    engine.put_many(rows.items())
    engine.close()
    with open(engine.location, "r+b") as file:
        file.seek(4096 * 10)
        file.write(bytes(4096 * 3))
    said = []
    for key, row in rows.items():
        try:
            assert engine.get(key) == row
        except EngineError as exc:
            said.append(str(exc))
    assert 0 < len(said) < 100
    assert all("malformed" in each and engine.location in each for each in said)
    engine.destroy()


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    engine = at(tmp_path)
    Path(engine.location).mkdir(parents=True)
    for act in ACTS:
        with pytest.raises(EngineError, match="unable to open") as caught:
            act(engine)
        assert engine.location in str(caught.value)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "stash").write_text("mine")
    for act in ACTS:
        with pytest.raises(EngineError, match=r"Not a directory|File exists"):
            act(at(tmp_path))
    assert (tmp_path / "stash").read_text() == "mine"


def test_a_database_with_other_tables(tmp_path: Path) -> None:
    engine = at(tmp_path)
    Path(engine.place.folder).mkdir()
    other = sqlite3.connect(engine.location)
    other.execute("CREATE TABLE entries (name TEXT)")
    other.execute("INSERT INTO entries VALUES ('mine')")
    other.commit()
    for act in ACTS[:-1]:
        with pytest.raises(EngineError, match=r"no such column|no column named") as caught:
            act(engine)
        assert engine.location in str(caught.value)
        break
    engine.close()
    assert other.execute("SELECT * FROM entries").fetchall() == [("mine",)]
    other.close()


def test_a_database_in_another_mode(tmp_path: Path) -> None:
    """A copy made by a tool need not have a write-ahead log."""
    engine = at(tmp_path)
    engine.put(b"k", b"row")
    engine.close()
    other = sqlite3.connect(engine.location, isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.close()
    assert engine.get(b"k") == b"row"
    engine.put(b"k", b"new")
    assert engine.get(b"k") == b"new"
    engine.destroy()


def test_the_file_is_removed_by_another_process(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    engine.sibling("versions").put(b"key", b"row")
    Child(METHODS[0], at(tmp_path).destroy).result()
    assert engine.get(b"key") is None
    assert list(engine.items()) == []
    engine.put(b"key", b"new")
    assert Child(METHODS[0], at(tmp_path).get, b"key").result() == b"new"
    Child(METHODS[0], at(tmp_path).destroy).result()
    engine.put(b"key", b"newer")
    assert Child(METHODS[0], at(tmp_path).get, b"key").result() == b"newer"
    Child("spawn", replace_store, engine.place).result()  # a fork would close the connections
    assert engine.get(b"key") == b"replaced"
    Child("spawn", replace_store, engine.place).result()
    with engine.transaction():
        assert engine.get(b"key") == b"replaced"
        engine.put(b"key", b"newest")
    assert Child(METHODS[0], at(tmp_path).get, b"key").result() == b"newest"
    assert engine.sibling("versions").get(b"key") is None
    engine.destroy()


def replace_store(place: Place) -> None:
    engine = SqliteEngine(place)
    engine.destroy()
    engine.put(b"key", b"replaced")
    engine.close()


def test_the_folder_is_removed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_table, "CHECK_EVERY", 10)
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    shutil.rmtree(tmp_path / "stash")
    for number in range(1000):
        engine.put(b"key", b"%d" % number)
        if Path(engine.location).exists():
            break
    assert Child(METHODS[0], at(tmp_path).get, b"key").result() == b"%d" % number
    engine.destroy()


def test_files_are_private(tmp_path: Path) -> None:
    engine = at(tmp_path / "new")
    engine.put(b"k", b"row")
    for each in (tmp_path / "new").rglob("*"):
        allowed = 0o700 if each.is_dir() else 0o600
        assert stat.S_IMODE(each.stat().st_mode) == allowed, each
    names = ["data.db", "data.db-shm", "data.db-wal"]
    assert sorted(os.listdir(tmp_path / "new" / "stash")) == names
    engine.destroy()


def make_and_die(folder: Path) -> None:
    """Be killed while the store is being made: its file is there, but not its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", lambda *_: os.kill(os.getpid(), 9))
        at(folder).put(b"key", b"row")


@needs_fork
def test_a_death_while_the_store_is_made_leaves_nothing(tmp_path: Path) -> None:
    assert Child("fork", make_and_die, tmp_path).wait() == -9
    left = os.listdir(tmp_path / "stash")
    assert left
    assert "data.db" not in left
    engine = at(tmp_path)
    assert engine.get(b"key") is None
    engine.put(b"key", b"row")
    engine.close()
    assert os.listdir(tmp_path / "stash") == ["data.db"]
    engine.destroy()


WATCHED = frozenset(
    str(module.__file__)
    for module in (sqlite_engine, sqlite_pool, sqlite_table, sqlite_transactions)
)


@pytest.mark.parametrize(
    "change", ["put", "delete", "swap", "remove", "put_many", "clear", "transaction"]
)
def test_interrupted_anywhere(tmp_path: Path, change: str) -> None:
    """Whatever an interrupt hits: the old row or the new one, and nothing is left locked."""
    engine, after = at(tmp_path), SqliteEngine(at(tmp_path).place, timeout=10)
    step = 0
    while True:
        step += 1
        old, new = sealed_row(b"key"), sealed_row(b"key")
        engine.put_many([(b"key", old), (b"other", b"row")])

        def together(new: bytes = new) -> None:
            with engine.transaction():
                engine.put(b"key", new)
                engine.put(b"other", b"new")

        acts: dict[str, Callable[[], object]] = {
            "put": partial(engine.put, b"key", new),
            "put_many": partial(engine.put_many, [(b"key", new), (b"other", b"new")]),
            "delete": partial(engine.delete, b"key"),
            "swap": partial(engine.compare_and_set, b"key", old[ETAG], new),
            "remove": partial(engine.compare_and_set, b"key", old[ETAG], None),
            "clear": engine.clear,
            "transaction": together,
        }
        if step % 5 == 0:
            engine.close()
        if not Interruption(step, WATCHED).hits(acts[change]):
            break
        found = after.get(b"key")
        assert found in {old, None if change in {"delete", "remove", "clear"} else new}
        changed = {"clear": None, "put_many": b"new", "transaction": b"new"}.get(change, b"row")
        assert after.get(b"other") == (b"row" if found == old else changed)
        in_threads(after.put, [(b"key", old)])
        assert engine.get(b"key") == old
    assert step > 6
    assert Child(METHODS[0], at(tmp_path).put, b"key", b"row").result() is None
    engine.destroy()


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_again_and_again(tmp_path: Path) -> None:
    interrupt_again_and_again("sqlite", tmp_path / "stash")
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    assert engine.get(b"one") == engine.get(b"two")
    engine.destroy()


def use_and_destroy(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    engine = SqliteEngine(place)
    versions = engine.sibling("versions")
    for step in range(150):
        key = b"key %d" % chance.randrange(5)
        if step % 20 == seed:
            engine.destroy()
        with engine.transaction():
            engine.put(key, sealed_row(key))
            versions.put(key, sealed_row(key))
        engine.put(key, sealed_row(key))
        found = engine.get(key)
        assert found is None or is_sealed(key, found)
        assert all(is_sealed(key, row) for key, row in versions.items())


def test_processes_destroy_what_others_use(tmp_path: Path) -> None:
    place = at(tmp_path).place
    in_processes(METHODS[0], use_and_destroy, [(place, seed) for seed in range(3)])
    at(tmp_path).destroy()
    assert os.listdir(tmp_path) == []
