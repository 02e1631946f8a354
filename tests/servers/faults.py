"""What every engine over a network is put through: servers that die, freeze, or are cut off."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hashstash.engines import ETAG, Engine, lost_answers
from hashstash.errors import EngineUnavailableError
from hashstash.testing.processes import in_threads
from hashstash.testing.samples import is_sealed, make_row, number_row, row_number, sealed_row

from .proxy import Proxy

HASTY = 0.1
"""A timeout that a test can wait for."""

EngineAt = Callable[..., Engine]


class Worker:
    """Writes until told to stop, and remembers what was acknowledged and what was not.

    Args:
        engine: where to.
        name: what its keys begin with.
    """

    def __init__(self, engine: Engine, name: bytes) -> None:
        self.engine, self.name = engine, name
        self.stored: list[bytes] = []
        self.swaps = self.unknown = 0

    def work(self, done: threading.Event) -> None:
        """Write rows and count, whatever happens."""
        while not done.is_set():
            key = b"%s %d" % (self.name, len(self.stored))
            try:
                self.engine.put(key, sealed_row(key))
                self.stored.append(key)
            except EngineUnavailableError:
                done.wait(0.02)
            self.add_one()

    def add_one(self) -> None:
        """Add one to the number that all workers share."""
        try:
            row = self.engine.get(b"counter")
        except EngineUnavailableError:
            return
        try:
            etag = None if row is None else row[ETAG]
            new = number_row(row_number(row) + 1)
            self.swaps += self.engine.compare_and_set(b"counter", etag, new)
        except EngineUnavailableError:
            self.unknown += 1


def check(engine: Engine, workers: list[Worker]) -> None:
    """Nothing acknowledged is lost, nothing is wrong, and nothing was counted twice."""
    counted = row_number(engine.get(b"counter"))
    swaps = sum(worker.swaps for worker in workers)
    assert swaps <= counted <= swaps + sum(worker.unknown for worker in workers)
    rows = dict(engine.items())
    del rows[b"counter"]
    assert all(is_sealed(key, row) for key, row in rows.items())
    for worker in workers:
        assert worker.stored
        assert set(worker.stored) <= rows.keys()


def wait_until_all_move_on(workers: list[Worker]) -> None:
    """Return when every worker has stored some more."""
    before = [len(worker.stored) for worker in workers]
    deadline = time.monotonic() + 60
    while any(len(w.stored) < n + 10 for w, n in zip(workers, before, strict=True)):
        assert time.monotonic() < deadline, "the workers do not recover"
        time.sleep(0.01)


def recovered(engine: Engine) -> bytes | None:
    """Return the row under ``k`` as soon as the server answers in time."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return engine.get(b"k")
        except EngineUnavailableError:
            assert time.monotonic() < deadline, "the engine does not recover"


def under_load(workers: list[Worker], trouble: Callable[[], None], times: int) -> None:
    """Make trouble several times while all workers work."""
    done = threading.Event()

    def make_trouble() -> None:
        try:
            for _ in range(times):
                wait_until_all_move_on(workers)
                trouble()
            wait_until_all_move_on(workers)
        finally:
            done.set()

    jobs: list[Callable[[], None]] = [partial(worker.work, done) for worker in workers]
    in_threads(lambda job: job(), [(job,) for job in (*jobs, make_trouble)])


