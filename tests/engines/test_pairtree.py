"""The pairtree engine: the contract, its layout, and what is planted in the tree."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from hashstash.engines import ETAG, Engine, Place
from hashstash.engines.files import FOLDER
from hashstash.engines.locks import HeldFile
from hashstash.engines.pairtree import PairtreeEngine
from hashstash.engines.temporary import TempFile
from hashstash.errors import EngineError
from hashstash.testing.engine import EngineContract, make_row
from hashstash.testing.processes import Child, in_threads
from hashstash.testing.samples import hostile_keys, is_sealed, keys_of_every_length, sealed_row


class TestPairtreeEngine(EngineContract):
    engine_name = "pairtree"

    def leftovers(self, engine: Engine) -> list[str]:
        engine.get(b"key")
        assert os.listdir(engine.place.folder) == ["data.db"]
        return os.listdir(Path(engine.location, ".tmp"))


@pytest.fixture
def engine(tmp_path: Path) -> PairtreeEngine:
    return at(tmp_path)


def at(tmp_path: Path, durability: Any = "process") -> PairtreeEngine:
    folder = str(tmp_path / "stash" / "main" / "pairtree")
    return PairtreeEngine(Place(folder, "stash/main", durability=durability))


def file_of(engine: Engine, key: bytes) -> Path:
    return Path(engine.location, "entries", f"{crc32(key) & 255:02x}", key.hex())


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def in_one_folder(count: int) -> list[bytes]:
    found = (b"key %d" % number for number in itertools.count())
    return list(itertools.islice((key for key in found if crc32(key) & 255 == 7), count))


class TestLayout:
    def test_a_row_is_a_file_named_for_its_key(self, engine: PairtreeEngine) -> None:
        engine.put(b"key", b"row")
        assert engine.location == engine.place.folder + "/data.db"
        assert file_of(engine, b"key").read_bytes() == b"row"
        engine.sibling("versions").put(b"key", b"version")
        assert Path(str(file_of(engine, b"key")).replace("entries", "versions")).exists()

    def test_names_suit_every_file_system(self, engine: PairtreeEngine) -> None:
        keys = {*hostile_keys(), *keys_of_every_length()}
        engine.put_many((key, b"row") for key in keys)
        names = [path.name for path in Path(engine.location, "entries").glob("*/*")]
        assert len({name.lower() for name in names}) == len(names) == len(keys)
        assert max(map(len, names)) <= 255
        assert set("".join(names)) <= set("0123456789abcdef")

    def test_tables_suit_every_file_system(self, engine: PairtreeEngine) -> None:
        tables = ["a", "A", "..", "../../escaped", "x/y", "", ".tmp", ".locks", "é", "=61", "a b"]
        for table in tables:
            engine.sibling(table).put(b"key", table.encode())
        for table in tables:
            assert dict(engine.sibling(table).items()) == {b"key": table.encode()}
        folders = [path.name for path in Path(engine.location).iterdir()]
        assert len({name.lower() for name in folders}) == len(folders)
        assert sorted(os.listdir(engine.place.folder)) == ["data.db"]

    def test_all_is_private_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            engine = at(tmp_path)
            engine.put(b"key", b"row")
            engine.sibling("versions").put(b"key", b"row")
            engine.compare_and_set(b"other", None, b"row")
            engine.clear()
            engine.put(b"key", b"row")
        finally:
            os.umask(before)
        for path in (tmp_path / "stash").rglob("*"):
            expected = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == expected, path

    def test_other_files_are_passed_over(self, engine: PairtreeEngine) -> None:
        engine.put(b"key", b"row")
        folder = file_of(engine, b"key").parent
        for name in (".DS_Store", "Thumbs.db", "6B6579", "6b 65 79", "6b657", "00", "notes.txt"):
            (folder / name).write_bytes(b"not a row")
        (folder.parent / "notes").mkdir()
        (folder.parent / "README").write_bytes(b"")
        assert list(engine.keys()) == [b"key"]
        assert list(engine.items()) == [(b"key", b"row")]
        assert engine.count() == 1
        engine.clear()
        assert engine.count() == 0

    def test_a_copy_without_locks_works(self, engine: PairtreeEngine, tmp_path: Path) -> None:
        row = make_row()
        engine.put(b"key", row)
        other = at(tmp_path / "copy")
        shutil.copytree(
            engine.location, other.location, ignore=shutil.ignore_patterns(".tmp", ".locks")
        )
        assert list(other.items()) == [(b"key", row)]
        assert other.compare_and_set(b"key", row[ETAG], None)
        other.put(b"key", b"again")
        shutil.rmtree(Path(other.location, ".locks"))
        shutil.rmtree(Path(other.location, ".tmp"))
        assert other.delete(b"key")
        shutil.rmtree(Path(other.location, ".tmp"))
        other.put(b"key", b"more")
        assert list(other.items()) == [(b"key", b"more")]

    def test_the_clock_does_not_matter(self, engine: PairtreeEngine) -> None:
        engine.put(b"key", b"old")
        tomorrow = time.time() + 86400
        for path in Path(engine.location).rglob("*"):
            os.utime(path, (tomorrow, tomorrow))
        engine.put(b"key", b"new")
        assert at_same(engine).get(b"key") == b"new"
        assert list(engine.items()) == [(b"key", b"new")]
        assert engine.delete(b"key")

    def test_destroy_leaves_what_is_not_ours(self, engine: PairtreeEngine) -> None:
        engine.put(b"key", b"row")
        note = Path(engine.place.folder, "note")
        note.write_bytes(b"mine")
        engine.destroy()
        assert os.listdir(engine.place.folder) == ["note"]
        note.unlink()
        engine.put(b"key", b"row")
        engine.destroy()
        assert not Path(engine.place.folder).exists()

    def test_a_folder_that_is_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "big disk").mkdir()
        (tmp_path / "stash").symlink_to(tmp_path / "big disk")
        engine = at(tmp_path)
        engine.put(b"key", b"row")
        assert at_same(engine).get(b"key") == b"row"
        assert (tmp_path / "big disk" / "main").is_dir()

    def test_a_key_too_long_for_a_name(self, engine: PairtreeEngine) -> None:
        with pytest.raises(EngineError, match="pairtree put failed"):
            engine.put(b"k" * 128, b"row")
        assert engine.count() == 0
        assert files_in(Path(engine.location, ".tmp")) == []


def at_same(engine: PairtreeEngine) -> PairtreeEngine:
    return PairtreeEngine(engine.place)


class TestPlanted:
    """Links and special files in the tree are refused, by name, and never followed."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        folder = tmp_path / "outside"
        folder.mkdir()
        (folder / "secret").write_bytes(make_row(b"secret"))
        return folder

    @pytest.mark.parametrize("what", ["link", "dangling", "folder", "pipe"])
    def test_in_place_of_an_entry(self, engine: PairtreeEngine, outside: Path, what: str) -> None:
        engine.put(b"key", make_row())
        engine.put(b"other", b"row")
        path = file_of(engine, b"key")
        path.unlink()
        if what == "link":
            path.symlink_to(outside / "secret")
        elif what == "dangling":
            path.symlink_to(outside / "nothing")
        elif what == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
        reads: list[Callable[[], object]] = [
            lambda: engine.get(b"key"),
            lambda: engine.contains(b"key"),
            lambda: list(engine.items()),
            lambda: list(engine.get_many([b"key"])),
            lambda: engine.compare_and_set(b"key", None, b"row"),
            lambda: engine.compare_and_set(b"key", b"e" * 16, None),
        ]
        for read in reads:
            with pytest.raises(EngineError) as caught:
                read()
            assert str(path) in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)
        assert engine.get(b"other") == b"row"
        if what != "folder":
            engine.put(b"key", b"row")  # takes the place of what was planted
            assert engine.get(b"key") == b"row"
        assert files_in(outside) == ["secret"]
        assert (outside / "secret").read_bytes().endswith(b"secret")

    @pytest.mark.parametrize("part", ["data.db", "entries", "leaf", ".tmp", ".locks"])
    @pytest.mark.parametrize("dangling", [False, True])
    def test_in_place_of_a_folder(
        self, engine: PairtreeEngine, outside: Path, part: str, dangling: bool
    ) -> None:
        engine.put(b"key", b"row")
        store = Path(engine.location)
        path = {
            "data.db": store,
            "entries": store / "entries",
            "leaf": file_of(engine, b"key").parent,
        }.get(part, store / part)
        moved = outside / "moved"
        path.rename(moved)
        path.symlink_to(outside / "nothing" if dangling else moved)
        before = files_in(outside)
        found = at_same(engine)
        uses: list[Callable[[], object]] = [
            lambda: found.get(b"key"),
            lambda: found.put(b"key", b"new"),
            lambda: found.delete(b"key"),
            lambda: found.compare_and_set(b"key", None, b"new"),
            lambda: list(found.keys()),
            lambda: found.contains(b"key"),
            found.clear,
            found.destroy,
        ]
        for use in uses:
            if use == found.destroy and part != "data.db":
                continue  # it removes the link itself
            if use == found.clear and part in (".tmp", ".locks", "leaf"):
                continue  # as above
            found.close()
            with pytest.raises(EngineError) as caught:
                use()
            assert str(path) in str(caught.value)
        assert files_in(outside) == before

    def test_links_are_removed_and_not_followed(
        self, engine: PairtreeEngine, outside: Path
    ) -> None:
        engine.put(b"key", b"row")
        Path(engine.location, ".tmp", "planted").symlink_to(outside)
        Path(engine.location, ".tmp", "file").symlink_to(outside / "secret")
        file_of(engine, b"key").with_name("folder").symlink_to(outside)
        assert engine.sweep() == 2
        engine.clear()
        engine.put(b"key", b"row")
        file_of(engine, b"key").with_name("folder").symlink_to(outside)
        engine.destroy()
        assert files_in(outside) == ["secret"]


