"""For tests: full disks, no more descriptors, Ctrl-C at any point, and what reaches the disk."""

from __future__ import annotations

import contextlib
import dis
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory at ``folder``; skip the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"may not mount a small disk here: {exc}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def take_all_descriptors(limit: int = 64) -> list[int]:
    """Open files until the process, a forked one, may open no more; return their numbers."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    return taken


class Interruption:
    """Raises KeyboardInterrupt where a signal could, the ``step``-th time that one could.

    Python looks for signals when a function begins, when a call has returned (not: raised) and
    when a loop turns. A ``with`` statement relies on it: between its last call and the release
    of its lock there is no such place.
    """

    def __init__(self, step: int, files: Collection[str]) -> None:
        self.left, self.files = step, files
        self._last: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in self.files or frame.f_code.co_name == "held":
            return None  # what is raised while a generator is destroyed goes nowhere
        frame.f_trace_opcodes = True
        if event == "call":
            self._count()
        elif event == "opcode":
            last = self._last.get(frame, "")
            self._last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if last.startswith(("CALL", "JUMP_BACKWARD", "JUMP_ABSOLUTE")):
                self._count()
        elif event in {"exception", "return"}:
            self._last.pop(frame, None)
        return self

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self._last.clear()
            raise KeyboardInterrupt

    def hits(self, act: Callable[[], object]) -> bool:
        """Report whether ``act`` was interrupted: otherwise it has fewer steps."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            act()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
            self._last.clear()
        return False


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from hashstash.engines import ENGINES, Place
engine = ENGINES.load(sys.argv[1])(Place(sys.argv[2], "stash"))
engine.put(b"warm", b"up")
interrupts = 0
stop = time.monotonic() + 2
def annoy():
    while time.monotonic() < stop:
        time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=annoy, daemon=True)
number = 0
def work():
    global number
    while time.monotonic() < stop + 0.1:
        number += 1
        engine.put(b"key", b"%d" % number)
        with engine.transaction():
            engine.put(b"one", b"%d" % number)
            engine.put(b"two", b"%d" % number)
        engine.put_many([(b"one", b"%d" % number), (b"two", b"%d" % number)])
        engine.compare_and_set(b"new %d" % number, None, b"row")
        engine.delete(b"new %d" % number)
thread.start()
while time.monotonic() < stop + 0.1:
    try:
        work()
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGINT, signal.SIG_IGN)
thread.join()
assert interrupts > 100, interrupts
assert engine.get(b"one") == engine.get(b"two")
done = []
def write():
    engine.put(b"key", b"done")
    done.append(True)
other = threading.Thread(target=write, daemon=True)
other.start()
other.join(30)
assert done, "a lock was left behind"
engine.close()
"""


def interrupt_again_and_again(engine: str, folder: Path) -> None:
    """Send SIGINT to a process that writes, and see that no lock is left behind."""
    command = [sys.executable, "-c", INTERRUPTED, engine, str(folder)]
    subprocess.run(command, check=True, timeout=120)


TRACED = """
import os, sys
from hashstash.engines import ENGINES, Place
engine = ENGINES.load(sys.argv[1])(Place(sys.argv[2], "stash", durability=sys.argv[3]))
changes = [
    lambda: engine.put(b"k", b"row"),
    lambda: engine.put(b"k", b"new"),
    lambda: engine.compare_and_set(b"l", None, b"row"),
    lambda: engine.delete(b"k"),
    lambda: engine.put_many([(b"m", b"row"), (b"n", b"row")]),
    lambda: engine.delete_many([b"m"]),
    engine.clear,
]
for number, change in enumerate(changes):
    os.write(2, b"begin %d\\n" % number)
    change()
    os.write(2, b"end %d\\n" % number)
"""


def traced(engine: str, tmp_path: Path, durability: str) -> list[list[str]]:
    """Return the system calls of each change."""
    program = [sys.executable, "-c", TRACED, engine, str(tmp_path / "root/stash"), durability]
    watched = "trace=open,openat,fsync,fdatasync,link,linkat,mkdir,write,pwrite64,pwritev"
    ran = subprocess.run(
        ["strace", "-f", "-e", watched, *program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in ran.stderr and ran.returncode:
        pytest.skip("processes may not be traced here")
    assert ran.returncode == 0, ran.stderr
    parts = re.findall(r'write\(2, "begin \d+(.*?)write\(2, "end', ran.stderr, re.DOTALL)
    assert len(parts) == 7
    return [part.splitlines() for part in parts]


def assert_names_are_synced(lines: list[str], tmp_path: Path) -> None:
    """Every new folder's and file's name is flushed in the folder above."""
    text = "\n".join(lines)
    for folder in (tmp_path, tmp_path / "root", tmp_path / "root/stash"):
        name = re.escape(f'"{folder}"')
        assert re.search(rf"openat\([^\n]*{name}, [^\n]* = (\d+)\n[^\n]*fsync\(\1\)", text), folder
