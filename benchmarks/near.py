"""A near cache: a hit on it beside the server's own get, and beside the near engine's own."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.server_floors import TESTS, VARIABLES, serving
from benchmarks.timing import medians, table
from hashstash import HashStash

MEGABYTE = os.urandom(1 << 20)
KILOBYTE = {f"name_{i}": f"some text number {i} of it" for i in range(30)}
ASKED_RATIO, ASKED_US = 1 / 5, 2.0


@contextmanager
def over_a_network(far: str, megabits: float) -> Iterator[None]:
    """Have the server of ``far`` be reached by a line of so many Mbit/s; 0: as it is.

    On the loopback interface, where sending 1 MB costs no more than decoding it, there is
    nothing that a near cache could save.
    """
    if not megabits:
        yield
        return
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from servers.proxy import Proxy

    class Line(Proxy):
        def _allowed(self, size: int, replies: bool) -> int:
            time.sleep(size * 8 / megabits / 1e6)
            return super()._allowed(size, replies)

    variable = VARIABLES[far]
    url = os.environ[variable]
    port = int(re.findall(r":(\d+)", url)[-1])
    with Line(port) as line:
        os.environ[variable] = url.replace(f":{port}", f":{line.port}")
        try:
            yield
        finally:
            os.environ[variable] = url


def repeated(stash: HashStash, calls: int) -> Callable[[], int]:
    """Return what reads one value again and again."""

    def read() -> int:
        for _ in range(calls):
            assert stash["key"] is not None
        return calls

    return read


def validated(far: str, near: str, folder: str, rounds: int) -> list[str]:
    """Return the costs of a value of 1 MB: from the server, and as a validated hit."""
    root = tempfile.mkdtemp(dir=folder)
    alone = HashStash(root, engine=far)
    beside = HashStash(root, engine=far, near=HashStash(f"{folder}/near", engine=near))
    beside["key"] = MEGABYTE
    try:
        found = medians({"far": repeated(alone, 10), "near": repeated(beside, 10)}, rounds)
    finally:
        beside._engine.destroy()
    ratio = found["near"] / found["far"]
    return [far, f"{found['far']:.0f}", f"{found['near']:.0f}", f"{ratio:.2f} x"]


def immutable(near: str, value: object, folder: str, calls: int, rounds: int) -> list[str]:
    """Return the costs of an immutable hit and of the near engine's own get."""
    own = HashStash(f"{folder}/own", engine=near)
    beside = HashStash(
        f"{folder}/far", engine="memory", near=HashStash(f"{folder}/near", engine=near),
        near_mode="immutable",
    )  # fmt: skip
    own["key"] = beside["key"] = value
    try:
        found = medians({"own": repeated(own, calls), "near": repeated(beside, calls)}, rounds)
    finally:
        beside._engine.destroy()
        own._engine.destroy()
    more = found["near"] - found["own"]
    return [near, f"{found['own']:.2f}", f"{found['near']:.2f}", f"+ {more:.2f} us"]


def main(argv: list[str]) -> int:
    """Print medians in microseconds, beside what is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks near", description=__doc__)
    parser.add_argument("--far", default=",".join(VARIABLES), help="servers, with commas between")
    parser.add_argument("--near", default="lmdb,sqlite,pairtree,memory")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lines", default="0,1000", help="Mbit/s to the server; 0: loopback")
    options = parser.parse_args(argv)
    near = options.near.split(",")
    with tempfile.TemporaryDirectory() as folder:
        for megabits in map(float, options.lines.split(",")):
            line = f"{megabits:g} Mbit/s" if megabits else "loopback"
            rows = [[f"validated, 1 MB, {line}", "far get", "near hit", f"asked: {ASKED_RATIO} x"]]
            for far in filter(None, options.far.split(",")):
                with serving(far), over_a_network(far, megabits):
                    rows.append(validated(far, near[0], folder, options.rounds))
            print(table(rows), end="\n\n")
        for size, value, calls in (("1 KB", KILOBYTE, 3000), ("1 MB", MEGABYTE, 50)):
            rows = [[f"immutable, {size}", "own get", "near hit", f"asked: + {ASKED_US} us"]]
            rows += [immutable(one, value, folder, calls, options.rounds) for one in near]
            print(table(rows), end="\n\n")
    return 0
