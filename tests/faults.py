"""Things that go wrong, for tests: full disks, no more descriptors, Ctrl-C at any point."""

from __future__ import annotations

import contextlib
import dis
import os
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
