"""The lmdb engine when the disk is full, read-only or damaged, and when someone hits Ctrl-C."""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import lmdb
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
    lmdb_environment,
    lmdb_opening,
    lmdb_table,
    lmdb_transactions,
)
from hashstash.engines import lmdb as lmdb_engine
from hashstash.engines.lmdb import LmdbEngine
from hashstash.errors import EngineError
from hashstash.testing.processes import METHODS, Child, in_processes, in_threads
from hashstash.testing.samples import is_sealed, make_row, sealed_row

needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")


def at(folder: Path, **options: int) -> LmdbEngine:
    return LmdbEngine(Place(str(folder / "stash"), "stash"), **options)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.mark.parametrize("map_size", [65536, 1 << 30])
def test_full_disk(disk: Path, map_size: int) -> None:
    engine = at(disk, map_size=map_size)
    stored = {b"old": b"as it was"}
    engine.put(b"old", b"as it was")
    rows = {b"key %d" % number: os.urandom(50_000) for number in range(30)}
    with pytest.raises(EngineError, match="No space left on device") as caught:
        for key, row in rows.items():
            engine.put(key, row)
            stored[key] = row
    assert engine.location in str(caught.value)
    assert isinstance(caught.value.__cause__, lmdb.Error)
    with pytest.raises(EngineError, match="No space left on device"):
        engine.compare_and_set(b"new", None, os.urandom(900_000))
    with pytest.raises(EngineError, match="No space left on device"):
        engine.put_many(rows.items())
    with pytest.raises(EngineError, match="No space left on device"), engine.transaction():
        engine.put(b"new", os.urandom(900_000))
    assert dict(engine.items()) == stored
    engine.close()
    assert dict(engine.items()) == stored
    assert Child(METHODS[0], at(disk).get, b"old").result() == b"as it was"
    gone = [key for key in stored if key != b"old"]
    assert engine.delete_many(gone[:10]) == 10
    engine.put(b"key 0", b"small")
    assert engine.get(b"key 0") == b"small"
    engine.close()


def test_no_room_for_the_store_itself(disk: Path) -> None:
    (disk / "ballast").write_bytes(b"x" * ((1 << 20) - 8192))
    engine = at(disk)
    assert engine.get(b"k") is None
    with pytest.raises(EngineError, match="No space left on device") as caught:
        engine.put(b"k", b"row")
    assert engine.location in str(caught.value)
    assert [path.name for path in (disk / "stash").iterdir()] == []
    (disk / "ballast").unlink()
    engine.put(b"k", b"row")
    assert engine.get(b"k") == b"row"
    engine.close()


@pytest.mark.parametrize("with_lock_file", [True, False])
def test_read_only_disk(disk: Path, with_lock_file: bool) -> None:
    engine = at(disk)
    row = make_row()
    engine.put(b"key", row)
    engine.close()
    if not with_lock_file:
        os.unlink(engine.location + "-lock")
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
        engine.transaction().__enter__,
    ]
    for change in changes:
        with pytest.raises(EngineError, match="for reading only") as caught:
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


def use_no_more_descriptors(engine: Engine) -> list[str]:
    taken = take_all_descriptors()
    messages = []
    for spare in range(4):
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
def test_no_more_descriptors(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"old")
    messages = Child("fork", use_no_more_descriptors, engine).result()
    assert len([message for message in messages if message.startswith("0 ")]) == 2
    assert all("Too many open files" in message for message in messages)
    assert all(engine.location in message for message in messages)
    engine.put(b"key", b"again")
    engine.close()


def read_rows(engine: Engine, rows: dict[bytes, bytes]) -> list[str]:
    """Read every row of a damaged store; return what was said about those that are gone."""
    said = []
    for key, row in rows.items():
        try:
            found = engine.get(key)
        except EngineError as exc:
            said.append(str(exc))
        else:  # LMDB keeps no checksum of a row: that is in the row itself
            assert found == row or (found is not None and len(found) == len(row) > 3000)
    return said


def read_everything(engine: Engine, rows: dict[bytes, bytes]) -> list[str]:
    said = read_rows(engine, rows)
    for act in (engine.count, lambda: list(engine.items()), partial(engine.put, b"new", b"row")):
        try:
            act()
        except EngineError as exc:
            said.append(str(exc))
    return said


def damaged(tmp_path: Path) -> tuple[LmdbEngine, dict[bytes, bytes], bytes]:
    engine = at(tmp_path)
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(200)}
    rows |= {b"big %d" % number: os.urandom(20_000) for number in range(5)}
    engine.put_many(rows.items())
    engine.close()
    return engine, rows, Path(engine.location).read_bytes()


@pytest.mark.parametrize("part", [0, 1, 100, 4096, 8191, 8192, 12288, 0.3, 0.5, 0.7, 0.9])
def test_a_file_cut_short(tmp_path: Path, part: float) -> None:
    """LMDB alone would be killed by the system (SIGBUS) for reading past the end."""
    engine, rows, whole = damaged(tmp_path)
    size = part if isinstance(part, int) else int(len(whole) * part)
    os.truncate(engine.location, size)
    said = Child(METHODS[0], read_everything, at(tmp_path), rows).result()
    assert len(said) == len(rows) + 3
    assert all(engine.location in message for message in said)
    assert Path(engine.location).read_bytes() == whole[:size], "it is left as it was found"
    at(tmp_path).destroy()
    assert not Path(engine.location).exists()


