"""Benchmarks: ``python -m benchmarks ops --engines lmdb,sqlite``; ``--help`` lists all."""

from __future__ import annotations

import sys
from importlib import import_module

SUITES = {
    "ops": "single operations per engine and serializer, beside floors and peers",
    "functions": "a hit beside other libraries, a map's cost per item, its speed-up",
    "near": "a hit on a near cache beside the server's own get and the near engine's own",
    "scaling": "cost per operation from a thousand to a million entries",
    "serializers": "write and read of typical values, beside pickle and jsonpickle",
}


def main(argv: list[str]) -> int:
    """Run the suite that the first argument names."""
    if not argv or argv[0] in {"-h", "--help"} or argv[0] not in SUITES:
        print(
            "usage: python -m benchmarks SUITE [options]   (--help after a suite lists its options)"
        )
        for name, what in SUITES.items():
            print(f"  {name:12} {what}")
        return 0 if argv and argv[0] in {"-h", "--help"} else 2
    suite = import_module(f"benchmarks.{argv[0]}")
    return int(suite.main(argv[1:]) or 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