def write_half_and_wait(folder: str, ready: str, go_on: str) -> str:
    temp = TempFile(folder)
    temp.write(b"half", durable=False)
    Path(ready).touch()
    while not Path(go_on).exists():
        time.sleep(0.005)
    return temp.path


def hold_and_wait(folder: str, ready: str, go_on: str) -> None:
    held = HeldFile()
    assert held.claim(folder, FOLDER)
    Path(ready).touch()
    while not Path(go_on).exists():
        time.sleep(0.005)


class TestSweep:
    """What dead writers leave is removed at the next opening; the living are spared."""

    def test_temporary_files_of_the_dead(self, engine: PairtreeEngine, tmp_path: Path) -> None:
        engine.put(b"key", b"row")
        temps, ready = Path(engine.location, ".tmp"), tmp_path / "ready"
        writer = Child("fork", write_half_and_wait, str(temps), str(ready), str(tmp_path / "never"))
        while not ready.exists():
            time.sleep(0.005)
        assert len(files_in(temps)) == 1
        assert at_same(engine).get(b"key") == b"row"
        assert engine.sweep() == 0
        assert len(files_in(temps)) == 1
        writer.kill()
        assert at_same(engine).get(b"key") == b"row"
        assert files_in(temps) == []

    @pytest.mark.parametrize("use", ["get", "put", "count", "delete", "clear", "sweep"])
    def test_any_first_use_cleans_up(self, engine: PairtreeEngine, use: str) -> None:
        engine.put(b"key", b"row")
        temps = Path(engine.location, ".tmp")
        (temps / "0123").write_bytes(b"half a row")
        (temps / "cleared" / "7f").mkdir(parents=True)
        (temps / "cleared" / "7f" / "6b").write_bytes(b"row")
        remains = Path(engine.place.folder, ".data.db.0123")
        shutil.copytree(engine.location, remains)
        other = at_same(engine)
        given = {"get": [b"key"], "put": [b"key", b"row"], "delete": [b"key"]}.get(use, [])
        getattr(other, use)(*given)
        assert list(temps.iterdir()) == []
        assert not remains.exists()

    def test_a_sweep_leaves_a_clear_its_work(self, engine: PairtreeEngine, tmp_path: Path) -> None:
        engine.put(b"key", b"row")
        cleared = Path(engine.location, ".tmp", "0123")
        cleared.mkdir()
        ready = tmp_path / "ready"
        child = Child("fork", hold_and_wait, str(cleared), str(ready), str(tmp_path / "never"))
        while not ready.exists():
            time.sleep(0.005)
        assert engine.sweep() == 0
        child.kill()
        assert engine.sweep() == 1
        assert not cleared.exists()

    def test_a_sweep_never_harms_a_writer(self, engine: PairtreeEngine) -> None:
        done = threading.Event()

        def sweep() -> None:
            while not done.is_set():
                engine.sweep()

        def write(part: bytes) -> None:
            try:
                for number in range(300):
                    key = part + b"%d" % (number % 20)
                    row = sealed_row(key)
                    engine.put(key, row)
                    assert engine.get(key) == row
            finally:
                done.set()

        in_threads(lambda work, *given: work(*given), [(sweep,), (write, b"a"), (write, b"b")])
        assert files_in(Path(engine.location, ".tmp")) == []


