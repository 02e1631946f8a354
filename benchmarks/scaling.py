"""Cost per operation as a stash grows, and the memory that iterating takes."""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
from collections.abc import Callable

from benchmarks.timing import medians, table
from hashstash import HashStash

BATCH = 10_000


def grow(stash: HashStash, start: int, stop: int) -> None:
    """Store items up to the number ``stop``."""
    for first in range(start, stop, BATCH):
        stash.update((f"key-{n}", {"n": n}) for n in range(first, min(first + BATCH, stop)))


def actions(stash: HashStash, entries: int, calls: int) -> dict[str, Callable[[], int]]:
    """Return what is timed at one size."""
    chosen = random.Random(0)

    def get() -> int:
        for _ in range(calls):
            assert stash[f"key-{chosen.randrange(entries)}"] is not None
        return calls

    def overwrite() -> int:
        for _ in range(calls):
            stash[f"key-{chosen.randrange(entries)}"] = {"n": 0}
        return calls

    def miss() -> int:
        for n in range(calls):
            stash.get(f"absent-{n}")
        return calls

    return {"get": get, "set": overwrite, "miss": miss}


def iterate(stash: HashStash) -> tuple[float, int]:
    """Return microseconds per item of reading all, and by how many KB the process grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def read() -> int:
        return sum(1 for _ in stash.items())

    cost = medians({"iterate": read}, 1)["iterate"]
    return cost, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main(argv: list[str]) -> int:
    """Print medians in microseconds per operation, and ratios to the smallest size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__)
    parser.add_argument("--engines", default="pairtree,sqlite,lmdb")
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--dir", default=None, help="where the stashes are made")
    options = parser.parse_args(argv)
    sizes = [int(size) for size in options.sizes.split(",")]
    for engine in options.engines.split(","):
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            stash = HashStash(folder, engine=engine)
            rows = [[engine, "get", "set", "miss", "iterate", "grew by KB"]]
            first: dict[str, float] = {}
            done = 0
            for size in sizes:
                grow(stash, done, size)
                done = size
                found = medians(actions(stash, size, options.calls), 5)
                first = first or found
                cells = [f"{cost:.2f} ({cost / first[name]:.2f}x)" for name, cost in found.items()]
                cost, grew = iterate(stash)
                rows.append([f"{size:,}", *cells, f"{cost:.2f}", f"{grew:,}"])
            print(table(rows), end="\n\n")
            stash.close()
    return 0
