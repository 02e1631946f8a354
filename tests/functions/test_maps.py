"""Maps: in the background, in processes and threads, with failures and interruptions."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from stashes import MakeStash

from hashstash import ConfigurationError, HashStash, MapItemError, StashMap, stash_mapped
from hashstash.functions.dispatch import WorkerDiedError
from hashstash.functions.runs import MapCancelledError


def animal(name: str, goodnesses: tuple[str, ...] = ("good",)) -> dict[str, str]:
    return {"name": name, "goodness": goodnesses[-1]}


def noted(folder: str, x: int) -> int:
    with open(os.path.join(folder, f"{x}.{os.getpid()}.{time.monotonic_ns()}"), "x"):
        pass
    return x * x


def notes(folder: Path) -> list[int]:
    return sorted(int(path.name.split(".")[0]) for path in folder.iterdir())


def eventually(true: Callable[[], bool], seconds: float = 30) -> bool:
    """Wait for what happens in the background; a busy machine may take its time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def alive_in_session(session: int) -> list[int]:
    """Return the processes of a session that are not waiting to be reaped."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_text()
        except OSError:
            continue
        state, _, _, its_session = stat.rpartition(")")[2].split()[:4]
        if int(its_session) == session and state not in "ZX":
            found.append(int(name))
    return found


@pytest.mark.parametrize("num_proc", [1, 2])
def test_results_items_keys_values(stash: HashStash, num_proc: int) -> None:
    names = ["cat", "dog", "aardvark", "zebra"]
    found = stash.map(animal, names, goodnesses=("good", "bad"), num_proc=num_proc)
    assert isinstance(found, StashMap)
    expected = [{"name": name, "goodness": "bad"} for name in names]
    assert found.results == expected
    assert list(found.values()) == expected
    assert list(found.results_iter()) == expected
    assert sorted(map(str, found.results_iter(ordered=False))) == sorted(map(str, expected))
    assert list(found.keys()) == [((n,), {"goodnesses": ("good", "bad")}) for n in names]
    assert list(found.items()) == list(zip(found.keys(), expected, strict=True))
    assert len(found) == 4
    assert found.done
    assert found.wait()
    assert found[1].result == expected[1]
    assert found[-1].args == ("zebra",)
    assert [run.result for run in found[1:][:2]] == expected[1:3]
    assert [run.was_cached for run in found] == [False] * 4
    with pytest.raises(IndexError):
        found[9]


def test_results_are_those_of_run_and_of_serial_maps(make: MakeStash, tmp_path: Path) -> None:
    stash, folder = make(), tmp_path / "notes"
    folder.mkdir()
    f = partial(noted, str(folder))
    assert stash.map(f, range(6), num_proc=2).results == [n * n for n in range(6)]
    assert stash.map(f, range(8), num_proc=1).results == [n * n for n in range(8)]
    assert stash.run(noted, str(folder), 3) == 9
    assert notes(folder) == list(range(8))
    again = stash.map(f, range(8), num_proc=2)
    assert again.wait()
    assert all(run.was_cached for run in again)
    assert len(stash.stashed_result(noted).stash) == 8


@pytest.mark.parametrize("num_proc", [1, 2])
def test_lambdas_closures_and_local_classes(stash: HashStash, num_proc: int) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    k = 10
    assert stash.map(lambda x: x + k, range(3), num_proc=num_proc).results == [10, 11, 12]
    found = stash.map(lambda p: p.x * 2, [Point(1), Point(2)], num_proc=num_proc).results
    assert found == [2, 4]


def test_functions_of_a_script_without_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os
            from hashstash import HashStash
            class Point:
                def __init__(self, x): self.x = x
            def helper(p): return p.x + 1
            def f(p): return helper(p)
            stash = HashStash({str(tmp_path / "stash")!r})
            print(stash.map(f, [Point(1), Point(2)], num_proc=2, progress=False).results)
            print(len(f.stash), stash.run(f, Point(2)), f.stash.get_func(Point(1)))
            found = stash.map(f, [Point(1), Point(2)], num_proc=1, progress=False)
            found.wait()
            print([run.was_cached for run in found])
            """
        )
    )
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["[2, 3]", "2 3 2", "[True, True]"]


