"""Going over the library: read each result from the stash, or compute and stash it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from hashlib import blake2b
from time import perf_counter
from typing import IO, Any

from .analysis import analyse

Result = dict[str, Any]

VERSION = 1
"""Part of the key: raise it when ``analyse`` gives something else."""

MISSING = object()


@dataclass
class Pass:
    """What one pass over the files did.

    Attributes:
        results: what is known about each file, by its path.
        computed: how many results were computed.
        read: how many were read from the stash.
        seconds: how long the pass took.
    """

    results: dict[str, Result] = field(default_factory=dict)
    computed: int = 0
    read: int = 0
    seconds: float = 0.0


def go_over(stash: MutableMapping[Any, Any], root: str, paths: Iterable[str]) -> Pass:
    """Return the result for each file, from the stash where it is there.

    A result is stashed under what it depends on: the file's path and content, Python's version
    (which decides the syntax tree), and the version of the analysis.

    Args:
        stash: where results are kept.
        root: the folder that ``paths`` are relative to.
        paths: the files.
    """
    done = Pass()
    start = perf_counter()
    for path in paths:
        with open(os.path.join(root, path), "rb") as file:
            source = file.read()
        key = (path, blake2b(source, digest_size=16).hexdigest(), _python(), VERSION)
        result = stash.get(key, MISSING)
        if result is MISSING:
            result = stash[key] = _timed(source)
            done.computed += 1
        else:
            done.read += 1
        done.results[path] = result
    done.seconds = perf_counter() - start
    return done


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _timed(source: bytes) -> Result:
    start = perf_counter()
    result = analyse(source)
    return {**result, "seconds": perf_counter() - start}


def shown(paths: list[str], title: str, stream: IO[str]) -> Iterator[str]:
    """Yield ``paths``, showing on ``stream`` how far it got, if that is a terminal."""
    if not stream.isatty():
        yield from paths
        return
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield from _counted(paths, title, stream)
    else:
        yield from tqdm(paths, desc=title, unit=" files", file=stream, ncols=100, leave=False)


def _counted(paths: list[str], title: str, stream: IO[str]) -> Iterator[str]:
    width = len(f"{len(paths):,}")
    for number, path in enumerate(paths):
        if number % 10 == 0:
            print(
                f"\r{title}: {number:{width},} of {len(paths):,}", end="", file=stream, flush=True
            )
        yield path
    print("\r" + " " * (len(title) + 2 * width + 6), end="\r", file=stream, flush=True)
