"""The sqlite engine: the contract, and what only it does."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import assert_names_are_synced, traced

from hashstash.engines import ETAG, Engine, Place, sqlite_pool
from hashstash.engines import sqlite as sqlite_engine
from hashstash.engines.sqlite import SqliteEngine
from hashstash.engines.sqlite_pool import SqlitePool, wal_bytes
from hashstash.errors import ConfigurationError, EngineError
from hashstash.testing.engine import EngineContract, EngineSpec
from hashstash.testing.processes import METHODS, Child, in_processes, in_threads
from hashstash.testing.samples import make_row, sealed_row

SQLITE_LIMIT_LENGTH = 0
needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")
needs_descriptors = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="the system does not list descriptors"
)


class TestSqliteEngine(EngineContract):
    engine_name = "sqlite"

    def leftovers(self, engine: Engine) -> list[str]:
        engine.get(b"k")
        engine.close()
        return sorted(set(os.listdir(os.path.dirname(engine.location))) - {"data.db"})


class _StopError(Exception):
    """Raised by tests inside a transaction."""


def at(folder: Path, **options: Any) -> SqliteEngine:
    return SqliteEngine(Place(str(folder / "stash"), "stash"), **options)


@pytest.fixture
def engine(tmp_path: Path) -> SqliteEngine:
    return at(tmp_path)


def pool_of(engine: SqliteEngine) -> SqlitePool:
    return engine._table.shared()


def test_reading_makes_nothing(engine: SqliteEngine, tmp_path: Path) -> None:
    assert engine.get(b"k") is None
    assert not engine.contains(b"k")
    assert list(engine.items()) == []
    assert list(engine.get_many([b"k"])) == [(b"k", None)]
    assert engine.count() == 0
    assert engine.delete(b"k") is False
    assert engine.delete_many([b"k"]) == 0
    assert engine.size_bytes() == 0
    engine.clear()
    engine.put_many([])
    assert engine.sweep() == 0
    engine.destroy()
    assert list(tmp_path.iterdir()) == []


def test_opening_writes_nothing(engine: SqliteEngine) -> None:
    engine.put(b"k", b"row")
    engine.close()
    before = Path(engine.location).read_bytes()
    other = sqlite3.connect(engine.location, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # whoever wrote would have to wait
    impatient = SqliteEngine(engine.place, timeout=0)
    assert impatient.get(b"k") == b"row"
    assert impatient.sibling("versions").get(b"k") is None
    other.execute("ROLLBACK")
    other.close()
    impatient.close()
    assert Path(engine.location).read_bytes() == before
    engine.destroy()


def test_a_write_waits_for_another_program(engine: SqliteEngine) -> None:
    engine.put(b"k", b"row")
    other = sqlite3.connect(engine.location, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    engine.put(b"k", b"new")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
    with engine.transaction():
        engine.put(b"k", b"newer")
    assert engine.get(b"k") == b"newer"
    other.close()
    engine.destroy()


def test_a_write_does_not_wait_for_ever(tmp_path: Path) -> None:
    engine = at(tmp_path, timeout=0.05)
    engine.put(b"k", b"row")
    other = sqlite3.connect(engine.location, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for act in (
        lambda: engine.put(b"k", b"new"),
        lambda: engine.delete(b"k"),
        lambda: engine.compare_and_set(b"l", None, b"row"),
        lambda: engine.put_many([(b"k", b"new")]),
        engine.clear,
        engine.transaction().__enter__,
        engine.destroy,
    ):
        with pytest.raises(EngineError, match="database is locked") as caught:
            act()
        assert engine.location in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert engine.get(b"k") == b"row"
    other.execute("ROLLBACK")
    other.close()
    engine.put(b"k", b"new")
    engine.destroy()


def write_much(spec: EngineSpec, start: int) -> None:
    engine = spec.build()
    versions = engine.sibling("versions")
    for number in range(start, start + 20):
        key = b"key %d" % number
        engine.put(key, sealed_row(key))
        with engine.transaction():
            found = engine.get(b"sum")
            engine.put(b"sum", make_row(b"%d" % (int((found or make_row(b"0"))[ETAG.stop :]) + 1)))
            versions.put(key, b"row")
        assert engine.delete(key) == 1


def test_sixteen_processes_write(engine: SqliteEngine) -> None:
    spec = EngineSpec(SqliteEngine, engine.place)
    in_processes(METHODS[0], write_much, [(spec, part * 20) for part in range(16)])
    total = engine.get(b"sum")
    assert total is not None
    assert total[ETAG.stop :] == b"320"
    assert engine.count() == 1
    assert engine.sibling("versions").count() == 320
    engine.destroy()


def read_until(spec: EngineSpec, stop: str) -> int:
    engine = spec.build()
    reads = 0
    while not os.path.exists(stop):
        for key, row in engine.items():
            assert key
            assert row
            reads += 1
    return reads


def test_constant_readers_do_not_let_the_log_grow(
    engine: SqliteEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_pool, "WAL_BYTES", 1 << 18)
    spec, stop = EngineSpec(SqliteEngine, engine.place), str(tmp_path / "stop")
    engine.put_many([(b"key %d" % number, os.urandom(1000)) for number in range(300)])
    readers = [Child(METHODS[0], read_until, spec, stop) for _ in range(3)]
    longest = 0
    for number in range(1200):
        engine.put(b"key %d" % (number % 300), os.urandom(1000))
        longest = max(longest, wal_bytes(engine.location))
    Path(stop).touch()
    assert all(reader.result() > 300 for reader in readers)
    assert longest < 3 << 20, "without a pause for the readers it would be 5 MB"
    engine.destroy()


def test_no_read_keeps_the_log_from_beginning_anew(engine: SqliteEngine) -> None:
    engine.put_many([(b"key %04d" % number, b"x" * 20_000) for number in range(1500)])
    keys, items = engine.keys(), engine.items()
    found = engine.get_many([b"key %04d" % number for number in range(1500)])
    next(keys)
    next(items)
    next(found)
    engine.get(b"key 0001")
    other = sqlite3.connect(engine.location, isolation_level=None, timeout=0)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert wal_bytes(engine.location) == 0
    other.close()
    assert len(list(keys)) == len(list(items)) == 1499
    assert [row for _, row in found] == [b"x" * 20_000] * 1499
    engine.destroy()


def test_pages_by_size(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "PAGE_BYTES", 1000)
    monkeypatch.setattr(sqlite_engine, "AHEAD_BYTES", 5000)
    rows = {b"key %d" % number: b"row %d" % number * 50 for number in range(500)}
    engine.put_many(rows.items())
    assert dict(engine.items()) == rows
    wanted = [*rows, b"missing", *rows]
    assert list(engine.get_many(wanted)) == [(key, rows.get(key)) for key in wanted]

    def fails() -> Any:
        yield from [(key, b"changed") for key in rows]
        raise _StopError

    with pytest.raises(_StopError):
        engine.put_many(fails())
    assert dict(engine.items()) == rows
    engine.destroy()


def test_large_rows(engine: SqliteEngine) -> None:
    row = os.urandom(1 << 20) * 40
    engine.put(b"k", row)
    assert engine.get(b"k") == row
    assert engine.compare_and_set(b"k", row[ETAG], row[:-1])
    assert engine.get(b"k") == row[:-1]
    engine.destroy()


def test_a_row_that_sqlite_does_not_take(engine: SqliteEngine) -> None:
    engine.put(b"k", b"row")
    if not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("the limit cannot be lowered before Python 3.11")
    for act in (
        lambda: engine.put(b"k", b"x" * 20_000),
        lambda: engine.put_many([(b"a", b"1"), (b"k", b"x" * 20_000)]),
        lambda: engine.compare_and_set(b"new", None, b"x" * 20_000),
    ):
        assert engine.get(b"k") == b"row"
        connection: Any = pool_of(engine).idle[0].connection
        connection.setlimit(SQLITE_LIMIT_LENGTH, 10_000)
        with pytest.raises(EngineError, match="too big"):
            act()
    assert dict(engine.items()) == {b"k": b"row"}
    engine.destroy()


@needs_descriptors
def test_connections_are_shared_and_closed(tmp_path: Path) -> None:
    def held(folder: Path = tmp_path) -> int:
        links = []
        for number in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{number}"))
            except FileNotFoundError:
                continue
        return sum(link.startswith(str(folder)) for link in links)

    (tmp_path / "link").symlink_to(tmp_path)
    engines = [at(tmp_path), at(tmp_path), at(tmp_path / "link"), at(tmp_path).sibling("versions")]
    for engine in engines:
        engine.put(b"k", b"row")
        assert engine.get(b"k") == b"row"
    assert held() <= 3
    in_threads(lambda engine: engine.put_many([(b"k", b"row")] * 50), [(e,) for e in engines])
    assert held() <= 3 * len(engines)
    for engine in engines:
        assert held()
        engine.close()
    assert held() == 0
    forgotten = at(tmp_path)
    forgotten.put(b"k", b"row")
    del forgotten, engine, engines
    at(tmp_path / "other").put(b"k", b"row")  # opening a store closes those that nobody has
    assert held(tmp_path / "stash") == 0
    at(tmp_path / "other").destroy()


def test_closing_inside_a_transaction(engine: SqliteEngine) -> None:
    with engine.transaction():
        engine.put(b"k", b"row")
        engine.close()
        assert engine.get(b"k") == b"row"
        engine.put(b"l", b"row")
    assert engine.count() == 2
    with pytest.raises(EngineError, match="inside a transaction"), engine.transaction():
        engine.destroy()
    engine.destroy()


def test_closing_while_a_thread_reads(engine: SqliteEngine) -> None:
    engine.put(b"k", b"row")
    done = threading.Event()

    def read() -> None:
        try:
            for _ in range(500):
                assert engine.get(b"k") == b"row"
        finally:
            done.set()

    def close() -> None:
        while not done.is_set():
            engine.close()

    in_threads(lambda work: work(), [(read,), (close,), (read,)])
    engine.close()
    assert pool_of(engine).idle == pool_of(engine).idle.__class__()
    engine.destroy()


def test_a_transaction_that_sqlite_took_back(engine: SqliteEngine) -> None:
    """What follows in the block is not written as if there were no transaction."""
    engine.put(b"k", b"row")
    with pytest.raises(EngineError, match="leave its block"), engine.transaction():
        engine.put(b"k", b"changed")
        level = engine._table.level(pool_of(engine))
        assert level is not None
        assert level.session is not None
        level.session.connection.execute("ROLLBACK")  # as SQLite does when the disk is full
        with pytest.raises(EngineError, match="leave its block"):
            engine.put(b"l", b"row")
        with pytest.raises(EngineError, match="leave its block"):
            engine.get(b"k")
        with pytest.raises(EngineError, match="leave its block"), engine.transaction():
            pass
    assert dict(engine.items()) == {b"k": b"row"}
    engine.put(b"l", b"row")
    assert engine.count() == 2
    engine.destroy()


def test_a_table_made_in_a_transaction_that_is_taken_back(engine: SqliteEngine) -> None:
    versions = engine.sibling("versions")
    for _ in range(3):
        with pytest.raises(_StopError), engine.transaction():
            versions.put(b"v", b"1")
            assert versions.get(b"v") == b"1"
            raise _StopError
        assert versions.get(b"v") is None
    versions.put(b"v", b"2")
    assert versions.get(b"v") == b"2"
    engine.destroy()


@pytest.mark.parametrize("table", ["it's", 'a "quoted" name', "a;b--", "TABLE_NAME", "select", "ä"])
def test_names_of_tables(engine: SqliteEngine, table: str) -> None:
    sibling = engine.sibling(table)
    sibling.put(b"k", b"row")
    assert sibling.get(b"k") == b"row"
    assert list(sibling.get_many([b"k"])) == [(b"k", b"row")]
    assert engine.get(b"k") is None
    engine.destroy()


def test_names_that_no_table_can_have(tmp_path: Path) -> None:
    for table in ("", "a\0b", "sqlite_master", "SQLite_x"):
        with pytest.raises(ConfigurationError, match="name of a table"):
            SqliteEngine(Place(str(tmp_path), "stash", table=table))


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", None])
def test_options(tmp_path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(timeout))):
        at(tmp_path, timeout=timeout)
    assert at(tmp_path, timeout=3).sibling("versions").timeout == 3


def test_durabilities_meet(engine: SqliteEngine) -> None:
    system = SqliteEngine(replace(engine.place, durability="system"))
    engine.put(b"k", b"1")
    system.put(b"k", b"2")
    assert [session.durable for session in pool_of(system).idle] == [True]
    engine.put(b"k", b"3")
    assert system.get(b"k") == b"3"
    with pytest.raises(EngineError, match="need not survive power loss"), engine.transaction():
        if pool_of(engine).idle:
            pytest.fail("the transaction has the only connection")
        level = engine._table.level(pool_of(engine))
        assert level is not None
        assert level.session is not None
        level.session.durable = False  # as it would be if no such engine had been here
        system.put(b"k", b"4")
    assert engine.get(b"k") == b"3"
    engine.destroy()


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
@pytest.mark.parametrize("durability", ["process", "system"])
def test_what_reaches_the_disk(tmp_path: Path, durability: str) -> None:
    calls = traced("sqlite", tmp_path, durability)
    for number, made in enumerate(calls):
        if number == 0:
            continue  # a new log's head and name are flushed in any case
        synced = [line for line in made if re.search(r"\bf(data)?sync\(", line)]
        assert bool(synced) == (durability == "system"), (number, made)
    if durability == "system":
        assert_names_are_synced(calls[0], tmp_path)


def test_the_log_of_a_dead_process_is_read(engine: SqliteEngine) -> None:
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(100)}
    child = Child(METHODS[0], write_and_die, engine.place, rows)
    assert child.wait() == -9
    assert wal_bytes(engine.location) > 0
    assert dict(engine.items()) == rows
    engine.close()
    assert wal_bytes(engine.location) == 0
    assert dict(engine.items()) == rows
    engine.destroy()


def write_and_die(place: Place, rows: dict[bytes, bytes]) -> None:
    engine = SqliteEngine(place)
    engine.put_many(rows.items())
    with engine.transaction():
        engine.put(b"key 0", b"never committed")
        os.kill(os.getpid(), 9)


@needs_fork
def test_a_forked_child_does_not_rely_on_its_parents_locks(engine: SqliteEngine) -> None:
    """SQLite alone would lose what the child writes after the parent has closed its connection."""
    engine.put(b"before", b"row")
    assert engine.get(b"before") == b"row"
    go, wait = os.pipe()
    child = Child("fork", write_when_told, engine, (go, wait))
    while engine.get(b"first") is None:
        time.sleep(0.001)
    engine.close()  # the last connection of this process: SQLite removes the log if it may
    os.write(wait, b"!")
    child.result()
    assert engine.get(b"second") == b"row"
    assert Child(METHODS[-1], SqliteEngine(engine.place).get, b"second").result() == b"row"
    os.close(go)
    os.close(wait)
    engine.destroy()


def write_when_told(engine: SqliteEngine, pipe: tuple[int, int]) -> None:
    engine.put(b"first", b"row")
    os.read(pipe[0], 1)
    engine.put(b"second", b"row")
    assert engine.get(b"second") == b"row"


@needs_fork
def test_a_fork_inside_a_transaction(engine: SqliteEngine) -> None:
    """What the parent holds there cannot be told from what the child holds: it is refused."""
    engine.put(b"k", b"old")
    with engine.transaction():
        engine.put(b"k", b"new")
        said = Child("fork", use_what_was_forked, engine).result()
    assert said == ["forked"] * 4
    assert engine.get(b"k") == b"new"
    assert Child("fork", engine.get, b"k").result() == b"new"
    engine.destroy()


def use_what_was_forked(engine: SqliteEngine) -> list[str]:
    said = []
    acts: list[Callable[[], object]] = [
        lambda: engine.get(b"k"),
        lambda: engine.put(b"k", b"from the child"),
        lambda: SqliteEngine(engine.place).get(b"k"),
        engine.transaction().__enter__,
    ]
    for act in acts:
        with pytest.raises(EngineError, match="forked while a thread of its parent") as caught:
            act()
        said.append("forked" if "spawn" in str(caught.value) else str(caught.value))
    return said


@needs_fork
def test_a_fork_while_another_thread_is_in_a_transaction(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashstash.engines import connections

    monkeypatch.setattr(connections, "FORK_PATIENCE", 0.2)
    engine.put(b"k", b"old")
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with engine.transaction():
            engine.put(b"k", b"new")
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(60)
    assert Child("fork", use_what_was_forked, engine).result() == ["forked"] * 4
    assert engine.get(b"k") == b"old"
    leave.set()
    thread.join(60)
    assert engine.get(b"k") == b"new"
    assert Child("fork", engine.get, b"k").result() == b"new"
    engine.destroy()


EXIT = """
import os, sys, threading, time, warnings
warnings.simplefilter("error", ResourceWarning)
from hashstash.engines import ENGINES, Place
engine = ENGINES.load("sqlite")(Place(sys.argv[1], "stash"))
engine.put(b"k", b"row")
child = os.fork()
if child == 0:
    engine.put(b"child", b"row")
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert engine.get(b"child") == b"row"
"""


@needs_fork
def test_connections_are_closed_at_exit(engine: SqliteEngine) -> None:
    command = [sys.executable, "-c", EXIT, engine.place.folder]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert os.listdir(engine.place.folder) == ["data.db"]
    assert engine.count() == 2
    engine.destroy()
