"""The lmdb engine: the contract, and what only it does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import pytest
from faults import assert_names_are_synced, traced

from hashstash.engines import ETAG, Engine, Place, lmdb_pages, lmdb_table, lmdb_transactions
from hashstash.engines.lmdb import LmdbEngine
from hashstash.errors import ConfigurationError, EngineError
from hashstash.testing.engine import EngineContract, EngineSpec
from hashstash.testing.processes import METHODS, Child, in_processes, in_threads
from hashstash.testing.samples import make_row, sealed_row

TINY = 65536
needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")


def left_by_the_dead(engine: Engine) -> list[str]:
    files = set(os.listdir(os.path.dirname(engine.location)))
    return sorted(files - {"data.db", "data.db-lock"})


class TestLmdbEngine(EngineContract):
    engine_name = "lmdb"

    def leftovers(self, engine: Engine) -> list[str]:
        engine.get(b"k")
        return left_by_the_dead(engine)


class TestLmdbEngineWithATinyMap(EngineContract):
    engine_name = "lmdb"
    options: ClassVar[dict[str, Any]] = {"map_size": TINY}


class _StopError(Exception):
    """Raised by tests inside a transaction."""


def at(folder: Path, **options: Any) -> LmdbEngine:
    return LmdbEngine(Place(str(folder / "stash"), "stash"), **options)


@pytest.fixture
def engine(tmp_path: Path) -> LmdbEngine:
    return at(tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> LmdbEngine:
    return at(tmp_path, map_size=TINY)


def put_numbered(spec: EngineSpec, start: int, size: int) -> None:
    engine = spec.build()
    for number in range(start, start + 40):
        engine.put(b"key %d" % number, b"%d " % number * size)


def test_two_processes_grow_the_map_at_once(tiny: LmdbEngine) -> None:
    spec = EngineSpec(LmdbEngine, tiny.place, {"map_size": TINY})
    tiny.put(b"k", b"row")
    in_processes(METHODS[0], put_numbered, [(spec, part * 40, 5000) for part in range(4)])
    assert tiny.count() == 161
    for number in range(160):
        assert tiny.get(b"key %d" % number) == b"%d " % number * 5000
    tiny.destroy()


def test_another_process_grew_the_map(tiny: LmdbEngine) -> None:
    spec = EngineSpec(LmdbEngine, tiny.place, {})
    tiny.put(b"k", b"row")
    assert tiny.get(b"k") == b"row"
    in_processes(METHODS[0], put_numbered, [(spec, 0, 5000)])
    assert tiny.get(b"key 39") == b"39 " * 5000  # read first: MDB_MAP_RESIZED
    in_processes(METHODS[0], put_numbered, [(spec, 40, 9000)])
    tiny.put(b"k", b"new")  # written first
    in_processes(METHODS[0], put_numbered, [(spec, 80, 9000)])
    with tiny.transaction():
        tiny.put(b"k", b"newer")
    assert tiny.count() == 121
    tiny.destroy()


def test_the_map_grows_under_readers_and_writers(tiny: LmdbEngine) -> None:
    rows = {b"key %d" % number: sealed_row(b"key %d" % number) for number in range(30)}
    tiny.put_many(rows.items())
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for key, row in rows.items():
                assert tiny.get(key) == row
            assert len(list(tiny.items())) >= 30

    def write() -> None:
        try:
            for number in range(30):
                tiny.put(b"more %d" % number, os.urandom(10_000 * (number + 1)))
        finally:
            done.set()

    in_threads(lambda work: work(), [(read,), (read,), (write,), (write,)])
    assert tiny.count() == 60
    tiny.destroy()


def test_a_row_larger_than_twice_the_map(tiny: LmdbEngine) -> None:
    row = os.urandom(5_000_000)
    tiny.put(b"k", row)
    assert tiny.get(b"k") == row
    assert tiny.compare_and_set(b"l", None, row + row)
    assert tiny.get(b"l") == row + row
    tiny.destroy()


def test_a_transaction_outgrows_the_map(tiny: LmdbEngine) -> None:
    """All that it did is done again in the larger map, nested blocks and new tables included."""
    versions = tiny.sibling("versions")
    tiny.put_many([(b"a", make_row(b"1")), (b"b", b"gone"), (b"c", b"kept")])
    with tiny.transaction():
        tiny.put(b"big", b"x" * 100_000)
        seen = tiny.get(b"a")
        assert seen is not None
        assert tiny.compare_and_set(b"a", seen[ETAG], make_row(b"2"))
        assert tiny.delete(b"b")
        versions.put(b"v", b"y" * 100_000)
        with tiny.transaction():
            tiny.put(b"inner", b"z" * 300_000)
            versions.put(b"inner", b"z" * 300_000)
        with pytest.raises(_StopError), tiny.transaction():
            tiny.put(b"c", b"taken back")
            tiny.put(b"never", b"w" * 600_000)
            raise _StopError
        tiny.put_many([(b"many %d" % number, b"v" * 20_000) for number in range(100)])
        assert tiny.get(b"big") == b"x" * 100_000
        assert versions.count() == 2
    found = dict(tiny.items())
    assert len(found) == 104
    assert found[b"a"][ETAG.stop :] == b"2"
    assert found[b"c"] == b"kept"
    assert found[b"inner"] == b"z" * 300_000
    assert dict(versions.items()) == {b"v": b"y" * 100_000, b"inner": b"z" * 300_000}
    assert not {b"b", b"never"} & set(found)
    tiny.destroy()


def test_others_write_while_a_transaction_makes_room(
    tiny: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had read may be outdated, so it fails instead of writing it again."""
    tiny.put(b"k", b"1")
    grow = type(tiny._table.shared()).grow

    def write_elsewhere(*given: Any) -> None:
        Child(METHODS[0], LmdbEngine(tiny.place).put, b"k", b"2").result()
        grow(*given)

    with pytest.raises(EngineError, match="others wrote while it grew"), tiny.transaction():
        assert tiny.get(b"k") == b"1"
        monkeypatch.setattr(type(tiny._table.shared()), "grow", write_elsewhere)
        tiny.put(b"k", b"3" * 1_000_000)
    monkeypatch.undo()
    assert tiny.get(b"k") == b"2"
    with tiny.transaction():
        tiny.put(b"k", b"3" * 1_000_000)
    assert tiny.get(b"k") == b"3" * 1_000_000
    tiny.destroy()


