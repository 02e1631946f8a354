"""Single flight: threads, processes, owners that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import HashStash
from hashstash.functions.flight import Flight, Found
from hashstash.functions.renewing import renewer
from hashstash.keys import stored_key


def leases_of(stash: HashStash) -> list[bytes]:
    return list(stash._engine.sibling("leases").keys())


def test_threads_wait_for_one_computation(stash: HashStash) -> None:
    calls: list[int] = []
    started = threading.Event()

    def slow(x: int) -> int:
        calls.append(x)
        started.set()
        time.sleep(0.2)
        return x

    f = stash.stashed_result(slow, version=1)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(f, [1, 2] * 8)) == [1, 2] * 8
    assert sorted(calls) == [1, 2]
    assert leases_of(f.stash) == []


def test_exceptions_reach_all_threads_that_wait(stash: HashStash) -> None:
    calls: list[int] = []
    arrived: list[int] = []

    def fail(x: int) -> int:
        calls.append(x)
        while len(arrived) < 8:
            time.sleep(0.01)
        time.sleep(0.5)
        raise ValueError(x)

    f = stash.stashed_result(fail, version=1)

    def call(number: int) -> BaseException | None:
        arrived.append(number)
        try:
            f(1)
        except ValueError as exc:
            return exc
        return None

    with ThreadPoolExecutor(8) as pool:
        assert {repr(found) for found in pool.map(call, range(8))} == {"ValueError(1)"}
    assert len(calls) == 1
    assert leases_of(f.stash) == []


def test_without_single_flight_everybody_computes(stash: HashStash) -> None:
    calls: list[int] = []
    both = threading.Barrier(2)

    def f(x: int) -> int:
        calls.append(x)
        both.wait(10)
        return x

    g = stash.stashed_result(f, version=1, single_flight=False)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(g, [1, 1])) == [1, 1]
    assert len(calls) == 2


def test_a_function_that_calls_itself_with_the_same_key_does_not_wait_for_itself(
    stash: HashStash,
) -> None:
    depth: list[int] = []

    def f(x: int) -> int:
        depth.append(x)
        return 1 if len(depth) > 1 else int(g(x)) + 1

    g = stash.stashed_result(f, version=1)
    assert g(1) == 2
    assert len(depth) == 2


def test_an_interrupted_owner_hands_over(stash: HashStash) -> None:
    calls: list[int] = []
    waiting = threading.Event()

    def f(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            assert waiting.wait(10)
            time.sleep(0.1)
            raise KeyboardInterrupt
        return x

    g = stash.stashed_result(f, version=1)
    outcomes: list[Any] = []

    def owner() -> None:
        try:
            g(1)
        except KeyboardInterrupt:
            outcomes.append("interrupted")

    def waiter() -> None:
        while not calls:
            time.sleep(0.001)
        waiting.set()
        outcomes.append(g(1))

    threads = [threading.Thread(target=owner), threading.Thread(target=waiter)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(map(str, outcomes)) == ["1", "interrupted"]
    assert leases_of(g.stash) == []


def note_and_square(folder: str, x: int) -> int:
    with open(os.path.join(folder, f"{x}.{os.getpid()}.{time.monotonic_ns()}"), "x"):
        pass
    time.sleep(0.01)
    return x * x


def work_through(stash: HashStash, folder: str, keys: int, shift: int) -> list[int]:
    f = stash.stashed_result(note_and_square, ignore=["folder"])
    order = [(n + shift) % keys for n in range(keys)]
    found = {n: f(folder, n) for n in order}
    return [found[n] for n in range(keys)]


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_each_key_runs_once_in_all_processes(make: MakeStash, tmp_path: Path, method: str) -> None:
    stash, noted = make(), tmp_path / "noted"
    noted.mkdir()
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    processes, keys = 4, 20
    with ProcessPoolExecutor(processes, get_context(method)) as pool:
        jobs = [pool.submit(work_through, stash, str(noted), keys, n * 3) for n in range(processes)]
        assert [job.result() for job in jobs] == [[n * n for n in range(keys)]] * processes
    assert sorted(int(p.name.split(".")[0]) for p in noted.iterdir()) == list(range(keys))
    assert leases_of(stash.stashed_result(note_and_square, ignore=["folder"]).stash) == []


OWNER = """
import sys, time
from hashstash import HashStash
from hashstash.functions.flight import Flight
stash = HashStash(sys.argv[1], engine=sys.argv[2])
flight = Flight(stash._engine, stash._codec, term=float(sys.argv[3]))
stored = stash.encode_key("k")
def work():
    print("working", flush=True)
    time.sleep(60)