class TestCrowded:
    def test_no_miss_in_a_full_folder(self, engine: PairtreeEngine) -> None:
        """Some file systems list a name that is renamed over late, twice or not at all."""
        keys = in_one_folder(1500)
        engine.put_many((key, b"row") for key in keys)
        done = threading.Event()

        def overwrite(part: int) -> None:
            while not done.is_set():
                for key in keys[part::2]:
                    engine.put(key, b"row")

        def look() -> None:
            try:
                for _ in range(20):
                    assert sorted(engine.keys()) == sorted(keys)
            finally:
                done.set()

        in_threads(lambda work, *given: work(*given), [(overwrite, 0), (overwrite, 1), (look,)])

    def test_clear_and_destroy_while_others_write(self, engine: PairtreeEngine) -> None:
        done = threading.Event()
        keys = [b"key %d" % number for number in range(20)]

        def write() -> None:
            other = at_same(engine)
            while not done.is_set():
                for key in keys:
                    other.put(key, sealed_row(key))
                    row = other.get(key)
                    assert row is None or is_sealed(key, row)
                    if row is not None:
                        other.compare_and_set(key, row[ETAG], sealed_row(key))
                    other.delete(key)
                    other.contains(key)

        def look() -> None:
            while not done.is_set():
                assert all(is_sealed(key, row) for key, row in engine.items())
                assert engine.count() <= len(keys)
                assert engine.size_bytes() >= 0

        def remove() -> None:
            try:
                for number in range(200):
                    other = at_same(engine)
                    other.destroy() if number % 3 == 0 else other.clear()
            finally:
                done.set()

        in_threads(lambda work: work(), [(write,), (write,), (look,), (remove,)])
        engine.put(b"key", b"row")
        assert engine.get(b"key") == b"row"
        engine.clear()
        assert sorted(os.listdir(engine.place.folder)) == ["data.db"]

    def test_a_swap_never_outlives_a_clear(self, engine: PairtreeEngine) -> None:
        for _ in range(60):
            row = make_row()
            engine.put(b"key", row)
            swapped, _ = in_threads(
                lambda work, *given: work(*given),
                [(engine.compare_and_set, b"key", row[ETAG], make_row()), (engine.clear,)],
            )
            assert swapped in (True, False)
            assert engine.count() == 0


