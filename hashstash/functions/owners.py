"""Who computes: processes, told apart on this machine, and what has become of them."""

from __future__ import annotations

import os
import socket
import sys
from functools import lru_cache
from typing import NamedTuple


class Owner(NamedTuple):
    """A process, as its leases name it.

    Attributes:
        host: tells this machine, this boot and this container from others.
        pid: the number of the process.
        start: tells the process from a later one of the same number; empty where the system
            does not say.
    """

    host: str
    pid: int
    start: str

    def is_gone(self) -> bool:
        """Tell whether it ran on this machine and runs no more."""
        return self.host == _host() and _seen(self.pid)[0] != self.start

    def is_at_work(self) -> bool:
        """Tell whether it runs on this machine, and is not stopped."""
        start, state = _seen(self.pid)
        return self.host == _host() and bool(start) and start == self.start and state not in "Tt"


def this_process() -> Owner:
    """Return this process."""
    return _this(os.getpid())


@lru_cache(maxsize=4)
def _this(pid: int) -> Owner:
    return Owner(_host(), pid, _seen(pid)[0] or "")


@lru_cache(maxsize=1)
def _host() -> str:
    try:
        boot = _text("/proc/sys/kernel/random/boot_id")
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _seen(pid: int) -> tuple[str | None, str]:
    """Return start (None if it is gone) and state of a process, as far as the system tells."""
    try:
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        if os.path.exists("/proc/self/stat"):
            return None, ""
    else:
        return (None, "") if fields[0] in {"Z", "X"} else (fields[19], fields[0])
    if sys.platform != "win32":  # where a signal of 0 is no question
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None, ""
        except OSError:
            pass
    return "", ""


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
