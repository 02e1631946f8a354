"""Several processes at one store: forked, spawned, crowding, dying."""

from __future__ import annotations

import signal
import sys
import threading
from typing import ClassVar

import pytest

from hashstash.engines import ETAG, Engine

from .processes import METHODS, Child, in_processes, in_threads
from .samples import is_sealed, make_row, row_number, sealed_row
from .work import (
    FLEETING,
    STEADY,
    EngineSpec,
    add_by_swaps,
    crowd,
    delete_among_swaps,
    insert_all,
    put_all,
    put_among_swaps,
    put_and_die,
    read_all,
    swap_until_stopped,
    use_inherited,
)

FAST = METHODS[0]
"""The method that starts a process soonest."""
needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")


class CrowdTests:
    """Rows are shared by processes, unless the engine is private."""

    rounds: ClassVar[int]

    @pytest.mark.parametrize("method", METHODS)
    def test_another_process_reads(self, engine: Engine, shared: EngineSpec, method: str) -> None:
        rows = {b"k\0\xff%d" % n: make_row(b"payload") for n in range(50)}
        engine.put_many(rows.items())
        engine.sibling("versions").put(b"v", b"row")
        tables = [(shared, engine.place.table), (shared, "versions")]
        assert in_processes(method, read_all, tables) == [rows, {b"v": b"row"}]

    @pytest.mark.parametrize("method", METHODS)
    def test_processes_count_exactly(self, engine: Engine, shared: EngineSpec, method: str) -> None:
        in_processes(method, add_by_swaps, [(shared, b"k", 25)] * 4)
        assert row_number(engine.get(b"k")) == 100

    def test_one_process_inserts(self, engine: Engine, shared: EngineSpec) -> None:
        keys = [b"k%d" % n for n in range(50)]
        marks = [b"%d" % n for n in range(4)]
        won = in_processes(FAST, insert_all, [(shared, keys, mark) for mark in marks])
        assert sorted(key for mine in won for key in mine) == sorted(keys)
        for mark, mine in zip(marks, won, strict=True):
            for _key, row in engine.get_many(mine):
                assert row is not None
                assert row[ETAG.stop :] == mark

    def test_a_put_is_never_lost_to_a_swap_elsewhere(
        self, engine: Engine, shared: EngineSpec
    ) -> None:
        child = Child(FAST, swap_until_stopped, shared, 10)
        put_among_swaps(engine, self.rounds)
        child.result()

    def test_a_delete_is_never_undone_by_a_swap_elsewhere(
        self, engine: Engine, shared: EngineSpec
    ) -> None:
        child = Child(FAST, swap_until_stopped, shared, 10)
        delete_among_swaps(engine, self.rounds)
        child.result()

    @pytest.mark.parametrize("how", ["exit", "kill"])
    def test_a_row_outlives_its_writer(self, engine: Engine, shared: EngineSpec, how: str) -> None:
        if how == "kill" and sys.platform == "win32":
            pytest.skip("no SIGKILL")
        row = sealed_row(b"k")
        code = Child(FAST, put_and_die, shared, b"k", row, how).wait()
        assert code == (7 if how == "exit" else -signal.SIGKILL)
        assert engine.get(b"k") == row
        engine.put(b"k", row)
        assert engine.compare_and_set(b"k", row[ETAG], None) is True

    @needs_fork
    @pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
    def test_forks(self, engine: Engine, used: bool) -> None:
        row = sealed_row(b"k")
        if used:
            engine.put(b"k", row)
            assert engine.get(b"k") == row
        seen, count = Child("fork", use_inherited, engine, b"k").result()
        assert seen == (row if used else None)
        assert count == 2 + used
        engine.put(b"from the parent", sealed_row(b"from the parent"))
        expected = {b"from the parent"} | ({b"k"} if used else set())
        if not engine.private:
            expected |= {b"from the child", b"swapped by the child", b"after closing"}
        found = dict(engine.items())
        assert set(found) == expected
        assert all(is_sealed(key, row) for key, row in found.items())

    @needs_fork
    def test_forks_while_threads_work(self, engine: Engine) -> None:
        rows = {b"k%d" % n: sealed_row(b"k%d" % n) for n in range(10)}
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                with engine.transaction():
                    put_all(engine, rows)

        def fork() -> None:
            try:
                for _ in range(5):
                    Child("fork", use_inherited, engine, b"k1").result()
            finally:
                done.set()

        in_threads(lambda work: work(), [(write,), (write,), (fork,)])
        assert {key: engine.get(key) for key in rows} == rows

    def test_crowd(self, engine: Engine, shared: EngineSpec) -> None:
        engine.put_many((key, sealed_row(key)) for key in STEADY)
        in_processes(FAST, crowd, [(shared, seed, 60) for seed in range(3)])
        assert set(engine.keys()) <= {*STEADY, *FLEETING, b"counter"}
        assert set(engine.keys()) >= set(STEADY)

    def test_crowd_of_threads(self, engine: Engine, spec: EngineSpec) -> None:
        engine.put_many((key, sealed_row(key)) for key in STEADY)
        in_threads(crowd, [(spec, seed, 60) for seed in range(3)])
        assert set(engine.keys()) >= set(STEADY)