@contextlib.contextmanager
def flushes() -> Iterator[list[str]]:
    """Record the paths that are flushed, and every rename and removal, in their order."""
    events: list[str] = []

    def watch(frame: Any, event: str, called: Any) -> None:
        if event != "c_call":
            return
        if called is os.fsync:
            events.append("flush " + os.readlink(f"/proc/self/fd/{frame.f_locals['fd']}"))
        elif called in (os.replace, os.rename):
            events.append("rename")
        elif called is os.unlink:
            events.append("unlink")

    sys.setprofile(watch)
    try:
        yield events
    finally:
        sys.setprofile(None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
class TestDurability:
    def test_system(self, tmp_path: Path) -> None:
        engine = at(tmp_path, "system")
        leaf, table = file_of(engine, b"key").parent, file_of(engine, b"key").parents[1]
        store = Path(engine.location)
        with flushes() as events:
            engine.put(b"key", make_row())
        assert events[0].startswith(f"flush {store / '.tmp'}/")
        assert events[1:5] == ["rename", f"flush {leaf}", f"flush {table}", f"flush {store}"]
        assert f"flush {tmp_path}" in events
        with flushes() as events:
            engine.put(b"key", b"row")
        assert events[1:] == ["rename", f"flush {leaf}"]
        with flushes() as events:
            assert engine.compare_and_set(b"key", b"", make_row(b"", b"e" * 16))
        assert events[1:] == ["rename", f"flush {leaf}"]
        with flushes() as events:
            assert engine.compare_and_set(b"key", b"e" * 16, None)
        assert events == ["unlink", f"flush {leaf}"]
        engine.put(b"key", b"row")
        with flushes() as events:
            engine.delete(b"key")
        assert events == ["unlink", f"flush {leaf}"]
        with flushes() as events:
            engine.clear()
        assert events[:2] == ["rename", f"flush {store}"]

    def test_folders_made_by_others_are_flushed_too(self, tmp_path: Path) -> None:
        at(tmp_path, "process").put(b"key", b"row")
        engine = at(tmp_path, "system")
        with flushes() as events:
            engine.put(b"key", b"row")
        assert f"flush {engine.place.folder}" in events
        assert f"flush {file_of(engine, b'key').parents[1]}" in events

    def test_process(self, engine: PairtreeEngine) -> None:
        with flushes() as events:
            engine.put(b"key", b"row")
            engine.delete(b"key")
            engine.clear()
        assert not [event for event in events if event.startswith("flush")]
