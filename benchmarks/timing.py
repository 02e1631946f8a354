"""Honest timing: medians over interleaved rounds, each the time of many calls."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter


def medians(actions: Mapping[str, Callable[[], int]], rounds: int = 7) -> dict[str, float]:
    """Return the median microseconds per operation of each action.

    Args:
        actions: functions that do many operations and return how many. They take turns, so
            that a machine whose speed drifts treats them alike.
        rounds: how many times each runs, after one that is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            gc.collect()
            start = perf_counter()
            count = action()
            elapsed = perf_counter() - start
            if number:
                times[name].append(elapsed / count * 1e6)
    return {name: median(found) for name, found in times.items()}


def table(rows: list[list[str]]) -> str:
    """Return rows as aligned text; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells))
        if number == 0:
            lines.append("  ".join("-" * w for w in widths))
    return "\n".join(lines)
