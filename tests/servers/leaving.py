"""A process that ends without closing anything."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from hashstash import HashStash

stash = HashStash("leaving", engine=sys.argv[1], url=sys.argv[2]).tmp()
stash["a"] = 1
stash.update({number: number for number in range(5)})
print(stash.path.rpartition("#")[2], len(stash))
"""


def leave(engine: str, url: str) -> str:
    """Return the name of a temporary stash that such a process made; it said nothing else."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, engine, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    name, count = done.stdout.split()
    assert count == "6"
    return name