@pytest.mark.parametrize("content", ["zeros", "zero head", "text", "zero middle", "zero tail"])
def test_a_file_overwritten(tmp_path: Path, content: str) -> None:
    engine, rows, whole = damaged(tmp_path)
    middle = len(whole) // 8192 * 4096  # of pages: LMDB knows a page by its head
    Path(engine.location).write_bytes(
        {
            "zeros": bytes(len(whole)),
            "zero head": bytes(8192) + whole[8192:],
            "text": b"no database at all " * 1000,
            "zero middle": whole[: middle - 8192] + bytes(16384) + whole[middle + 8192 :],
            "zero tail": whole[:middle] + bytes(len(whole) - middle),
        }[content]
    )
    intact_header = content in {"zero middle", "zero tail"}
    read = read_rows if intact_header else read_everything
    said = Child(METHODS[0], read, at(tmp_path), rows).result()
    assert said if intact_header else len(said) == len(rows) + 3
    assert all(engine.location in message for message in said)


def test_pages_freed_at_once_are_no_damage(tmp_path: Path) -> None:
    """LMDB leaves a file shorter than its header says when the last pages were never used."""
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    with engine.transaction():
        engine.put(b"big", bytes(1_000_000))
        engine.delete(b"big")
    engine.close()
    engine = at(tmp_path)
    assert engine.get(b"key") == b"row"
    assert engine.get(b"big") is None
    engine.put(b"big", bytes(2_000_000))
    assert engine.get(b"big") == bytes(2_000_000)
    engine.close()


def test_an_environment_that_the_program_has_open(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    engine.close()
    with lmdb.open(engine.location, subdir=False, max_dbs=4):
        for act in (partial(engine.get, b"key"), partial(engine.put, b"key", b"new")):
            with pytest.raises(EngineError, match="already open in this process") as caught:
                act()
            assert engine.location in str(caught.value)
    assert engine.get(b"key") == b"row"
    engine.close()


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
    Child(METHODS[0], replace_store, engine.place).result()
    assert engine.get(b"key") == b"replaced"
    Child(METHODS[0], replace_store, engine.place).result()
    assert engine.delete(b"key")
    Child(METHODS[0], replace_store, engine.place).result()
    assert list(engine.items()) == [(b"key", b"replaced")]
    Child(METHODS[0], replace_store, engine.place).result()
    with engine.transaction():
        assert engine.get(b"key") == b"replaced"
        engine.put(b"key", b"newest")
    assert Child(METHODS[0], at(tmp_path).get, b"key").result() == b"newest"
    assert engine.sibling("versions").get(b"key") is None
    engine.destroy()


def replace_store(place: Place) -> None:
    engine = LmdbEngine(place)
    engine.destroy()
    engine.put(b"key", b"replaced")
    engine.close()


def test_the_folder_is_removed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_table, "CHECK_EVERY", 10)
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    shutil.rmtree(tmp_path / "stash")
    for number in range(lmdb_table.CHECK_EVERY * 200):
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
    assert sorted(os.listdir(tmp_path / "new" / "stash")) == ["data.db", "data.db-lock"]
    engine.close()


def make_and_die(folder: Path) -> None:
    """Be killed while the store is being made: its file is there, but not its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", lambda *_: os.kill(os.getpid(), 9))
        at(folder).put(b"key", b"row")


@needs_fork
def test_a_death_while_the_store_is_made_leaves_nothing(tmp_path: Path) -> None:
    child = Child("fork", make_and_die, tmp_path)
    assert child.wait() == -9
    left = os.listdir(tmp_path / "stash")
    assert left
    assert "data.db" not in left
    engine = at(tmp_path)
    assert engine.get(b"key") is None
    engine.put(b"key", b"row")
    assert sorted(os.listdir(tmp_path / "stash")) == ["data.db", "data.db-lock"]
    engine.close()


WATCHED = frozenset(
    str(module.__file__)
    for module in (lmdb_engine, lmdb_environment, lmdb_opening, lmdb_table, lmdb_transactions)
)


@pytest.mark.parametrize(
    "change", ["put", "delete", "swap", "remove", "put_many", "clear", "transaction", "grow"]
)
def test_interrupted_anywhere(tmp_path: Path, change: str) -> None:
    """Whatever an interrupt hits: the old row or the new one, and nothing is left locked."""
    options = {"map_size": 65536} if change == "grow" else {}
    engine, after = at(tmp_path, **options), at(tmp_path, **options)
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
            "grow": partial(engine.put, b"other", b"n" * (step * 200_000)),
        }
        if step % 5 == 0:
            engine.close()
        if not Interruption(step, WATCHED).hits(acts[change]):
            break
        found = after.get(b"key")
        assert found in {old, None if change in {"delete", "remove", "clear"} else new}
        if change != "grow":
            changed = {"clear": None, "put_many": b"new", "transaction": b"new"}
            assert after.get(b"other") == (b"row" if found == old else changed.get(change, b"row"))
        in_threads(after.put, [(b"key", old)])
        assert engine.get(b"key") == old
        if change == "grow" and step > 60:
            break
    assert step > 6
    assert Child(METHODS[0], at(tmp_path).put, b"key", b"row").result() is None
    engine.destroy()


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_again_and_again(tmp_path: Path) -> None:
    interrupt_again_and_again("lmdb", tmp_path / "stash")
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    assert engine.get(b"one") == engine.get(b"two")
    engine.close()


def test_threads_crowd_while_engines_open_and_close(tmp_path: Path) -> None:
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(20)}
    at(tmp_path).put_many(rows.items())
    done = threading.Event()

    def use(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(200):
                engine = at(tmp_path)
                key = chance.choice(list(rows))
                assert engine.get(key) == rows[key]
                if chance.random() < 0.3:
                    engine.put(key, rows[key])
                engine.close()
        finally:
            done.set()

    in_threads(use, [(n,) for n in range(4)])
    assert dict(at(tmp_path).items()) == rows
    at(tmp_path).destroy()


def use_and_destroy(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    engine = LmdbEngine(place)
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
