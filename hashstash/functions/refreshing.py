"""Results that are computed anew in the background, while the earlier ones are returned."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable

from .target import warn

MOST_THREADS = 4


class Refresher:
    """Runs what is asked of it on a few threads, each name once at a time."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, in a child after a fork."""
        self._lock = threading.Lock()
        self._names: set[Hashable] = set()
        self._waiting: deque[tuple[Hashable, Callable[[], object], str]] = deque()
        self._threads = 0

    def ask(self, name: Hashable, act: Callable[[], object], what: str) -> None:
        """Call ``act`` soon, unless ``name`` was asked for and has not ended.

        Args:
            name: what it is about.
            act: what to call.
            what: for messages.
        """
        with self._lock:
            if name in self._names:
                return
            self._names.add(name)
            self._waiting.append((name, act, what))
            if self._threads == MOST_THREADS:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="hashstash-refresh", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                name, act, what = self._waiting.popleft()
            try:
                _run(act, what)
            finally:
                with self._lock:
                    self._names.discard(name)


def _run(act: Callable[[], object], what: str) -> None:
    try:
        act()
    except Exception as exc:  # noqa: BLE001 - a thread has nobody to raise to
        warn_of_refresh(what, exc)


def warn_of_refresh(what: str, exc: Exception) -> None:
    """Tell that an earlier result stays, and why."""
    told = f"Refreshing {what} in the background failed, the earlier result stays: {exc!r}"
    warn(told, RuntimeWarning)


refresher = Refresher()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=refresher.begin_anew)