def test_a_transaction_outgrows_a_roomy_map(
    tiny: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was much room its writes are not kept: the next try finds a larger map."""
    monkeypatch.setattr(lmdb_transactions, "ROOMY", 0)
    tiny.put(b"k", b"row")

    def write() -> None:
        with tiny.transaction():
            tiny.put(b"k", b"changed")
            for number in range(10):
                tiny.put(b"key %d" % number, b"x" * 20_000)

    with pytest.raises(EngineError, match="MDB_MAP_FULL"):
        write()
    assert tiny.get(b"k") == b"row"
    for _ in range(4):
        try:
            write()
        except EngineError:
            continue
        break
    assert tiny.count() == 11
    tiny.destroy()


def test_few_addresses(tmp_path: Path) -> None:
    """A limit on addresses is no obstacle, and most are left to the program."""
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "from hashstash.engines import ENGINES, Place\n"
        "engine = ENGINES.load('lmdb')(Place(sys.argv[1], 'stash'), **eval(sys.argv[2]))\n"
        "engine.put(b'k', b'x' * 10_000_000)\n"
        "assert len(engine.get(b'k')) == 10_000_000\n"
        "assert len(bytearray(200_000_000))\n"
    )
    for options in ("{}", "{'map_size': 1 << 40}"):
        command = [sys.executable, "-c", program, str(tmp_path / "stash"), options]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if options == "{}":
            assert ran.returncode == 0, ran.stderr
        else:  # the map takes what it gets: the half of the half of ... the limit
            assert ran.returncode == 0 or "MemoryError" in ran.stderr, ran.stderr


def test_200_megabytes(engine: LmdbEngine) -> None:
    row = os.urandom(1 << 20) * 200
    engine.put(b"k", row)
    assert engine.get(b"k") == row
    assert engine.delete(b"k")
    assert engine.get(b"k") is None
    engine.destroy()


def test_keys_of_511_bytes_and_more(engine: LmdbEngine) -> None:
    engine.put(b"k" * 511, b"row")
    assert engine.get(b"k" * 511) == b"row"
    for key in (b"k" * 512, b""):
        with pytest.raises(EngineError, match="MDB_BAD_VALSIZE"):
            engine.put(key, b"row")
    engine.destroy()


def descriptors_of(folder: Path) -> int:
    held = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            held += os.readlink(f"/proc/self/fd/{number}").startswith(str(folder))
        except FileNotFoundError:
            continue
    return held


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are not listed")
def test_one_environment_for_all_engines_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    engines = [at(tmp_path), at(tmp_path), at(tmp_path / "link"), at(tmp_path).sibling("versions")]
    for engine in engines:
        engine.put(b"k", b"row")
    held = descriptors_of(tmp_path)
    assert held <= 4
    for engine in engines[:-1]:
        engine.close()
        assert descriptors_of(tmp_path) == held
    engines[-1].close()
    assert descriptors_of(tmp_path) == 0
    forgotten = at(tmp_path)
    forgotten.put(b"k", b"row")
    del forgotten, engine, engines
    at(tmp_path / "other").put(b"k", b"row")  # opening a store closes those that nobody has
    assert descriptors_of(tmp_path / "stash") == 0
    at(tmp_path / "other").destroy()


def test_closing_inside_a_transaction(engine: LmdbEngine) -> None:
    with engine.transaction():
        engine.put(b"k", b"row")
        engine.close()
        assert engine.get(b"k") == b"row"
        engine.put(b"l", b"row")
    assert engine.count() == 2
    with pytest.raises(EngineError, match="inside a transaction"), engine.transaction():
        engine.destroy()
    engine.destroy()


def test_reading_makes_nothing_and_waits_for_nobody(engine: LmdbEngine, tmp_path: Path) -> None:
    assert engine.get(b"k") is None
    assert list(engine.items()) == []
    assert engine.count() == 0
    assert engine.delete_many([]) == 0
    assert engine.sweep() == 0
    assert list(tmp_path.iterdir()) == []
    engine.put(b"k", b"row")
    other = Child(METHODS[0], hold_the_lock, engine.place, str(tmp_path / "locked"))
    while not (tmp_path / "locked").exists():
        time.sleep(0.001)
    assert engine.get(b"k") == b"row"
    assert engine.sibling("new").get(b"k") is None  # a table that no reader has seen yet
    assert at(tmp_path).sibling("versions").count() == 1
    engine.close()
    assert engine.get(b"k") == b"row"  # an environment opened meanwhile
    assert engine.sibling("versions").get(b"v") == b"before"
    (tmp_path / "locked").unlink()
    other.result()
    engine.put(b"k", b"new")
    assert engine.sibling("new").get(b"k") == b"row"
    engine.destroy()


def hold_the_lock(place: Place, told: str) -> None:
    engine = LmdbEngine(place)
    engine.sibling("versions").put(b"v", b"before")
    with engine.transaction():
        engine.sibling("new").put(b"k", b"row")
        Path(told).touch()
        while Path(told).exists():
            time.sleep(0.001)


def test_a_table_made_in_a_transaction_that_is_taken_back(engine: LmdbEngine) -> None:
    versions, leases = engine.sibling("versions"), engine.sibling("leases")
    engine.put(b"k", b"row")
    for _ in range(3):
        with pytest.raises(_StopError), engine.transaction():
            versions.put(b"v", b"1")
            raise _StopError
        assert versions.get(b"v") is None
        leases.put(b"l", b"2")
        assert leases.get(b"l") == b"2"
        assert dict(engine.items()) == {b"k": b"row"}
    with engine.transaction():
        with pytest.raises(_StopError), engine.transaction():
            versions.put(b"v", b"1")
            raise _StopError
        versions.put(b"w", b"3")
    assert dict(versions.items()) == {b"w": b"3"}
    assert dict(leases.items()) == {b"l": b"2"}
    engine.destroy()


def test_tables_made_by_threads_at_once(engine: LmdbEngine) -> None:
    """LMDB would mix up tables that are opened at the same time."""
    start = threading.Barrier(6)

    def use(number: int) -> None:
        start.wait(60)
        for round_ in range(10):
            table = engine.sibling(f"table {number} {round_}")
            other = engine.sibling(f"table {(number + 1) % 6} {round_}")
            if round_ % 2:
                with engine.transaction():
                    table.put(b"k", b"%d %d" % (number, round_))
            else:
                table.put(b"k", b"%d %d" % (number, round_))
            found = other.get(b"k")
            assert found in {None, b"%d %d" % ((number + 1) % 6, round_)}

    in_threads(use, [(n,) for n in range(6)])
    for number in range(6):
        for round_ in range(10):
            row = engine.sibling(f"table {number} {round_}").get(b"k")
            assert row == b"%d %d" % (number, round_)
    engine.destroy()


def die_while_reading(engine: LmdbEngine) -> None:
    assert engine.get(b"k")
    begin, db = engine._table.reader
    txn = begin(db)
    assert txn.get(b"k")
    os.kill(os.getpid(), 9)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_readers_that_were_killed(engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their slots would keep pages from being used again for ever."""
    engine.put(b"k", b"row")
    for _ in range(3):
        assert Child(METHODS[0], die_while_reading, LmdbEngine(engine.place)).wait() == -9
    assert engine.sweep() == 1  # the others' were freed by those that opened the store later
    assert engine.sweep() == 0
    assert Child(METHODS[0], die_while_reading, LmdbEngine(engine.place)).wait() == -9
    monkeypatch.setattr(lmdb_table, "CHECK_EVERY", 20)
    engine._table.until_check = 20
    for number in range(500):  # without a sweep: now and then a writer looks
        engine.put(b"k", b"%d " % number * 2000)
    assert engine.sweep() == 0
    assert engine.size_bytes() < 2 << 20
    engine.destroy()


@needs_fork
def test_a_fork_inside_a_transaction(engine: LmdbEngine) -> None:
    engine.put(b"k", b"old")
    with engine.transaction():
        engine.put(b"k", b"new")
        assert Child("fork", engine.get, b"k").result() == b"old"
        assert "nothing of it was written" in Child("fork", leave_the_block, engine).result()
    assert engine.get(b"k") == b"new"
    engine.destroy()


def leave_the_block(engine: LmdbEngine) -> str:
    """End the transaction that was inherited, as the code after a fork would."""
    store = engine._table._store
    assert store is not None
    assert store.pinned == {}
    assert BLOCKS[-1]._level is not None
    with pytest.raises(EngineError) as caught:
        BLOCKS[-1].__exit__(None, None, None)
    return str(caught.value)


BLOCKS: list[Any] = []


@pytest.fixture(autouse=True)
def remember_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    enter = lmdb_table.Block.__enter__
    BLOCKS.clear()

    def remember(block: lmdb_table.Block) -> None:
        enter(block)
        BLOCKS.append(block)

    monkeypatch.setattr(lmdb_table.Block, "__enter__", remember)


@needs_fork
def test_forks_of_forks(engine: LmdbEngine) -> None:
    engine.put(b"k", b"row")

    def descend(depth: int) -> bytes | None:
        engine.put(b"%d" % depth, b"row")
        if depth < 3:
            child = os.fork()
            if not child:
                os._exit(descend(depth + 1) != b"row")
            assert os.waitpid(child, 0)[1] == 0
        return engine.get(b"k")

    assert Child("fork", descend, 0).result() == b"row"
    assert engine.count() == 5
    engine.destroy()


EXIT = """
import os, sys, threading, time
from hashstash.engines import ENGINES, Place
engine = ENGINES.load("lmdb")(Place(sys.argv[1], "stash"))
engine.put(b"k", b"row")
begin, db = engine._table.reader
open_for_long = begin(db)  # as a thread has it that is reading just now
def write():
    while True:
        with engine.transaction():
            engine.put(b"k", b"row")
            time.sleep(0.01)
threading.Thread(target=write, daemon=True).start()
time.sleep(0.1)
import warnings; warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    engine.put(b"child", b"row")
    sys.exit(0)  # destructors run, unlike in multiprocessing
_, status = os.waitpid(child, 0)
assert status == 0, status
assert engine.get(b"child") == b"row"
assert open_for_long.get(b"k") == b"row"
engine.put(b"k", b"last")
"""


@needs_fork
def test_interpreters_end_while_threads_write(tmp_path: Path, engine: LmdbEngine) -> None:
    """Neither a forked child nor the parent hangs at exit, or harms the other."""
    command = [sys.executable, "-c", EXIT, engine.place.folder]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert engine.get(b"k") == b"last"
    engine.destroy()


def test_durabilities_meet(engine: LmdbEngine) -> None:
    """One process has one environment: the stronger promise holds for all."""
    system = LmdbEngine(replace(engine.place, durability="system"))
    engine.put(b"k", b"1")
    system.put(b"k", b"2")
    engine.put(b"k", b"3")
    assert system.get(b"k") == b"3"
    system.close()
    engine.close()
    engine.put(b"k", b"4")
    with pytest.raises(EngineError, match="need not survive power loss"), engine.transaction():
        system.put(b"k", b"5")
    assert engine.get(b"k") == b"4"

    def wait_and_put() -> None:
        system.put(b"k", b"6")

    thread = threading.Thread(target=wait_and_put)
    with engine.transaction():
        thread.start()
        time.sleep(0.05)
        engine.put(b"k", b"5")
    thread.join(60)
    assert engine.get(b"k") == b"6"
    engine.destroy()


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
@pytest.mark.parametrize("durability", ["process", "system"])
def test_what_reaches_the_disk(tmp_path: Path, durability: str) -> None:
    calls = traced("lmdb", tmp_path, durability)
    for number, made in enumerate(calls):
        synced = [line for line in made if re.search(r"\bf(data)?sync\(", line)]
        assert bool(synced) == (durability == "system"), (number, made)
    if durability == "system":
        assert_names_are_synced(calls[0], tmp_path)


@pytest.mark.parametrize("map_size", [0, -1, 1.5, "1", True][:4])
def test_options(tmp_path: Path, map_size: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(map_size))):
        at(tmp_path, map_size=map_size)
    for table in ("", "a\0b"):
        with pytest.raises(ConfigurationError, match="name of a table"):
            LmdbEngine(Place(str(tmp_path), "stash", table=table))


