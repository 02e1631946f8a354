"""What diskcache and sqlitedict do when files are locked, lost, damaged, full or interrupted."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import diskcache
import pytest

import hashstash.engines.diskcache as diskcache_engine
import hashstash.engines.sqlitedict as sqlitedict_engine
from hashstash.engines import ETAG, Engine, Place, foreign
from hashstash.engines.diskcache import DiskcacheEngine
from hashstash.engines.sqlitedict import SqlitedictEngine
from hashstash.errors import ConfigurationError, EngineError
from hashstash.testing.processes import METHODS, Child, in_threads
from hashstash.testing.samples import make_row, sealed_row

Kind = type[DiskcacheEngine] | type[SqlitedictEngine]
KINDS: list[Kind] = [DiskcacheEngine, SqlitedictEngine]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def at(kind: Kind, folder: Path) -> Engine:
    return kind(Place(str(folder / "stash"), "stash"))


def database_of(engine: Engine) -> Path:
    path = Path(engine.location)
    return path / "cache.db" if path.is_dir() else path


@kinds
def test_waits_for_another_program(kind: Kind, tmp_path: Path) -> None:
    engine = at(kind, tmp_path)
    engine.put(b"key", b"row")
    other = sqlite3.connect(database_of(engine), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    assert engine.get(b"key") == b"row"  # reading waits for nobody
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    engine.put(b"key", b"new")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    engine.put_many([(b"key 2", b"new")])
    assert dict(engine.items()) == {b"key": b"new", b"key 2": b"new"}
    other.close()


@kinds
def test_does_not_wait_for_ever(kind: Kind, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)
    engine = at(kind, tmp_path)
    engine.put(b"key", b"row")
    other = sqlite3.connect(database_of(engine), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    changes: list[Callable[[], object]] = [
        lambda: engine.put(b"key", b"new"),
        lambda: engine.delete(b"key"),
        lambda: engine.compare_and_set(b"key", b"", b"new"),
        lambda: engine.put_many([(b"key", b"new")]),
        engine.clear,
    ]
    for change in changes:
        with pytest.raises(EngineError, match="locked") as caught:
            change()
        assert engine.location in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert engine.get(b"key") == b"row"
    other.execute("COMMIT")
    other.close()
    engine.put(b"key", b"new")
    assert engine.get(b"key") == b"new"


@kinds
def test_the_file_is_removed_under_an_open_engine(kind: Kind, tmp_path: Path) -> None:
    engine, other = at(kind, tmp_path), at(kind, tmp_path)
    engine.put(b"key", b"row")
    assert Child(METHODS[0], other.destroy).result() is None
    assert engine.get(b"key") is None
    assert engine.count() == 0
    engine.put(b"key", b"new")
    assert Child(METHODS[0], at(kind, tmp_path).get, b"key").result() == b"new"


@kinds
@pytest.mark.parametrize("content", [b"no database at all" * 100, bytes(5000)], ids=["text", "0"])
def test_a_file_that_is_no_database(kind: Kind, tmp_path: Path, content: bytes) -> None:
    engine = at(kind, tmp_path)
    engine.put(b"key", b"row")
    database = database_of(engine)
    engine.close()
    database.write_bytes(content)
    for act in (lambda: engine.get(b"key"), lambda: engine.put(b"key", b"new"), engine.count):
        with pytest.raises(EngineError, match="not a database") as caught:
            act()
        assert engine.location in str(caught.value)
    assert database.read_bytes() == content


@kinds
def test_a_file_cut_short(kind: Kind, tmp_path: Path) -> None:
    engine = at(kind, tmp_path)
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(300)}
    engine.put_many(rows.items())
    database = database_of(engine)
    engine.close()
    size = database.stat().st_size
    os.truncate(database, size // 2)
    seen = 0
    for key, row in rows.items():
        try:
            found = engine.get(key)
        except EngineError as exc:
            assert engine.location in str(exc)  # noqa: PT017 - some rows may be whole
        else:
            assert found in {None, row}
            seen += 1
    assert seen < len(rows)


@kinds
def test_another_error_in_the_making_is_not_mistaken_for_ours(kind: Kind, tmp_path: Path) -> None:
    engine = at(kind, tmp_path)
    Path(engine.location).parent.mkdir(parents=True)
    Path(engine.location).symlink_to(tmp_path)
    try:
        raise OSError("the caller's own")
    except OSError:
        with pytest.raises(EngineError, match="link"):
            engine.put(b"key", b"row")


def test_the_library_hides_what_sqlite_said(tmp_path: Path) -> None:
    engine = DiskcacheEngine(Place(str(tmp_path), "stash"))
    said = sqlite3.OperationalError("disk I/O error")
    timeout = diskcache.Timeout()
    timeout.__context__ = said
    assert engine.root_cause(timeout) is said
    assert engine.root_cause(said) is said
    with pytest.raises(EngineError, match="disk I/O error"):
        engine.wait("put", timeout, 0.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"may not mount a small disk here: {exc}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@kinds
def test_full_disk(kind: Kind, disk: Path) -> None:
    engine = at(kind, disk)
    stored = {b"old": b"as it was"}
    engine.put(b"old", b"as it was")
    rows = {b"key %d" % number: os.urandom(50_000) for number in range(30)}
    with pytest.raises(EngineError, match="full") as caught:
        for key, row in rows.items():
            engine.put(key, row)
            stored[key] = row
    assert engine.location in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    with pytest.raises(EngineError, match="full"):
        engine.compare_and_set(b"old", b"", os.urandom(900_000))
    with pytest.raises(EngineError, match="full"):
        engine.put_many(rows.items())
    if kind.transactions:
        assert dict(engine.items()) == stored
    assert {key: engine.get(key) for key in stored} == stored
    engine.close()
    assert {key: engine.get(key) for key in stored} == stored
    engine.close()


@kinds
def test_read_only_disk(kind: Kind, disk: Path) -> None:
    engine = at(kind, disk)
    row = make_row()
    engine.put(b"key", row)
    engine.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert engine.get(b"key") == row
    assert engine.get(b"other") is None
    assert list(engine.items()) == [(b"key", row)]
    assert engine.sibling("versions").count() == 0
    changes: list[Callable[[], object]] = [
        lambda: engine.put(b"key", b"new"),
        lambda: engine.delete(b"key"),
        lambda: engine.compare_and_set(b"key", row[ETAG], b"new"),
        engine.clear,
        lambda: engine.put_many([(b"key", b"new")]),
        lambda: engine.sibling("versions").put(b"key", b"new"),
    ]
    for change in changes:
        with pytest.raises(EngineError, match=r"(?i)read-?only") as caught:
            change()
        assert engine.place.folder in str(caught.value)
    engine.close()


WATCHED = frozenset(
    str(module.__file__)
    for module in (foreign, diskcache_engine, sqlitedict_engine, diskcache.core)
)


class Interruption:
    """Raises KeyboardInterrupt at the given step, a line or an opcode of an engine or a library."""

    def __init__(self, step: int, opcodes: bool) -> None:
        self.left, self.opcodes = step, opcodes

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED or frame.f_code.co_name == "__del__":
            return None  # what is raised in a destructor goes nowhere
        frame.f_trace_opcodes = self.opcodes
        if event == ("opcode" if self.opcodes else "line"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def hits(self, act: Callable[[], object]) -> bool:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            act()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


@kinds
@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "opcodes"])
@pytest.mark.parametrize("change", ["put", "delete", "swap", "remove", "put_many", "clear"])
def test_interrupted_anywhere(kind: Kind, tmp_path: Path, change: str, opcodes: bool) -> None:
    """Whatever an interrupt hits: the old row or the new one, and nothing is left locked."""
    engine, after = at(kind, tmp_path), at(kind, tmp_path)
    step = 0
    while True:
        step += 1
        old, new = sealed_row(b"key"), sealed_row(b"key")
        engine.put_many([(b"key", old), (b"other", b"row")])
        acts: dict[str, Callable[[], object]] = {
            "put": partial(engine.put, b"key", new),
            "put_many": partial(engine.put_many, [(b"key", new), (b"other", b"new")]),
            "delete": partial(engine.delete, b"key"),
            "swap": partial(engine.compare_and_set, b"key", old[ETAG], new),
            "remove": partial(engine.compare_and_set, b"key", old[ETAG], None),
            "clear": engine.clear,
        }
        if step % 5 == 0:
            engine.close()
        if not Interruption(step, opcodes).hits(acts[change]):
            break
        found = after.get(b"key")
        assert found in {old, new if change in {"put", "swap", "put_many"} else None}
        changed = {"clear": None, "put_many": b"new"}.get(change, b"row")
        assert after.get(b"other") == (b"row" if found == old else changed)
        in_threads(after.put, [(b"key", old)])
        assert engine.get(b"key") == old
    assert step > 20


@kinds
@pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")
def test_a_fork_inside_a_transaction(kind: Kind, tmp_path: Path) -> None:
    engine = at(kind, tmp_path)
    engine.put(b"before", b"row")

    def look() -> tuple[bytes | None, bytes | None]:
        return engine.get(b"before"), engine.get(b"inside")

    with engine.transaction():
        engine.put(b"inside", b"row")
        seen = Child("fork", look).result()
    assert seen == (b"row", None if kind.transactions else b"row")
    assert engine.get(b"inside") == b"row"


@kinds
def test_options_about_an_existing_cache(kind: Kind, tmp_path: Path) -> None:
    place = Place(str(tmp_path), "stash")
    for wrong in ("yes", 1, None):
        with pytest.raises(ConfigurationError, match="trust_existing is True or False"):
            kind(place, existing="/cache", trust_existing=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="given as existing"):
        kind(place, trust_existing=True)
    with pytest.raises(ConfigurationError, match="existing is a path"):
        kind(place, existing=3)  # type: ignore[arg-type]
    engine = kind(place, existing=tmp_path / "cache")
    assert engine.location == str(tmp_path / "cache")
    for act in (lambda: engine.get(b"key"), lambda: engine.put(b"key", b"row"), engine.count):
        with pytest.raises(ConfigurationError, match="used through a stash"):
            act()
    assert list(tmp_path.iterdir()) == []
