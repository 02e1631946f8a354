"""One thread of a process that renews what is held, while anything is."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol


class Held(Protocol):
    """Something that has to be looked after from time to time."""

    @property
    def pace(self) -> float:
        """How many seconds may go by between two looks."""

    def tick(self, now: float) -> None:
        """Do what is due, by the monotonic clock."""


class Renewer:
    """Looks after what is held, on a thread that ends when there is nothing for a while."""

    IDLE = 1.0
    """Seconds for which the thread stays without anything to do."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, in a child after a fork: the parent looks after its own."""
        self._changed = threading.Condition()
        self._held: set[Held] = set()
        self._later: dict[Callable[[], None], float] = {}
        self._thread: threading.Thread | None = None
        self._pause = self.IDLE

    def add(self, held: Held) -> None:
        """Look after ``held`` until it is dropped."""
        with self._changed:
            self._held.add(held)
            if self._thread is None:
                self._begin()
            elif held.pace < self._pause:
                self._changed.notify()

    def drop(self, held: Held) -> None:
        """Look after ``held`` no more."""
        with self._changed:
            self._held.discard(held)

    def call_later(self, act: Callable[[], None], seconds: float) -> None:
        """Call ``act`` in some seconds, or when the process ends."""
        with self._changed:
            self._later[act] = time.monotonic() + seconds
            if self._thread is None:
                self._begin()

    def call_now(self) -> None:
        """Call at once what was to be called later."""
        with self._changed:
            acts, self._later = list(self._later), {}
        for act in acts:
            _despite_faults(act)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name="hashstash-leases", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                idle = not self._held and not self._later
                self._pause = min((held.pace for held in self._held), default=self.IDLE)
                self._changed.wait(min(self._pause, self.IDLE))
                if idle and not self._held and not self._later:
                    self._thread = None
                    return
                now = time.monotonic()
                held = list(self._held)
                due = [act for act, end in self._later.items() if now > end]
                for act in due:
                    del self._later[act]
            for one in held:
                _despite_faults(partial(one.tick, now))
            for act in due:
                _despite_faults(act)


def _despite_faults(act: Callable[[], None]) -> None:
    """Do what is tried again later anyway; a server that is away must not end the thread."""
    try:
        act()
    except Exception as exc:  # noqa: BLE001 - whatever it is, other leases have to be renewed
        logging.getLogger("hashstash").debug("lease: %s", exc)


renewer = Renewer()
atexit.register(renewer.call_now)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renewer.begin_anew)