def test_siblings_keep_the_options(tiny: LmdbEngine) -> None:
    assert tiny.sibling("versions").map_size == TINY


def test_bulk_takes_its_rows_before_it_locks_others_out(engine: LmdbEngine) -> None:
    def rows() -> Any:
        for number in range(10):
            engine_elsewhere = Child(METHODS[0], at_place, engine.place, b"elsewhere")
            engine_elsewhere.result()
            yield b"key %d" % number, b"row"

    engine.put_many(rows())
    assert engine.count() == 11
    engine.destroy()


def at_place(place: Place, key: bytes) -> None:
    LmdbEngine(place).put(key, b"row")


def test_bulk_larger_than_a_page(engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_pages, "AHEAD_BYTES", 5000)
    rows = {b"key %d" % number: b"row %d" % number * 50 for number in range(500)}
    engine.put_many(rows.items())
    assert dict(engine.items()) == rows

    def fails() -> Any:
        yield from [(key, b"changed") for key in rows]
        raise _StopError

    with pytest.raises(_StopError):
        engine.put_many(fails())
    assert dict(engine.items()) == rows
    monkeypatch.setattr(lmdb_pages, "PAGE_BYTES", 1000)
    assert dict(engine.items()) == rows
    wanted = [*rows, b"missing", *rows]
    assert list(engine.get_many(wanted)) == [(key, rows.get(key)) for key in wanted]
    engine.destroy()