def test_it_returns_at_once_and_works_in_the_background(make: MakeStash, tmp_path: Path) -> None:
    stash = make()
    gate = threading.Event()
    found = stash.stashed_result(lambda x: (gate.wait(20), x)[1], version=1)
    mapped = stash.map(found, [1, 2, 3], num_proc=1)
    assert not mapped.done
    assert "StashMapRun(" in repr(mapped)
    assert ">>> ?" in repr(mapped)
    assert mapped.wait(0.05) is False
    gate.set()
    assert mapped.results == [1, 2, 3]


def test_repr(stash: HashStash) -> None:
    found = stash.map(animal, ["mole"], num_proc=1)
    found.wait()
    name = f"{animal.__module__}.animal"
    assert repr(found) == (
        f"StashMap([StashMapRun({name}('mole') >>> {{'name': 'mole', 'goodness': 'good'}})])"
    )
    many = stash.map(animal, [str(n) for n in range(50)], num_proc=1)
    assert "40 more" in repr(many)
    many.wait()


def test_options_for_each_and_common_arguments(stash: HashStash) -> None:
    found = stash.map(
        animal, objects=["cat", "parrot"], options=[{"goodnesses": ("bad",)}, {}],
        goodnesses=("good", "fine"), num_proc=1, preload=True, precompute=True, progress=False,
        desc="Mapping", ordered=True, stash_runs=True, stash_map=True, force=False,
    )  # fmt: skip
    assert [one["goodness"] for one in found.results] == ["bad", "fine"]
    with pytest.raises(ConfigurationError, match="1 for 2"):
        stash.map(animal, ["a", "b"], [{}])
    with pytest.raises(ConfigurationError, match="num_proc"):
        stash.map(animal, ["a"], num_proc=0)
    with pytest.raises(TypeError, match="many"):
        stash.map(animal, "abc")
    with pytest.raises(TypeError, match="partial"):
        stash.map(lambda x, force: x, [1], force=True)


def test_a_tuple_is_one_object_unless_starred(stash: HashStash) -> None:
    assert stash.map(len, [(1, 2), (3,)], num_proc=1).results == [2, 1]
    assert stash.map(sum, [[1, 2]], num_proc=1).results == [3]
    assert stash.map(pow, [(2, 3), (3, 2)], star=True, num_proc=1).results == [8, 9]
    assert stash.map(len, [{1, 2}, {"a": 1}, "abc", ()], num_proc=1).results == [2, 1, 3, 0]
    assert stash.map(len, [], num_proc=1).results == []
    with pytest.raises(TypeError, match="tuple of arguments"):
        _ = stash.map(pow, [5], star=True, num_proc=1).results


def test_arrays_are_objects(stash: HashStash) -> None:
    np = pytest.importorskip("numpy")
    assert stash.map(lambda row: float(row.sum()), np.ones((3, 2)), num_proc=1).results == [2.0] * 3


