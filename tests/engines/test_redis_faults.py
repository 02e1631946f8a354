"""The redis engine in trouble: servers that die, freeze, fill up, and connections that break."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import redis
from servers.proxy import Proxy
from servers.redis import RedisServer

from hashstash.engines import ETAG, Place
from hashstash.engines.redis import RedisEngine
from hashstash.errors import EngineError, EngineUnavailableError
from hashstash.testing.processes import in_threads
from hashstash.testing.samples import (
    is_sealed,
    make_row,
    number_row,
    row_number,
    sealed_row,
)

Start = Callable[..., RedisServer]
PLACE = Place("/nowhere", "team/main")


def engine_of(url: str, **options: Any) -> RedisEngine:
    return RedisEngine(PLACE, url=url, **options)


@pytest.fixture
def server(own_redis: Start) -> RedisServer:
    return own_redis()


@pytest.fixture
def raw(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


# -- servers that die and come back ---------------------------------------------------------


class Worker:
    """Writes until told to stop, and remembers what was acknowledged and what was not.

    Args:
        engine: where to.
        name: what its keys begin with.
    """

    def __init__(self, engine: RedisEngine, name: bytes) -> None:
        self.engine, self.name = engine, name
        self.stored: list[bytes] = []
        self.swaps = self.unknown = 0

    def work(self, done: threading.Event) -> None:
        number = 0
        while not done.is_set():
            key = b"%s %d" % (self.name, number)
            try:
                self.engine.put(key, sealed_row(key))
                self.stored.append(key)
                number += 1
            except EngineUnavailableError:
                done.wait(0.02)
            self.add_one(done)

    def add_one(self, done: threading.Event) -> None:
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


def check(engine: RedisEngine, workers: list[Worker]) -> None:
    """Nothing acknowledged is lost, nothing is wrong, and nothing was counted twice."""
    counted = row_number(engine.get(b"counter"))
    swaps = sum(worker.swaps for worker in workers)
    assert swaps <= counted <= swaps + sum(worker.unknown for worker in workers)
    rows = dict(engine.items())
    del rows[b"counter"]
    assert all(is_sealed(key, row) for key, row in rows.items())
    for worker in workers:
        assert set(worker.stored) <= rows.keys()
        assert worker.stored


def test_a_server_killed_and_restarted_in_the_middle_of_a_load(own_redis: Start) -> None:
    server = own_redis(appendonly="yes", appendfsync="always")
    engines = [engine_of(server.url), engine_of(server.url, timeout=4)]
    workers = [Worker(engines[n % 2], b"worker %d" % n) for n in range(4)]
    done = threading.Event()

    def trouble() -> None:
        try:
            for _ in range(3):
                stored = [len(worker.stored) for worker in workers]
                wait_until_all_move_on(workers, stored)
                server.kill()
                server.start()
            wait_until_all_move_on(workers, [len(worker.stored) for worker in workers])
        finally:
            done.set()

    jobs: list[Callable[[], None]] = [partial(worker.work, done) for worker in workers]
    in_threads(lambda job: job(), [(job,) for job in (*jobs, trouble)])
    check(engines[0], workers)


def wait_until_all_move_on(workers: list[Worker], stored: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(len(w.stored) < n + 20 for w, n in zip(workers, stored, strict=True)):
        assert time.monotonic() < deadline, "the workers do not recover"
        time.sleep(0.01)


def test_a_restart_between_two_operations_goes_unnoticed(own_redis: Start) -> None:
    server = own_redis(appendonly="yes", appendfsync="always")
    engine = engine_of(server.url)
    row = make_row(b"1")
    steps: list[Callable[[], Any]] = [
        lambda: engine.put(b"k", row),
        lambda: engine.get(b"k") == row,
        lambda: engine.compare_and_set(b"k", row[ETAG], row),
        lambda: engine.put_many([(b"l", row), (b"m", row)]),
        lambda: list(engine.get_many([b"k", b"l"])) == [(b"k", row), (b"l", row)],
        lambda: engine.count() == 3,
        lambda: engine.delete(b"m"),
        lambda: engine.delete_many([b"l"]) == 1,
        lambda: engine.compare_and_set(b"n", None, row),
    ]
    for step in steps:
        assert step() is not False
        server.kill()
        server.start()
    assert dict(engine.items()) == {b"k": row, b"n": row}


def test_a_server_that_is_gone(server: RedisServer) -> None:
    engine = engine_of(server.url)
    engine.put(b"k", b"row")
    keys = engine.keys()
    server.kill()
    row = make_row()
    for operation in (
        lambda: engine.get(b"k"),
        lambda: engine.contains(b"k"),
        lambda: engine.put(b"k", row),
        lambda: engine.delete(b"k"),
        lambda: engine.compare_and_set(b"k", row[ETAG], row),
        lambda: engine.compare_and_set(b"k", None, row),
        lambda: list(engine.get_many([b"k"])),
        lambda: engine.put_many([(b"k", row)]),
        lambda: engine.delete_many([b"k"]),
        lambda: next(keys),
        engine.count,
        engine.clear,
        engine.size_bytes,
        engine.destroy,
        engine_of(server.url, timeout=3).count,
    ):
        with pytest.raises(EngineUnavailableError) as caught:
            operation()
        assert server.url in str(caught.value)
        assert isinstance(caught.value.__cause__, redis.ConnectionError)


def test_a_frozen_server(server: RedisServer, raw: redis.Redis) -> None:
    engine = engine_of(server.url, timeout=0.3)
    row = make_row()
    engine.put(b"k", row)
    server.send(signal.SIGSTOP)
    try:
        for operation in (
            lambda: engine.get(b"k"),
            lambda: engine.put(b"l", row),
            lambda: engine.compare_and_set(b"k", row[ETAG], make_row(b"new")),
            lambda: engine.put_many([(b"m", row)]),
            engine.count,
            lambda: engine_of(server.url, timeout=0.2).get(b"k"),
        ):
            with pytest.raises(EngineUnavailableError) as caught:
                operation()
            assert isinstance(caught.value.__cause__, redis.TimeoutError)
            assert "timeout=0." in str(caught.value)
    finally:
        server.send(signal.SIGCONT)
    raw.ping()  # what was sent before has been executed when this is answered
    found = engine.get(b"k")
    assert found is not None
    assert found[ETAG.stop :] in {b"", b"new"}
    engine.put(b"k", row)
    assert engine.get(b"k") == row


def test_an_interrupted_read_does_not_answer_the_next(server: RedisServer) -> None:
    engine = engine_of(server.url)
    engine.put_many([(b"one", b"1"), (b"two", b"2")])
    assert engine.get(b"one") == b"1"

    def interrupt(*_: object) -> None:
        server.send(signal.SIGCONT)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        server.send(signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            engine.get(b"one")
        assert engine.get(b"two") == b"2"
        server.send(signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            list(engine.get_many([b"one", b"two"]))
        assert list(engine.get_many([b"two", b"one"])) == [(b"two", b"2"), (b"one", b"1")]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- connections that break -----------------------------------------------------------------


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def engine(proxy: Proxy) -> Iterator[RedisEngine]:
    made = engine_of(f"redis://127.0.0.1:{proxy.port}/0")
    assert made.get(b"connected") is None
    yield made
    made.close()


@pytest.mark.parametrize("after", [0, 1, 3, 100, 50_000])
def test_reads_survive_a_cut_reply(
    server: RedisServer, proxy: Proxy, engine: RedisEngine, after: int
) -> None:
    rows = {b"k%d" % n: os.urandom(2000) for n in range(200)}
    rows[b"large"] = os.urandom(200_000)
    engine_of(server.url).put_many(rows.items())
    reads: list[Callable[[], Any]] = [
        lambda: engine.get(b"large") == rows[b"large"],
        lambda: dict(engine.get_many(rows)) == rows,
        lambda: dict(engine.items()) == rows,
        lambda: sorted(engine.keys()) == sorted(rows),
    ]
    if after <= 3:
        reads.append(lambda: engine.count() == len(rows))
        reads.append(lambda: engine.contains(b"k1"))
    for number, read in enumerate(reads, 1):
        proxy.cut_reply(after)
        assert read()
        if after <= 100:
            assert proxy.cuts == number


@pytest.mark.parametrize("closed_by", ["server", "firewall"])
def test_idle_connections_that_are_closed_go_unnoticed(
    server: RedisServer, proxy: Proxy, raw: redis.Redis, closed_by: str
) -> None:
    row = make_row()
    port = server.port if closed_by == "server" else proxy.port
    engine = engine_of(f"redis://127.0.0.1:{port}/0")
    steps: list[Callable[[], Any]] = [
        lambda: engine.put(b"k", row),
        lambda: engine.get(b"k") == row,
        lambda: engine.compare_and_set(b"k", row[ETAG], row),
        lambda: engine.delete(b"k"),
        lambda: engine.put_many([(b"k%d" % n, row) for n in range(50)]),
        lambda: engine.delete_many([b"k1"]) == 1,
        lambda: engine.count() == 49,
    ]
    for step in steps:
        assert step() is not False
        if closed_by == "server":
            assert raw.client_kill_filter(_type="normal", skipme=True) == 1
        else:
            proxy.cut_all()


def test_a_put_whose_answer_got_lost_was_made(proxy: Proxy, engine: RedisEngine) -> None:
    proxy.cut_reply()
    row = make_row(b"1")
    engine.put(b"k", row)
    assert proxy.cuts == 1
    assert engine.get(b"k") == row


def test_a_put_that_got_lost_is_not_made_later(proxy: Proxy, engine: RedisEngine) -> None:
    row = make_row(b"old")
    engine.put(b"k", row)
    proxy.cut_request(10)
    with pytest.raises(EngineUnavailableError, match="not known") as caught:
        engine.put(b"k", make_row(b"new"))
    assert isinstance(caught.value.__cause__, redis.ConnectionError)
    assert engine.get(b"k") == row


class _Overtaken(RedisEngine):
    """Finds that another client was here, whenever an answer got lost."""

    other: RedisEngine
    overtaking: Callable[[RedisEngine], Any]

    def _etag_there(self, key: bytes) -> bytes | None:
        type(self).overtaking(self.other)
        return super()._etag_there(key)


def overtaken(
    server: RedisServer, proxy: Proxy, overtaking: Callable[[RedisEngine], Any]
) -> _Overtaken:
    kind = type("Overtaken", (_Overtaken,), {"overtaking": staticmethod(overtaking)})
    made: _Overtaken = kind(PLACE, url=f"redis://127.0.0.1:{proxy.port}/0")
    made.other = engine_of(server.url)
    assert made.get(b"connected") is None
    return made


def test_a_put_that_may_be_overwritten_is_not_repeated(server: RedisServer, proxy: Proxy) -> None:
    newer = make_row(b"newer")
    engine = overtaken(server, proxy, lambda other: other.put(b"k", newer))
    proxy.cut_reply()
    with pytest.raises(EngineUnavailableError, match="not known"):
        engine.put(b"k", make_row(b"lost"))
    assert engine.get(b"k") == newer


def test_swaps_whose_answer_got_lost_were_made(proxy: Proxy, engine: RedisEngine) -> None:
    first, second = make_row(b"1"), make_row(b"2")
    proxy.cut_reply()
    assert engine.compare_and_set(b"k", None, first) is True
    proxy.cut_reply()
    assert engine.compare_and_set(b"k", first[ETAG], second) is True
    assert engine.get(b"k") == second
    assert proxy.cuts == 2


def test_a_swap_that_got_lost_is_made(proxy: Proxy, engine: RedisEngine) -> None:
    first, second = make_row(b"1"), make_row(b"2")
    engine.put(b"k", first)
    assert engine.compare_and_set(b"other", b"0" * 16, first) is False  # the script is there now
    proxy.cut_request(20)
    assert engine.compare_and_set(b"k", first[ETAG], second) is True
    assert engine.get(b"k") == second
    proxy.cut_request(20)
    assert engine.compare_and_set(b"k", second[ETAG], None) is True
    assert engine.get(b"k") is None
    assert proxy.cuts == 2


def test_a_swap_whose_outcome_nobody_knows(server: RedisServer, proxy: Proxy) -> None:
    first, newer = make_row(b"1"), make_row(b"newer")
    engine = overtaken(server, proxy, lambda other: other.put(b"k", newer))
    for etag, row in ((first[ETAG], make_row(b"2")), (first[ETAG], None)):
        engine.put(b"k", first)
        proxy.cut_reply()
        with pytest.raises(EngineUnavailableError, match="not known"):
            engine.compare_and_set(b"k", etag, row)
        assert engine.get(b"k") == newer


def test_a_removal_whose_answer_got_lost(proxy: Proxy, engine: RedisEngine) -> None:
    row = make_row()
    assert engine.compare_and_set(b"other", row[ETAG], None) is False  # the script is there now
    removals: tuple[Callable[[], Any], ...] = (
        lambda: engine.delete(b"k"),
        lambda: engine.compare_and_set(b"k", row[ETAG], None),
        lambda: engine.delete_many([b"k"]),
    )
    for remove in removals:
        engine.put(b"k", row)
        proxy.cut_reply()
        with pytest.raises(EngineUnavailableError, match="not known"):
            remove()
        assert engine.get(b"k") is None


def test_an_insert_that_got_lost_is_not_made_later(proxy: Proxy, engine: RedisEngine) -> None:
    proxy.cut_request(10)
    with pytest.raises(EngineUnavailableError, match="not known"):
        engine.compare_and_set(b"k", None, make_row())
    assert engine.get(b"k") is None


def test_an_insert_whose_answer_got_lost_and_that_was_removed(
    server: RedisServer, proxy: Proxy
) -> None:
    engine = overtaken(server, proxy, lambda other: other.delete(b"k"))
    proxy.cut_reply()
    with pytest.raises(EngineUnavailableError, match="not known"):
        engine.compare_and_set(b"k", None, make_row())
    assert engine.get(b"k") is None


def test_a_bulk_write_that_is_cut(proxy: Proxy, engine: RedisEngine) -> None:
    rows = {b"k%d" % n: sealed_row(b"k%d" % n) for n in range(3000)}
    cuts: tuple[Callable[[], None], ...] = (
        lambda: proxy.cut_reply(100),
        lambda: proxy.cut_request(100_000),
    )
    for cut in cuts:
        engine.clear()
        cut()
        with pytest.raises(EngineUnavailableError, match="not known"):
            engine.put_many(rows.items())
        assert all(is_sealed(key, row) for key, row in engine.items())
        engine.put_many(rows.items())
        assert dict(engine.items()) == rows


def test_many_threads_and_cut_connections(
    server: RedisServer, proxy: Proxy, engine: RedisEngine
) -> None:
    workers = [Worker(engine, b"worker %d" % n) for n in range(4)]
    done = threading.Event()

    def trouble() -> None:
        try:
            for number in range(12):
                (proxy.cut_all, proxy.cut_reply, proxy.cut_request)[number % 3]()
                wait_until_all_move_on(workers, [len(worker.stored) for worker in workers])
        finally:
            done.set()

    jobs: list[Callable[[], None]] = [partial(worker.work, done) for worker in workers]
    in_threads(lambda job: job(), [(job,) for job in (*jobs, trouble)])
    check(engine_of(server.url), workers)


# -- answers that are no answers ------------------------------------------------------------


def test_a_full_server(own_redis: Start) -> None:
    server = own_redis(maxmemory="4mb", maxmemory_policy="noeviction")
    engine = engine_of(server.url)
    stored: dict[bytes, bytes] = {}
    with pytest.raises(EngineError, match="The server is full") as caught:
        for number in range(10_000):
            key = b"k%d" % number
            row = make_row(os.urandom(3000))
            engine.put(key, row)
            stored[key] = row
    assert not isinstance(caught.value, EngineUnavailableError)
    row = stored[b"k0"]
    for write in (
        lambda: engine.compare_and_set(b"k0", row[ETAG], row),
        lambda: engine.compare_and_set(b"new", None, row),
        lambda: engine.put_many([(b"new", row), (b"newer", row)]),
    ):
        with pytest.raises(EngineError, match="The server is full"):
            write()
    assert dict(engine.items()) == stored
    assert engine.delete_many(list(stored)[:200]) == 200
    engine.put(b"room", row)
    assert engine.count() == len(stored) - 199


def test_swaps_after_the_scripts_are_gone(server: RedisServer, raw: redis.Redis) -> None:
    engine = engine_of(server.url)
    row = make_row(b"1")
    engine.put(b"k", row)
    for _ in range(3):
        raw.script_flush()
        new = make_row(b"2")
        assert engine.compare_and_set(b"k", row[ETAG], new) is True
        assert engine.compare_and_set(b"k", row[ETAG], new) is False
        row = new


def test_a_server_that_is_still_loading(own_redis: Start) -> None:
    server = own_redis(key_load_delay="20000", loading_process_events_interval_bytes="1024")
    engine = engine_of(server.url, timeout=60)
    rows = {b"k%d" % n: make_row(os.urandom(500)) for n in range(100)}
    engine.put_many(rows.items())
    server.ask("SAVE")
    server.kill()
    server.ready = lambda: server.ask("PING").startswith("-LOADING")
    server.start()
    hasty = engine_of(server.url, timeout=0.5)
    with pytest.raises(EngineUnavailableError, match="try again later"):
        hasty.get(b"k1")
    assert engine.get(b"k1") == rows[b"k1"]
    assert dict(engine.items()) == rows


def test_a_server_busy_with_a_script(own_redis: Start) -> None:
    server = own_redis(lua_time_limit="50")
    engine = engine_of(server.url)
    engine.put(b"k", b"row")
    with redis.Redis.from_url(server.url, socket_timeout=60) as other:
        ended: list[Exception] = []

        def run() -> None:
            try:
                other.eval("while true do end", 0)
            except redis.ResponseError as exc:
                ended.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.ask("GET x").startswith("-BUSY"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(EngineError, match="BUSY"):
            engine_of(server.url, timeout=0.1).get(b"k")
        threading.Timer(0.2, server.ask, ["SCRIPT KILL"]).start()
        assert engine.get(b"k") == b"row"
        thread.join(60)
        assert ended


def test_a_replica_takes_no_writes(server: RedisServer, raw: redis.Redis) -> None:
    engine = engine_of(server.url)
    row = make_row()
    engine.put(b"k", row)
    raw.replicaof("127.0.0.1", 1)
    assert engine.get(b"k") == row
    for write in (
        lambda: engine.put(b"k", row),
        lambda: engine.delete(b"k"),
        lambda: engine.compare_and_set(b"k", row[ETAG], row),
        lambda: engine.put_many([(b"k", row)]),
    ):
        with pytest.raises(EngineError, match="This server is a replica"):
            write()
    raw.replicaof("NO", "ONE")
    engine.put(b"l", row)
    assert engine.count() == 2


def test_foreign_types_under_our_names(server: RedisServer, raw: redis.Redis) -> None:
    engine = engine_of(server.url)
    engine.put(b"k", b"row")
    (name,) = raw.keys("hashstash:*")
    raw.set(name, "not a hash")
    for operation in (lambda: engine.get(b"k"), lambda: engine.put(b"k", b"row"), engine.count):
        with pytest.raises(EngineError, match="WRONGTYPE"):
            operation()
    engine.clear()
    assert raw.dbsize() == 0


def test_rows_that_are_too_large(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RedisEngine.max_row_bytes == 512 << 20  # the protocol's bound
    monkeypatch.setattr(RedisEngine, "max_row_bytes", 100)
    engine = engine_of(server.url)
    row, large = make_row(bytes(100 - ETAG.stop)), make_row(bytes(101 - ETAG.stop))
    engine.put(b"k", row)
    for write in (
        lambda: engine.put(b"k", large),
        lambda: engine.compare_and_set(b"k", row[ETAG], large),
        lambda: engine.put_many([(b"k", large)]),
    ):
        with pytest.raises(EngineError, match="a row of 101 bytes"):
            write()
    assert engine.get(b"k") == row


def test_something_that_is_not_redis() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # when the listener is closed
                while True:
                    link = listener.accept()[0]
                    link.recv(1000)
                    link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    link.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(EngineError, match="redis connect"):
            engine_of(f"redis://127.0.0.1:{listener.getsockname()[1]}/0").get(b"k")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
