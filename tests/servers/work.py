"""What tests have other processes do: apart, as importing it has to cost little."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from hashstash import HashStash


def append(stash: HashStash, number: int, count: int) -> None:
    for step in range(count):
        stash["shared"] = (number, step)
        stash[f"own {number}"] = step


def fill(stash: HashStash, number: int) -> dict[str, Any]:
    stash.update({f"{number}.{n}": (number, n) for n in range(20)})
    return {"safe": stash.to_dict()["safe"], "sees": stash["from the parent"], "at": repr(stash)}


def compete(stash: HashStash, number: int, rounds: int) -> tuple[list[Any], list[Any]]:
    """Return what each setdefault gave, and what each pop gave."""
    given = [stash.setdefault(f"set {n}", number) for n in range(rounds)]
    return given, [stash.pop(f"pop {n}", None) for n in range(rounds)]


def note_and_square(folder: str, x: int) -> int:
    """Return ``x * x``; leave a line about it."""
    with open(os.path.join(folder, str(os.getpid())), "a") as notes:
        notes.write(f"{x}\n")
    time.sleep(0.01)
    return x * x


def work_through(stash: HashStash, folder: str, keys: int, shift: int) -> list[int]:
    f = stash.stashed_result(note_and_square, ignore=["folder"])
    found = {n: f(folder, n) for n in [(n + shift) % keys for n in range(keys)]}
    return [found[n] for n in range(keys)]


def note_and_double(folder: str, x: int) -> int:
    """Return ``2 * x`` at once; leave a line about it."""
    with open(os.path.join(folder, str(os.getpid())), "a") as notes:
        notes.write(f"{x}\n")
    return 2 * x


def noted(folder: Path) -> list[int]:
    """Return what the notes in ``folder`` are about."""
    return sorted(int(line) for notes in folder.iterdir() for line in notes.read_text().split())
