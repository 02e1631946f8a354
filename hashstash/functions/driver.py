"""What drives a map, on a thread of its own, from its beginning to its end."""

from __future__ import annotations

import threading
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from hashstash.errors import SerializationError, SizeLimitError

from .dispatch import LOOKED_UP, Dispatcher
from .jobs import Job
from .lookup import Lookup
from .pools import Stoppable, default_processes, guard, runs_here
from .runs import KnownRuns, Run, Runs
from .settling import Settler
from .whole_map import WholeMap

if TYPE_CHECKING:
    from .maps import MapOptions
    from .progress import Progress
    from .results import StashedFunction


class Driver(Stoppable):
    """Runs the calls of a map on a thread of its own.

    Args:
        stashed: the function.
        runs: the calls.
        common: keyword arguments of every call.
        settings: how the map works.
        progress: is told of every call that ends.
    """

    def __init__(
        self,
        stashed: StashedFunction[..., Any],
        runs: Runs,
        common: dict[str, Any],
        settings: MapOptions,
        progress: Progress,
    ) -> None:
        self.runs, self._settings, self._progress = runs, settings, progress
        self.lookup = lookup = Lookup(stashed, common)
        executor = settings.executor
        alone = executor is None and (settings.num_proc or default_processes()) == 1
        # Nobody else sees the rows of a private engine: its own process has to store them.
        private = lookup.stash._engine.private and not (alone or runs_here(executor))
        stored = settings.stash_runs
        self._settler = Settler(runs, lookup, progress, stashed=stored, stores=stored and private)
        job = Job(stashed, common, stored and not private)
        self._dispatcher = Dispatcher(runs, job, lookup, self._settler, settings, alone=alone)
        self._since = time.time_ns() if settings.force else 0
        self.thread: threading.Thread | None = None
        self._computing = False
        self._whole: WholeMap | None = None

    @property
    def problems(self) -> list[str]:
        """Why results could not be stored."""
        return self._settler.problems

    def start(self, *, compute: bool = True) -> None:
        """Begin to compute, or only to look up what is stored already."""
        with self.runs.changed:
            self._computing = self._computing or compute
            if self.thread is None and not self.runs.is_over:
                self.thread = threading.Thread(target=self._work, name="hashstash-map", daemon=True)
                self.thread.start()

    def cancel(self) -> None:
        """Stop at once; calls that have not ended never will."""
        self.runs.cancel()
        self._dispatcher.stop()

    def let_go(self) -> None:
        """Nobody is interested any more: stop, unless all that is left is in the background."""
        if not self.runs.is_over:
            self.cancel()

    def _work(self) -> None:
        guard.add(self)
        try:
            self._prepare_whole()
            if not self._computing and self._look_only() and self._ends_for_now():
                return
            look = self._settings.preload and not self._settings.force
            self._dispatcher.drive(self.runs.source(), look=look, since=self._since)
            self._store_whole()
            self._progress.close()
            if not self.runs.cancelled:
                self.runs.finish()
                self._refresh_stale()
        except BaseException as exc:  # noqa: BLE001 - told to whoever waits for results
            self.runs.fail(exc)
        self._progress.close()
        self._settler.leave_all()
        self._dispatcher.finish()
        guard.drop(self)

    def _look_only(self) -> bool:
        """Look all results up; tell whether some are to be computed, when they are asked for."""
        source = self.runs.source()
        left = False
        while not (self._computing or self.runs.is_over):
            page = list(islice(source, LOOKED_UP))
            left = bool(self._settler.look_up(page, preload=True)) or left
            if len(page) < LOOKED_UP:
                break
        if left:
            self._settler.forget()
        return left and not self._computing

    def _ends_for_now(self) -> bool:
        """End the thread, unless somebody asks for results now."""
        guard.drop(self)
        with self.runs.changed:
            if not self._computing:
                self.thread = None
                return True
        guard.add(self)
        return False

    # -- beside the calls -------------------------------------------------------------------

    def _prepare_whole(self) -> None:
        """End all calls at once, if their results are stored together."""
        if not self._settings.stash_map or not isinstance(self.runs, KnownRuns):
            return
        runs = list(self.runs.source())
        try:
            self._whole = WholeMap(self.lookup.target, map(self.lookup.stored, runs))
        except Exception as exc:  # noqa: BLE001 - the item's own, told where it is asked for
            self.problems.append(str(exc))
            return
        found = None if self._settings.force else self._whole.load()
        if found is not None and len(found) == len(runs):
            self._whole = None
            for run, value in zip(runs, found, strict=True):
                run.value, run.was_cached = value, True
            self._settler.end(runs)

    def _store_whole(self) -> None:
        """Store all results together, if that is wanted and all are there."""
        if self._whole is None or self.runs.cancelled:
            return
        assert isinstance(self.runs, KnownRuns)
        runs = self.runs.first(self.runs.total)
        if any(run.error is not None for run in runs):
            return
        try:
            self._whole.store(list(self.lookup.results(runs)))
        except (SerializationError, SizeLimitError) as exc:
            if self.lookup.target.options.strict:
                raise
            self.problems.append(str(exc))

    def _refresh_stale(self) -> None:
        """Compute anew what was returned but is stale; nobody waits for it."""
        stale, now = self._settler.stale, time.time_ns()
        self._dispatcher.drive(map(_anew, iter(stale)), look=False, since=now)


def _anew(run: Run) -> Run:
    """Return the call once more, as one whose end is nobody's concern."""
    made = Run(-1, (run.args, run.kwargs))
    made.address, made.key = run.address, run.key
    return made
