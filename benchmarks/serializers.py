"""Write and read of typical values: hashstash with and without orjson, pickle, jsonpickle."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.timing import medians, table
from hashstash.errors import HashStashError
from hashstash.serializers import SERIALIZERS, Serializer
from hashstash.serializers.hashstash_format import text

BARE = "bare pickle"


@dataclasses.dataclass
class Reading:
    """A small object of a user's class."""

    sensor: str
    value: float
    tags: list[str]


def small_dict() -> dict[str, Any]:
    """Return a dict of 24 fields, about 1 KB as JSON."""
    kinds: list[Callable[[int], Any]] = [
        lambda i: f"text of field number {i}, some forty letters",
        lambda i: i * 37,
        lambda i: i * 1.25,
        lambda i: bool(i % 2),
        lambda i: f"short {i}",
        lambda i: f"text of field number {i}, once more some sixty letters in all",
    ]
    return {f"field_{i:02d}": kinds[i % 6](i) for i in range(24)}


def values(quick: bool) -> dict[str, Any]:
    """Return the values by name; those of packages that are not installed are left out."""
    many, rng = 1000 if quick else 100_000, random.Random(7)
    small = small_dict()
    found: dict[str, Any] = {
        "dict of 24 fields": small,
        "the same and a date": {**small, "when": dt.datetime(2024, 1, 1), "at": (1, 2)},
        "1,000 small dicts": [
            {"id": i, "name": f"name {i}", "score": i / 8, "tags": ["a", "b"]} for i in range(1000)
        ],
        "1,000 tuples": [(i, f"name {i}", i / 8) for i in range(1000)],
        "1,000 objects": [Reading(f"s{i}", i / 8, ["a"]) for i in range(1000)],
        f"{many:,} floats": [rng.random() for _ in range(many)],
        f"{many:,} integers": [rng.randrange(1_000_000) for _ in range(many)],
        f"{many:,} texts": [f"text {i}" for i in range(many)],
    }
    try:
        import numpy as np
    except ImportError:
        return found
    found["array of 10 MB"] = np.random.default_rng(7).random(many * 12 + 50_000)
    try:
        import pandas as pd
    except ImportError:
        return found
    numbers = np.arange(many)
    found[f"frame of {many:,} rows"] = pd.DataFrame(
        {
            "id": numbers,
            "x": numbers / 7,
            "name": [f"name {i % 1000}" for i in range(many)],
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(numbers, unit="s"),
            "flag": numbers % 2 == 0,
        }
    )
    return found


@contextmanager
def without_orjson() -> Iterator[None]:
    """Let the hashstash serializer use the standard library's JSON meanwhile."""
    before = text.HAS_ORJSON, text.dump, text.load
    text.HAS_ORJSON, text.dump, text.load = False, text.dump_with_json, text.load_with_json
    try:
        yield
    finally:
        text.HAS_ORJSON, text.dump, text.load = before


class Contender:
    """A serializer, or bare pickle as the floor.

    Args:
        name: as shown.
        serializer: what does the work; None for bare pickle.
        stdlib: whether orjson is left aside.
    """

    def __init__(self, name: str, serializer: Serializer | None, *, stdlib: bool = False) -> None:
        self.name, self.serializer, self.stdlib = name, serializer, stdlib

    def write(self, value: Any) -> bytes:
        """Return the value as bytes."""
        return pickle.dumps(value, 5) if self.serializer is None else self.serializer.dumps(value)

    def read(self, data: bytes) -> Any:
        """Return the value of bytes."""
        if self.serializer is None:
            return pickle.loads(data)
        return self.serializer.loads(data, trusted=True)

    def actions(self, value: Any) -> tuple[Callable[[], int], Callable[[], int], int]:
        """Return a writer and a reader that each take some 20 ms, and the size in bytes."""
        with self._settings():
            data = self.write(value)
        count = max(1, min(2000, 2_000_000 // (len(data) + 1)))

        def write() -> int:
            with self._settings():
                for _ in range(count):
                    self.write(value)
            return count

        def read() -> int:
            with self._settings():
                for _ in range(count):
                    self.read(data)
            return count

        return write, read, len(data)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        if self.stdlib:
            with without_orjson():
                yield
        else:
            yield


def contenders() -> list[Contender]:
    """Return what can be compared here."""
    found = [Contender(BARE, None)]
    hashstash = SERIALIZERS.load("hashstash")()
    if text.HAS_ORJSON:
        found.append(Contender("hashstash", hashstash))
    found.append(Contender("hashstash, no orjson", hashstash, stdlib=True))
    for name in ("pickle", "jsonpickle"):
        try:
            found.append(Contender(name, SERIALIZERS.load(name)()))
        except ImportError:
            continue
    return found


def compare(value: Any, rounds: int) -> list[list[str]]:
    """Return a row for each contender: name, write, read, size."""
    found = contenders()
    actions: dict[str, Callable[[], int]] = {}
    sizes: dict[str, int] = {}
    for contender in found:
        try:
            write, read, sizes[contender.name] = contender.actions(value)
        except HashStashError:
            continue  # jsonpickle cannot store everything
        actions[f"{contender.name} write"], actions[f"{contender.name} read"] = write, read
    times = medians(actions, rounds)
    return [
        [
            name,
            _beside(times, name, "write"),
            _beside(times, name, "read"),
            f"{size:,}",
        ]
        for name, size in sizes.items()
    ]


def _beside(times: dict[str, float], name: str, what: str) -> str:
    own, floor = times[f"{name} {what}"], times[f"{BARE} {what}"]
    return f"{own:,.2f} ({own / floor:.1f}x)"


def main(argv: list[str]) -> int:
    """Print a table of microseconds per value, beside bare pickle."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks serializers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small values, few rounds")
    parser.add_argument("--only", default="", help="values whose name has this in it")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    rounds = 2 if options.quick else options.rounds
    rows = [["value and serializer", "write us", "read us", "bytes"]]
    for name, value in values(options.quick).items():
        if options.only in name:
            rows.append([name, "", "", ""])
            rows.extend([f"  {row[0]}", *row[1:]] for row in compare(value, rounds))
    print(table(rows))
    return 0