class FaultTests:
    """Tests of an engine over a network; inherit them and write the fixtures ``server``, a
    server that keeps its data when it is killed, and ``engine_at``, a function that returns an
    engine with the given port and options.
    """

    @pytest.fixture
    def proxy(self, server: Any) -> Iterator[Proxy]:
        """Between the engine and the server."""
        with Proxy(server.port) as made:
            yield made

    @pytest.fixture
    def direct(self, engine_at: EngineAt, server: Any) -> Engine:
        """An engine without the proxy."""
        return engine_at(server.port)

    @pytest.fixture
    def engine(self, engine_at: EngineAt, proxy: Proxy) -> Iterator[Engine]:
        """An engine that is connected through the proxy."""
        made = engine_at(proxy.port)
        made.put(b"counter", number_row(0))
        assert made.compare_and_set(b"counter", b"another", None) is False
        made.clear()
        yield made
        made.close()

    # -- servers that die and come back -----------------------------------------------------

    def test_killed_and_restarted_in_the_middle_of_a_load(
        self, server: Any, direct: Engine, engine_at: EngineAt
    ) -> None:
        engines = [direct, engine_at(server.port, timeout=4)]
        workers = [Worker(engines[n % 2], b"worker %d" % n) for n in range(4)]

        def trouble() -> None:
            server.kill()
            server.start()

        under_load(workers, trouble, times=2)
        check(direct, workers)

    def test_a_server_that_is_gone(self, server: Any, direct: Engine, engine_at: EngineAt) -> None:
        engine = engine_at(server.port, timeout=HASTY)
        row = make_row()
        direct.put(b"k", row)
        recovered(engine)
        keys = engine.keys()
        server.kill()
        for operation in self.operations(engine, row, keys):
            with pytest.raises(EngineUnavailableError) as caught:
                operation()
            assert str(server.port) in str(caught.value)
            assert f"timeout={HASTY}" in str(caught.value)
            assert caught.value.__cause__ is not None
        server.start()
        assert recovered(engine) == row

    def test_a_frozen_server(self, server: Any, direct: Engine, engine_at: EngineAt) -> None:
        engine = engine_at(server.port, timeout=HASTY)
        row = make_row()
        direct.put(b"k", row)
        recovered(engine)
        server.send(signal.SIGSTOP)
        try:
            for operation in (
                lambda: engine.get(b"k"),
                lambda: engine.put(b"l", row),
                lambda: engine.compare_and_set(b"k", row[ETAG], make_row(b"new")),
            ):
                with pytest.raises(EngineUnavailableError, match=f"timeout={HASTY}"):
                    operation()
        finally:
            server.send(signal.SIGCONT)
        found = recovered(engine)
        assert found is not None
        assert found[ETAG.stop :] in {b"", b"new"}

    def operations(
        self, engine: Engine, row: bytes, keys: Iterator[bytes]
    ) -> list[Callable[[], Any]]:
        """Return one of each kind."""
        return [
            lambda: engine.get(b"k"),
            lambda: engine.put(b"k", row),
            lambda: engine.delete(b"k"),
            lambda: engine.compare_and_set(b"k", row[ETAG], row),
            lambda: list(engine.get_many([b"k"])),
            lambda: engine.put_many([(b"k", row)]),
            lambda: engine.delete_many([b"k"]),
            lambda: next(keys),
            engine.count,
            engine.clear,
            engine.sweep,
        ]

    # -- connections that break -------------------------------------------------------------

    @pytest.mark.parametrize("after", [0, 400, 50_000])
    def test_reads_survive_a_cut_reply(
        self, direct: Engine, proxy: Proxy, engine: Engine, after: int
    ) -> None:
        rows = {b"k%d" % n: os.urandom(2000) for n in range(60)}
        rows[b"large"] = os.urandom(200_000)
        direct.put_many(rows.items())
        reads: list[Callable[[], Any]] = [
            lambda: engine.get(b"large") == rows[b"large"],
            lambda: dict(engine.get_many(rows)) == rows,
            lambda: dict(engine.items()) == rows,
            lambda: sorted(engine.keys()) == sorted(rows),
            lambda: engine.count() == len(rows),
            lambda: engine.contains(b"k1"),
        ]
        for read in reads:
            proxy.cut_reply(after)
            assert read()
        assert proxy.cuts >= 3

    def test_writes_whose_answer_got_lost(self, proxy: Proxy, engine: Engine) -> None:
        first, second = make_row(b"1"), make_row(b"2")
        self.cut(engine, proxy.cut_reply)
        engine.put(b"k", first)
        assert engine.get(b"k") == first
        self.cut(engine, proxy.cut_reply)
        assert engine.compare_and_set(b"k", first[ETAG], second) is True
        assert engine.get(b"k") == second
        self.cut(engine, proxy.cut_reply)
        assert engine.compare_and_set(b"new", None, first) is True
        assert engine.get(b"new") == first
        assert proxy.cuts == 3

    def test_swaps_that_got_lost_on_the_way(self, proxy: Proxy, engine: Engine) -> None:
        first, second = make_row(b"1"), make_row(b"2")
        engine.put(b"k", first)
        self.cut(engine, lambda: proxy.cut_request(10))
        assert engine.compare_and_set(b"k", first[ETAG], second) is True
        assert engine.get(b"k") == second

    def test_a_put_that_got_lost_on_the_way_is_not_made_later(
        self, proxy: Proxy, engine: Engine
    ) -> None:
        row = make_row()
        for write in (
            lambda: engine.put(b"k", row),
            lambda: engine.compare_and_set(b"k", None, row),
        ):
            self.cut(engine, lambda: proxy.cut_request(10))
            with pytest.raises(EngineUnavailableError, match="not known"):
                write()
            assert engine.get(b"k") is None

    def test_a_removal_whose_answer_got_lost(self, proxy: Proxy, engine: Engine) -> None:
        row = make_row()
        engine.put(b"k", row)
        self.cut(engine, proxy.cut_reply)
        with pytest.raises(EngineUnavailableError, match="not known"):
            engine.compare_and_set(b"k", row[ETAG], None)
        assert engine.get(b"k") is None

    def test_overtaken_writes_are_not_made_again(
        self, proxy: Proxy, engine: Engine, direct: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is lost, and another client writes before anything is found out."""
        first, newer = make_row(b"1"), make_row(b"newer")
        find_out = lost_answers._found

        def too_late(*given: Any) -> bytes | None:
            direct.put(b"k", newer)
            return find_out(*given)

        monkeypatch.setattr(lost_answers, "_found", too_late)
        for write in (
            lambda: engine.put(b"k", make_row(b"2")),
            lambda: engine.compare_and_set(b"k", first[ETAG], make_row(b"2")),
            lambda: engine.compare_and_set(b"k", first[ETAG], None),
        ):
            direct.put(b"k", first)
            self.cut(engine, proxy.cut_reply)
            with pytest.raises(EngineUnavailableError, match="not known"):
                write()
            assert direct.get(b"k") == newer

    def test_bulk_writes_that_are_cut(self, proxy: Proxy, engine: Engine) -> None:
        rows = {b"k%d" % n: sealed_row(b"k%d" % n) for n in range(300)}
        self.cut(engine, lambda: proxy.cut_request(60_000))
        with pytest.raises(EngineUnavailableError, match="not known"):
            engine.put_many(rows.items())
        assert all(is_sealed(key, row) for key, row in engine.items())
        engine.put_many(rows.items())
        assert dict(engine.items()) == rows

    def test_many_threads_and_cut_connections(
        self, proxy: Proxy, engine: Engine, direct: Engine
    ) -> None:
        workers = [Worker(engine, b"worker %d" % n) for n in range(3)]
        ways = [proxy.cut_all, proxy.cut_reply, proxy.cut_request] * 2

        def trouble() -> None:
            ways.pop()()

        under_load(workers, trouble, times=len(ways))
        check(direct, workers)

    @staticmethod
    def cut(engine: Engine, arm: Callable[[], None]) -> None:
        """Have the connection cut that is in use, after all is known that a write asks for."""
        engine.get(b"k")
        arm()