ACTS: list[Callable[[LmdbEngine], object]] = [
    lambda engine: engine.get(b"k"),
    lambda engine: engine.put(b"k", b"row"),
    lambda engine: engine.delete(b"k"),
    lambda engine: engine.compare_and_set(b"k", None, b"row"),
    lambda engine: list(engine.items()),
    lambda engine: engine.count(),
    lambda engine: engine.put_many([(b"k", b"row")]),
]


@pytest.mark.parametrize("act", ACTS)
def test_a_file_where_the_folder_should_be(
    tmp_path: Path, act: Callable[[LmdbEngine], object]
) -> None:
    (tmp_path / "stash").write_text("mine")
    with pytest.raises(EngineError, match=r"Not a directory|File exists"):
        act(at(tmp_path))
    assert (tmp_path / "stash").read_text() == "mine"


def test_rows_beside_lmdbs_list_of_tables(engine: LmdbEngine) -> None:
    """The main table has the names of the others in it, which nobody sees."""
    edges = [b"\0", b"\0k", b"\1", b"\1hashstash", b"\1hashstash;", b"\1k", b"\2", b"versions"]
    engine.put_many((key, b"row") for key in edges)
    tables = {name: engine.sibling(name) for name in ("versions", "leases", "ä b")}
    for name, table in tables.items():
        table.put_many((key, name.encode()) for key in edges)
    assert list(engine.keys()) == edges
    assert [key for key, _ in engine.items()] == edges
    assert engine.count() == len(edges)
    assert tables["leases"].count() == len(edges)
    assert engine.delete_many(edges[:2]) == 2
    engine.clear()
    assert list(engine.keys()) == []
    assert engine.count() == 0
    for name, table in tables.items():
        assert dict(table.items()) == dict.fromkeys(edges, name.encode())
    tables["versions"].clear()
    assert tables["leases"].count() == len(edges)
    engine.put_many((b"key %d" % number, b"row") for number in range(2500))
    assert len(list(engine.items())) == len(set(engine.keys())) == engine.count() == 2500
    with pytest.raises(_StopError), engine.transaction():
        engine.clear()
        assert engine.count() == 0
        raise _StopError
    assert engine.count() == 2500
    engine.destroy()


