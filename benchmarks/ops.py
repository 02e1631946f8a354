"""Single operations, per engine and serializer, beside the floor and peers of the same run."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from time import perf_counter

from benchmarks.contenders import Contender, Ours, floor, peers
from benchmarks.server_floors import SERVER_FLOORS, VARIABLES, serving
from benchmarks.timing import medians, table
from hashstash import HashStash

DEFAULTS = {"redis": (1000, 200, 31, 100_000), "mongo": (300, 50, 25, 5000),
            "s3": (60, 12, 21, 1000)}  # fmt: skip
"""Entries, calls of a round, rounds, and items of one update, on servers: short rounds, and many
of them, as a server that does something else meanwhile must not decide."""

USUAL = (1000, 2000, 7, 100_000)


def value_of_1_kb(number: int) -> dict[str, object]:
    """Return a dict of 24 small fields, about 1 KB."""
    text = {f"name_{i}": f"some text number {number + i} of it" for i in range(12)}
    return {**text, **{f"number_{i}": number * 1.5 + i for i in range(8)}, "tags": ["a", "b"],
            "flag": True, "count": number, "nothing": None}  # fmt: skip


def actions(one: Contender, entries: int, calls: int) -> dict[str, Callable[[], int]]:
    """Return what is timed on a contender that holds ``entries`` items."""
    names = [f"key-{n}" for n in range(entries)]
    values = [value_of_1_kb(n) for n in range(100)]

    def put() -> int:
        for name, value in zip(islice(cycle(names), calls), cycle(values), strict=False):
            one.set(name, value)
        return calls

    def get() -> int:
        for name in islice(cycle(names), calls):
            one.get(name)
        return calls

    def miss() -> int:
        for n in range(calls):
            one.get(f"absent-{n}")
        return calls

    def contains() -> int:
        for name in islice(cycle(names), calls):
            one.contains(name)
        return calls

    def put_and_delete() -> int:
        for n in range(calls // 2):
            one.set(f"gone-{n}", 1)
        for n in range(calls // 2):
            one.delete(f"gone-{n}")
        return calls

    def bulk() -> int:
        one.update(zip(names, cycle(values), strict=False))
        return entries

    return {"set": put, "get": get, "contains": contains, "miss": miss,
            "set+delete": put_and_delete, "iterate": one.read_all, "bulk": bulk}  # fmt: skip


def measure(engine: str, serializers: list[str], entries: int, calls: int, rounds: int) -> str:
    """Return the table of one engine."""
    with tempfile.TemporaryDirectory(prefix="hashstash-bench-") as folder:
        contenders: dict[str, Contender] = {}
        if engine in VARIABLES:
            contenders["floor"] = SERVER_FLOORS[engine](f"{os.path.basename(folder)}-floor")
        elif (raw := floor(engine, f"{folder}/floor")) is not None:
            contenders["floor"] = raw
        for serializer in serializers:
            stash = HashStash(
                folder, serializer, engine, serializer=serializer, safe=serializer == "hashstash"
                if engine in VARIABLES else None,
            )  # fmt: skip
            contenders[serializer] = Ours(stash)
        return report(engine, contenders, entries, calls, rounds)


def report(
    title: str, contenders: dict[str, Contender], entries: int, calls: int, rounds: int
) -> str:
    """Time all contenders in turn; return medians and ratios to the floor."""
    todo: dict[str, dict[str, Callable[[], int]]] = {}
    for name, one in contenders.items():
        one.update((f"key-{n}", value_of_1_kb(n)) for n in range(entries))
        for operation, action in actions(one, entries, calls).items():
            todo.setdefault(operation, {})[name] = action
    rows = [[title, *(f"{operation}" for operation in todo)]]
    found = {operation: medians(who, rounds) for operation, who in todo.items()}
    for name, one in contenders.items():
        cells = []
        for operation in todo:
            cost = found[operation][name]
            base = found[operation].get("floor")
            cells.append(
                f"{cost:.2f}" + (f" ({cost / base:.2f}x)" if base and name != "floor" else "")
            )
        rows.append([name, *cells])
        one.close()
    return table(rows)


def opening(engine: str, calls: int) -> float:
    """Return microseconds to construct a stash whose store exists."""
    with tempfile.TemporaryDirectory(prefix="hashstash-bench-") as folder:
        first = HashStash(folder, engine=engine)
        first["a"] = 1

        def construct() -> int:
            for _ in range(calls):
                HashStash(folder, engine=engine)
            return calls

        cost = medians({"open": construct}, 5)["open"]
        first._engine.destroy()
        return cost


def small_items_per_second(engine: str, entries: int) -> float:
    """Return how many small items ``update`` stores in a second."""
    with (
        tempfile.TemporaryDirectory(prefix="hashstash-bench-") as folder,
        HashStash(folder, engine=engine) as stash,
    ):
        items = {f"key-{n}": n for n in range(entries)}
        start = perf_counter()
        stash.update(items)
        elapsed = perf_counter() - start
        stash._engine.destroy()
        return entries / elapsed


def main(argv: list[str]) -> int:
    """Print medians in microseconds per operation; ratios are to the floor of the same run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ops", description=__doc__)
    parser.add_argument("--engines", default="memory,pairtree,sqlite,lmdb,shm")
    parser.add_argument("--serializers", default="hashstash,pickle")
    parser.add_argument("--entries", type=int, help="items in each store (1000; fewer on servers)")
    parser.add_argument("--calls", type=int, help="calls of one round (2000; fewer on servers)")
    parser.add_argument("--rounds", type=int, help="rounds, of which the median is told (7)")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args(argv)
    print("median us per operation, 1 KB dict values; durability: process; (ratio to the floor)\n")
    for engine in options.engines.split(","):
        entries, calls, rounds, many = DEFAULTS.get(engine, USUAL)
        entries, calls = options.entries or entries, options.calls or calls
        with serving(engine):
            names = options.serializers.split(",")
            print(measure(engine, names, entries, calls, options.rounds or rounds))
            print(f"construct: {opening(engine, 200):.1f} us", end="")
            speed = small_items_per_second(engine, many)
            print(f"; update() of {many:,} small items: {speed:,.0f} items/s\n", flush=True)
    if not options.no_peers and not VARIABLES.keys() >= set(options.engines.split(",")):
        entries, calls, rounds, _ = USUAL
        entries, calls = options.entries or entries, options.calls or calls
        with tempfile.TemporaryDirectory() as folder:
            print(report("peers", peers(folder), entries, calls, options.rounds or rounds))
    return 0