flight.run(stored, lambda: None, work)
"""


def begin_owner(stash: HashStash, term: float) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(stash.to_dict()["root_dir"]),
         stash.to_dict()["engine"], str(term)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "working"
    return owner


def test_the_lease_of_a_killed_owner_is_taken_over_at_once(stash: HashStash) -> None:
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    owner = begin_owner(stash, 300)
    owner.kill()
    owner.communicate()
    stored, _ = stored_key("k")
    flight = Flight(stash._engine, stash._codec)
    assert flight.run(stored, lambda: None, lambda: "taken over") == "taken over"
    assert leases_of(stash) == []


def test_the_lease_of_an_owner_that_hangs_is_taken_over_after_its_term(stash: HashStash) -> None:
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    owner = begin_owner(stash, 0.5)
    try:
        owner.send_signal(signal.SIGSTOP)
        stored, _ = stored_key("k")
        flight = Flight(stash._engine, stash._codec)
        assert flight.run(stored, lambda: None, lambda: "taken over") == "taken over"
    finally:
        owner.send_signal(signal.SIGCONT)
        owner.kill()
        owner.communicate()


def test_a_lease_that_is_renewed_is_not_taken_over(stash: HashStash) -> None:
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    stored, _ = stored_key("k")
    results: list[str] = []

    def look() -> Found[str] | None:
        return Found(results[0]) if results else None

    def work() -> str:
        time.sleep(3.5)
        results.append("first")
        return "first"

    first = Flight(stash._engine, stash._codec, term=1.5)
    thread = threading.Thread(target=lambda: first.run(stored, look, work))
    thread.start()
    while not leases_of(stash):
        time.sleep(0.005)
    # as from another process: this one's own table of flights is passed by
    other = Flight(stash._engine, stash._codec, term=1.5)
    assert other._run_leased(stored, look, lambda: "second") == "first"
    thread.join()
    assert leases_of(stash) == []


def test_an_owners_exception_reaches_waiters_of_other_processes(stash: HashStash) -> None:
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    stored, _ = stored_key("k")
    caught: list[Exception] = []

    def wait_for_it() -> None:
        other = Flight(stash._engine, stash._codec)
        try:
            other._run_leased(stored, lambda: None, lambda: "computed")
        except Exception as exc:
            caught.append(exc)

    waiter = threading.Thread(target=wait_for_it)

    def work() -> str:
        waiter.start()
        time.sleep(0.5)
        raise LookupError("nothing there")

    with pytest.raises(LookupError):
        Flight(stash._engine, stash._codec).run(stored, lambda: None, work)
    waiter.join(20)
    assert [repr(exc) for exc in caught] == ["LookupError('nothing there')"]
    # one who comes later computes anew
    assert Flight(stash._engine, stash._codec).run(stored, lambda: None, lambda: "anew") == "anew"
    renewer.call_now()
    assert leases_of(stash) == []


def test_a_planted_lease_is_no_way_in(stash: HashStash) -> None:
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    stored, _ = stored_key("k")
    leases = stash._engine.sibling("leases")
    for planted in (b"", b"garbage", b"HS" + bytes(60), stash._encode({"id": 1}, stored)):
        leases.put(stored, planted)
        flight = Flight(stash._engine, stash._codec)
        assert flight.run(stored, lambda: None, lambda: 1) == 1
        assert leases_of(stash) == []
