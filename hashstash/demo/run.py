"""The demo from beginning to end."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from hashstash.errors import HashStashError
from hashstash.stash import HashStash

from .library import library_files, library_root
from .passes import Pass, go_over, shown
from .report import findings, hardest_modules, labelled, passes, size
from .servers import how_to_start

ROOT, DBNAME = "demo", "stdlib_demo"
FAILED, CANNOT_RUN, INTERRUPTED = 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options to its parser."""
    parser.add_argument(
        "--engine",
        help="where results are kept: pairtree, lmdb, sqlite, memory, redis, ... (pairtree)",
    )
    parser.add_argument(
        "--root", metavar="DIR", default=ROOT,
        help="a folder, or the name of one below the user's cache folder (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N modules")
    parser.add_argument(
        "--keep", action="store_true", help="keep what an earlier run stashed, and read it"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of modules")
    return number


def run(options: argparse.Namespace) -> int:
    """Run the demo; return the exit status: 0 only if the second pass computed nothing."""
    root = library_root()
    paths = library_files(root)[: options.limit]
    if not paths:
        print(f"This Python has no source files of its library in {root}", file=sys.stderr)
        return CANNOT_RUN
    try:
        return _run(options, root, paths)
    except HashStashError as exc:
        print(f"The demo cannot run: {exc}", file=sys.stderr)
        advice = how_to_start(options.engine or os.environ.get("HASHSTASH_ENGINE", ""), exc)
        if advice:
            print(f"\n{advice}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What was stashed is kept: --keep goes on from there.", file=sys.stderr
        )
        return INTERRUPTED


def _run(options: argparse.Namespace, root: str, paths: list[str]) -> int:
    def opened(*, clear: bool) -> HashStash:
        return HashStash(options.root, DBNAME, options.engine, clear=clear)

    python = f"{platform.python_implementation()} {platform.python_version()}"
    with opened(clear=not options.keep) as stash:
        print(f"Analysing {len(paths):,} modules of {python} in {root}")
        print(f"Stashing each result in {stash!r}\n", flush=True)
        first = go_over(stash, root, shown(paths, "First pass", sys.stderr))
    with opened(clear=False) as stash:  # anew, as another process would
        second = go_over(stash, root, shown(paths, "Second pass", sys.stderr))
        print(hardest_modules(first.results), end="\n\n")
        print(labelled(findings(first.results)), end="\n\n")
        print(passes(first, second), end="\n\n")
        print(labelled(_about(stash)), end="\n\n", flush=True)
    return _prove(first, second)


def _about(stash: HashStash) -> list[tuple[str, str]]:
    return [
        ("Stash", stash.path),
        ("Entries", f"{len(stash):,}"),
        ("Size", size(stash.size_bytes())),
    ]


def _prove(first: Pass, second: Pass) -> int:
    """Print whether the second pass read all that it gave; return the exit status."""
    if second.computed or second.read != len(first.results):
        print(f"FAILED: the second pass computed {second.computed:,} results.", file=sys.stderr)
        return FAILED
    unequal = [path for path, result in first.results.items() if second.results[path] != result]
    if unequal:
        print(f"FAILED: {len(unequal):,} results differ, first {unequal[0]}.", file=sys.stderr)
        return FAILED
    print(f"Proof: the second pass computed 0 results and read {second.read:,}, all equal.")
    return 0