def test_preload_precompute_and_force(stash: HashStash, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    f = partial(noted, str(folder))
    lazy = stash.map(f, [1, 2], precompute=False, num_proc=1)
    time.sleep(0.1)
    assert notes(folder) == []
    assert not lazy.done
    assert lazy.results == [1, 4]
    seen = stash.map(f, [2, 3], precompute=False, num_proc=1)
    assert eventually(lambda: seen[0].done)
    assert not seen[1].done
    assert notes(folder) == [1, 2]
    assert seen.results == [4, 9]
    assert stash.map(f, [1, 2], num_proc=1, preload=False).results == [1, 4]
    assert notes(folder) == [1, 2, 3]
    assert stash.map(f, [1, 2], num_proc=1, force=True).results == [1, 4]
    assert notes(folder) == [1, 1, 2, 2, 3]


def test_the_same_object_twice_is_computed_once(stash: HashStash, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    assert stash.map(partial(noted, str(folder)), [2, 3, 2, 2], num_proc=2).results == [4, 9, 4, 4]
    assert notes(folder) == [2, 3]


def test_what_is_stored_is_a_choice(stash: HashStash, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    f = partial(noted, str(folder))
    for num_proc in (1, 2):
        assert stash.map(f, [1, 2], num_proc=num_proc, stash_runs=False).results == [1, 4]
    assert len(stash.stashed_result(noted).stash) == 0
    assert notes(folder) == [1, 1, 2, 2]
    for _ in range(2):
        whole = stash.map(f, [5, 6], num_proc=1, stash_runs=False, stash_map=True)
        assert whole.results == [25, 36]
        whole.wait()
    assert notes(folder) == [1, 1, 2, 2, 5, 6]
    assert len(stash) == 0


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_failing_item_is_its_own(stash: HashStash, num_proc: int) -> None:
    def fail(x: int) -> int:
        if x % 3 == 2:
            raise ValueError(f"no {x}")
        return x

    found = stash.map(fail, range(7), num_proc=num_proc)
    given = list(found.results_iter(return_exceptions=True))
    assert [g for g in given if not isinstance(g, Exception)] == [0, 1, 3, 4, 6]
    assert [str(g) for g in given if isinstance(g, Exception)] == ["no 2", "no 5"]
    with pytest.raises(
        MapItemError, match=r"Item 2, .*fail\(2\), raised ValueError: no 2"
    ) as caught:
        _ = found.results
    assert isinstance(caught.value.__cause__, ValueError)
    assert "ValueError: no 2" in repr(found[2])
    assert found[3].result == 3


def test_a_call_that_cannot_be_is_an_item_that_fails(stash: HashStash) -> None:
    given = list(stash.map(animal, ["a"], typo=1, num_proc=1).results_iter(return_exceptions=True))
    assert isinstance(given[0], TypeError)


def slow_identity(x: int) -> int:
    time.sleep(0.01)
    return x


@pytest.mark.parametrize("num_proc", [1, 2])
def test_an_iterator_is_taken_lazily(stash: HashStash, num_proc: int) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for n in range(30_000):
            taken.append(n)
            yield n

    found = stash.map(lambda x: -x, source(), num_proc=num_proc, stash_runs=False)
    with pytest.raises(TypeError, match="no length"):
        len(found)
    with pytest.raises(TypeError, match="results_iter"):
        found[0]
    time.sleep(0.5)
    assert len(taken) <= 15_000
    total = 0
    for count, value in enumerate(found.results_iter()):
        assert value == -count
        total += 1
        if count % 5000 == 0:
            assert len(found._runs.first(20_000)) <= 15_000
    assert total == 30_000
    assert found._runs.first(1) == []


def test_a_source_that_raises_is_told(stash: HashStash) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        list(stash.map(lambda x: x, source(), num_proc=1).results_iter())


# -- executors -------------------------------------------------------------------------------


def test_any_executor(stash: HashStash) -> None:
    with ThreadPoolExecutor(3) as threads:
        assert stash.map(animal, ["a", "b"], executor=threads).results[1]["name"] == "b"
        assert threads.submit(int).result() == 0
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        k = 5
        assert stash.map(lambda x: x + k, range(5), executor=processes).results == [5, 6, 7, 8, 9]


def test_loky(make: MakeStash) -> None:
    loky = pytest.importorskip("loky")
    executor = loky.get_reusable_executor(max_workers=2)
    try:
        assert make().map(lambda x: x + 1, range(4), executor=executor).results == [1, 2, 3, 4]
    finally:
        executor.shutdown(wait=True)


# -- trouble ---------------------------------------------------------------------------------


def die_at_two(folder: str, x: int) -> int:
    noted(folder, x)
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def die_once(folder: str, x: int) -> int:
    first = not any(path.startswith("2.") for path in os.listdir(folder))
    noted(folder, x)
    if x == 2 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_a_killed_worker_costs_its_item_alone(make: MakeStash, tmp_path: Path) -> None:
    stash = make()
    folder = tmp_path / "notes"
    folder.mkdir()
    found = stash.map(partial(die_at_two, str(folder)), range(6), num_proc=2)
    given = list(found.results_iter(return_exceptions=True))
    assert [type(g) for g in given] == [int, int, WorkerDiedError, int, int, int]
    assert notes(folder).count(2) == 2
    with pytest.raises(MapItemError, match="Item 2"):
        _ = found.results


def test_a_worker_that_dies_once_is_made_good(make: MakeStash, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    found = make().map(partial(die_once, str(folder)), range(6), num_proc=2)
    assert found.results == list(range(6))


def test_cancel_keeps_what_is_done(make: MakeStash) -> None:
    stash = make()
    gate = threading.Event()
    f = stash.stashed_result(lambda x: (x < 3 or gate.wait(20), x)[1], version=1)
    found = stash.map(f, range(100), num_proc=1)
    assert found[2].result == 2
    found.cancel()
    gate.set()
    with pytest.raises(MapCancelledError, match="kept"):
        _ = found.results
    assert list(f.stash.values())[:3]
    assert stash.map(f, range(5), num_proc=1).results == [0, 1, 2, 3, 4]


@pytest.mark.stress
def test_ctrl_c_stops_promptly_and_keeps_what_was_done(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import time
            from hashstash import HashStash
            def f(x):
                if x > 3: time.sleep(60)
                return x
            stash = HashStash({str(tmp_path / "stash")!r}, engine="sqlite")
            found = stash.map(f, range(10), num_proc=2, progress=False)
            for _, result in zip(range(4), found.results_iter()): print(result, flush=True)
            print("ready", flush=True)
            found.results
            """
        )
    )
    run = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert run.stdout is not None
    lines = [run.stdout.readline().strip() for _ in range(5)]
    assert lines[-1] == "ready"
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert eventually(lambda: alive_in_session(run.pid) == [])
    results = [
        path for path in (tmp_path / "stash").rglob("data.db") if "stashed_result" in str(path)
    ]
    assert len(results) == 1
    kept = sqlite3.connect(results[0])
    assert kept.execute("SELECT count(*) FROM entries").fetchone()[0] >= 4
    kept.close()


def test_an_interrupted_map_goes_on_where_it_was(make: MakeStash, tmp_path: Path) -> None:
    stash, folder = make(), tmp_path / "notes"
    folder.mkdir()
    f = partial(noted, str(folder))
    first = stash.map(f, range(200), num_proc=1)
    _ = first[20].result
    first.cancel()
    while first._driver.thread is not None and first._driver.thread.is_alive():
        time.sleep(0.01)
    assert stash.map(f, range(200), num_proc=1).results == [n * n for n in range(200)]
    assert notes(folder) == list(range(200))


@pytest.mark.stress
def test_a_map_that_is_forgotten_stops(stash: HashStash) -> None:
    import gc

    found = stash.map(slow_identity, range(10_000), num_proc=1)
    _ = found[1].result
    driver = found._driver
    del found
    gc.collect()
    assert driver.thread is not None
    driver.thread.join(10)
    assert not driver.thread.is_alive()


# -- decorators ------------------------------------------------------------------------------


def test_stash_mapped(stash: HashStash, tmp_path: Path) -> None:
    @stash.stash_mapped(num_proc=1)
    def f(name: str, n: int = 1) -> str:
        """Repeat."""
        return name * n

    assert f(["a", "b"], n=2).results == ["aa", "bb"]
    assert f(["a"], [{"n": 3}]).results == ["aaa"]
    assert f.__doc__ == "Repeat."
    assert len(f.stash) == 3  # type: ignore[attr-defined]
    assert "root_dir" not in repr(f(["a"]))

    @stash_mapped(str(tmp_path / "other"), engine="memory", num_proc=1, ttl=60)
    def g(name: str) -> str:
        return name

    assert g(["x"]).results == ["x"]


def test_progress(stash: HashStash, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    stash.map(animal, ["a", "b"], num_proc=1, progress=True, desc="Counting").wait()
    stash.map(animal, ["a", "b"], num_proc=1, progress=False).wait()
    time.sleep(0.05)
    said = capsys.readouterr().err
    assert "Counting" in said
    assert "2/2" in said
    stash.map(animal, ["a", "b"], num_proc=2, progress=True).wait()
    time.sleep(0.05)
    assert "animal across 2 objects [2x]" in capsys.readouterr().err
