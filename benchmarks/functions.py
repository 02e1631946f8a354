"""A hit's cost per engine beside other libraries, a map's cost per item, and its speed-up."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.timing import medians, table
from hashstash import HashStash

ENGINES = ("memory", "pairtree", "sqlite", "lmdb")


def result_of(number: int, name: str = "a name", scale: float = 1.5) -> dict[str, Any]:
    """Return a small result."""
    return {"number": number, "name": name, "values": [scale * n for n in range(5)]}


def burn(number: int) -> int:
    """Keep a core busy for about 50 ms."""
    total = 0
    for n in range(700_000):
        total += n * number
    return total


def peers(folder: str) -> dict[str, Callable[..., Any]]:
    """Return the same function, remembered by other libraries that are installed."""
    found: dict[str, Callable[..., Any]] = {"functools.lru_cache": functools.lru_cache(result_of)}
    try:
        from joblib import Memory

        found["joblib.Memory"] = Memory(f"{folder}/joblib", verbose=0).cache(result_of)
    except ImportError:
        print("joblib is not installed: left out")
    try:
        from cachier import cachier

        found["cachier"] = cachier(cache_dir=f"{folder}/cachier")(result_of)
    except ImportError:
        print("cachier is not installed: left out")
    try:
        from diskcache import Cache

        found["diskcache.memoize"] = Cache(f"{folder}/diskcache").memoize()(result_of)
    except ImportError:
        print("diskcache is not installed: left out")
    return found


def hits(calls: int, rounds: int) -> str:
    """Return the table of what a hit costs."""
    with tempfile.TemporaryDirectory() as folder:
        functions = peers(folder)
        for engine in ENGINES:
            stash = HashStash(f"{folder}/{engine}", engine=engine)
            functions[f"hashstash {engine}"] = stash.stashed_result(result_of)

        def repeated(function: Callable[..., Any]) -> Callable[[], int]:
            def call() -> int:
                for n in range(calls):
                    function(n % 50, scale=2.5)
                return calls

            return call

        costs = medians({name: repeated(f) for name, f in functions.items()}, rounds)
        ordered = sorted(costs.items(), key=lambda item: item[1])
        return table([["a hit", "us"], *([name, f"{cost:.2f}"] for name, cost in ordered)])


def overhead(items: int) -> str:
    """Return the table of what a map costs for each trivial item, workers started."""
    rows = [["map of trivial items", "us per item"]]
    for engine in ENGINES:
        for num_proc in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                stash = HashStash(folder, engine=engine)
                found = stash.map(result_of, iter(range(items)), num_proc=num_proc, progress=False)
                results = found.results_iter()
                next(results)  # from here on the workers run
                start = perf_counter()
                done = sum(1 for _ in results)
                cost = (perf_counter() - start) / done * 1e6
                rows.append([f"{engine}, {num_proc} processes", f"{cost:.1f}"])
    return table(rows)


def speed_up(items: int) -> str:
    """Return how much faster two processes are than one, for a function that only computes."""
    times = {}
    for num_proc in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            stash = HashStash(folder, engine="sqlite")
            start = perf_counter()
            _ = stash.map(burn, range(items), num_proc=num_proc, progress=False).results
            times[num_proc] = perf_counter() - start
    gain = times[1] / times[2]
    return f"{items} calls: 1 process {times[1]:.1f} s, 2 processes {times[2]:.1f} s ({gain:.2f}x)"


def main(argv: list[str]) -> int:
    """Print medians in microseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks functions", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=5000)
    options = parser.parse_args(argv)
    print(hits(options.calls, options.rounds), end="\n\n")
    print(overhead(options.items), end="\n\n")
    print(speed_up(80))
    return 0
