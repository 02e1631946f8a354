"""What a map reads from the stash: which calls are answered there, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hashstash.keys import stored_key

from .chunks import Task, task_of
from .runs import NOTHING, Run

if TYPE_CHECKING:
    from .results import StashedFunction


class Lookup:
    """Finds the results of a map's calls.

    Args:
        stashed: the function.
        common: keyword arguments of every call.
    """

    def __init__(self, stashed: StashedFunction[..., Any], common: dict[str, Any]) -> None:
        self.stashed, self._common = stashed, common
        self.target = stashed.target()
        self.stash = self.target.stash

    def stored(self, run: Run) -> bytes:
        """Return the stored key of a call; what it is found from stays with the call."""
        if run.address is None:
            call = self.stashed.complete(run.args, {**self._common, **run.kwargs})
            run.key = self.stash.call_key(*call)
            run.address = stored_key(run.key)
        return run.address[0]

    def check(self, run: Run) -> None:
        """Make sure that the function can be called like this.

        Raises:
            TypeError: it cannot.
        """
        self.stash.call_key(*self.stashed.complete(run.args, {**self._common, **run.kwargs}))

    def task(self, run: Run) -> Task:
        """Return a call as workers take it."""
        return task_of(run.args, run.kwargs, run.address or (b"", None), run.key)

    def rows(self, runs: Sequence[Run], since: int) -> Iterator[tuple[Run, bytes | None]]:
        """Yield each call with the row of a result from after ``since``, if there is one."""
        good = self.target.good_since(since)
        found = self.stash._engine.get_many([self.stored(run) for run in runs])
        for run, (stored, row) in zip(runs, found, strict=True):
            yield run, row if row is not None and good(row, stored) else None

    def results(self, runs: Sequence[Run]) -> Iterator[Any]:
        """Yield the results of calls that have ended, or the exceptions that they raised."""
        wanted = [run for run in runs if run.value is NOTHING and run.error is None]
        rows = iter(self.stash._engine.get_many([self.stored(run) for run in wanted]))
        for run in runs:
            if run.error is not None:
                yield run.error
            elif run.value is not NOTHING:
                yield run.value
            else:
                _, row = next(rows)
                yield self._result(run, row)

    def _result(self, run: Run, row: bytes | None) -> Any:
        assert run.address is not None
        if row is not None:
            return self.target.value(row, run.address)
        # It was removed since: computed once more.
        call = run.args, {**self._common, **run.kwargs}
        key = self.stash.call_key(*self.stashed.complete(*call))
        return self.stashed.answer(call, key, run.address, 0, None).value
