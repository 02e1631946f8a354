"""``python -m hashstash``, also installed as ``hashstash``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import __version__

PIPE_CLOSED = 141  # what the shell says of a program that this ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="hashstash", description="A dict whose items outlive the process."
    )
    parser.add_argument("--version", action="version", version=f"hashstash {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command")
    from .demo.run import add_arguments, run

    demo = commands.add_parser(
        "demo",
        help="analyse Python's own library, stash the results, and read them again",
        description="Analyse every module of the running Python's standard library and stash each "
        "result; then do it again, and prove that nothing was computed.",
    )
    add_arguments(demo)
    options = parser.parse_args(arguments)
    try:
        if options.command == "demo":
            return run(options)
        parser.print_help()
        return 0
    except BrokenPipeError:  # who reads us has seen enough: `hashstash demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


if __name__ == "__main__":
    sys.exit(main())