def test_an_environment_of_the_next_format(tmp_path: Path) -> None:
    """py-lmdb makes such ones if it is told so; the file says which it is."""
    engine = at(tmp_path)
    Path(engine.place.folder).mkdir()
    lmdb.open(engine.location, subdir=False, lib_version=1).close()
    versions = engine.sibling("versions")
    rows = {b"key %d" % number: b"row" * number for number in range(300)}
    engine.put_many(rows.items())
    versions.put(b"v", b"row")
    engine.close()
    versions.close()
    assert dict(engine.items()) == rows
    assert versions.get(b"v") == b"row"
    assert engine.count() == 300
    engine.clear()
    assert versions.count() == 1
    engine.put(b"k", b"row")
    assert Child(METHODS[0], LmdbEngine(engine.place).get, b"k").result() == b"row"
    engine.destroy()


def test_a_store_that_is_read_first_is_as_durable(engine: LmdbEngine) -> None:
    """What a read found open need not be good enough for a write."""
    system = LmdbEngine(replace(engine.place, durability="system"))
    engine.put(b"k", b"1")
    assert system.get(b"k") == b"1"
    store = system._table.shared()
    before = store.synced
    system.put(b"k", b"2")
    assert (before, store.synced) == (False, True)
    engine.put(b"k", b"3")
    assert system.get(b"k") == b"3"
    engine.destroy()
