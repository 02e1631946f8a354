"""Single operations, per engine and serializer, beside the floor and peers of the same run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from time import perf_counter

from benchmarks.contenders import Contender, Ours, floor, peers
from benchmarks.timing import medians, table
from hashstash import HashStash


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
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Contender] = {}
        if (raw := floor(engine, f"{folder}/floor")) is not None:
            contenders["floor"] = raw
        for serializer in serializers:
            stash = HashStash(f"{folder}/ours-{serializer}", engine=engine, serializer=serializer)
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
    with tempfile.TemporaryDirectory() as folder:
        HashStash(folder, engine=engine)["a"] = 1

        def construct() -> int:
            for _ in range(calls):
                HashStash(folder, engine=engine)
            return calls

        return medians({"open": construct}, 5)["open"]


def small_items_per_second(engine: str, entries: int = 100_000) -> float:
    """Return how many small items ``update`` stores in a second."""
    with tempfile.TemporaryDirectory() as folder, HashStash(folder, engine=engine) as stash:
        items = {f"key-{n}": n for n in range(entries)}
        start = perf_counter()
        stash.update(items)
        return entries / (perf_counter() - start)


def main(argv: list[str]) -> int:
    """Print medians in microseconds per operation; ratios are to the floor of the same run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ops", description=__doc__)
    parser.add_argument("--engines", default="memory,pairtree,sqlite,lmdb,shm")
    parser.add_argument("--serializers", default="hashstash,pickle")
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args(argv)
    print("median us per operation, 1 KB dict values; durability: process; (ratio to the floor)\n")
    for engine in options.engines.split(","):
        print(
            measure(
                engine,
                options.serializers.split(","),
                options.entries,
                options.calls,
                options.rounds,
            )
        )
        print(f"construct: {opening(engine, 200):.1f} us", end="")
        print(f"; update() of 100,000 small items: {small_items_per_second(engine):,.0f} items/s\n")
    if not options.no_peers:
        with tempfile.TemporaryDirectory() as folder:
            print(report("peers", peers(folder), options.entries, options.calls, options.rounds))
    return 0
