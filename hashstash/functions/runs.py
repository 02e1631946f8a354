"""The calls of a map and which of them have ended: for who drives it, and for who waits."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

from hashstash.errors import ConfigurationError, HashStashError

from .chunks import LARGE

Call = tuple[tuple[Any, ...], dict[str, Any]]

PAGE = 256
"""How many calls that have ended are given out together."""
WINDOW = 10_000
"""How many results of an iterator's objects wait to be taken, before no more are computed."""
SLICE = 0.2
"""Seconds of waiting at a time: not everywhere does Ctrl-C end a longer wait."""

NOTHING: Any = object()
"""Stands for no result, as any object may be one."""

_ENDED, _CACHED = 1, 2
_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
_NO_KEYWORDS: dict[str, Any] = {}


class MapCancelledError(HashStashError):
    """The map was cancelled before this call ended."""


class Run:
    """The state of one call of a map."""

    __slots__ = (
        "address", "args", "deaths", "done", "error", "index", "key", "kwargs", "value",
        "was_cached",
    )  # fmt: skip

    def __init__(self, index: int, call: Call) -> None:
        self.index = index
        self.args, self.kwargs = call
        self.key: Any = None
        self.address: tuple[bytes, bytes | None] | None = None
        self.done = False
        self.value: Any = NOTHING
        self.error: BaseException | None = None
        self.was_cached = False
        self.deaths = 0


class Calls:
    """The calls of a map whose objects are known in number.

    Args:
        objects: what the function is called with, one each.
        options: keyword arguments of each call, as many as objects.
        star: whether an object is the arguments of a call, and not one argument.
    """

    def __init__(
        self, objects: Iterable[Any], options: Iterable[Mapping[str, Any]] | None, *, star: bool
    ) -> None:
        # a copy, as the caller may go on with a list; but a range may be larger than memory
        self._objects = objects if isinstance(objects, range) else list(objects)
        self._star = star
        self._options: list[Mapping[str, Any]] | None = None
        if options is not None:
            self._options = list(islice(options, len(self._objects) + 1))
            if len(self._options) != len(self._objects):
                raise ConfigurationError(
                    f"options are one dict for each object: {len(self._options)} for "
                    f"{len(self._objects)} objects"
                )

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> Call:
        keywords = _NO_KEYWORDS if self._options is None else dict(self._options[index])
        return _arguments(self._objects[index], star=self._star), keywords


def calls_of(
    objects: Iterable[Any], options: Iterable[Mapping[str, Any]] | None, *, star: bool
) -> Iterator[Call]:
    """Yield arguments and keyword arguments of each call."""
    given: Iterable[Mapping[str, Any]] = repeat(_NO_KEYWORDS) if options is None else options
    for one, keywords in zip(objects, given, strict=options is not None):
        yield _arguments(one, star=star), dict(keywords) if keywords else _NO_KEYWORDS


def _arguments(one: Any, *, star: bool) -> tuple[Any, ...]:
    if not star:
        return (one,)
    if not isinstance(one, (tuple, list)):
        raise TypeError(f"With star=True each object is a tuple of arguments, not {one!r}")
    return tuple(one)


class Runs(ABC):
    """The calls of a map."""

    total: int | None
    """How many there are, if that is known."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.cancelled = False
        self._failure: BaseException | None = None
        self._finished = False

    # -- for who drives the map -------------------------------------------------------------

    @abstractmethod
    def source(self) -> Iterator[Run]:
        """Yield the calls that have not ended, in order."""

    def has_room(self) -> bool:
        """Tell whether more calls may be run before results are taken."""
        return True

    def end(self, runs: Iterable[Run]) -> None:
        """Let those who wait know that calls have ended."""
        with self.changed:
            for run in runs:
                run.done = True
                self._keep(run)
            self.changed.notify_all()

    @abstractmethod
    def _keep(self, run: Run) -> None:
        """Remember what is needed of a call that has ended."""

    def finish(self) -> None:
        """Let those who wait know that all calls have ended."""
        with self.changed:
            self._finished = True
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let those who wait know that the map itself failed."""
        with self.changed:
            if not self.cancelled:
                self._failure = error
            self.changed.notify_all()

    def cancel(self) -> None:
        """Let those who wait know that the rest will not be run."""
        with self.changed:
            self.cancelled = True
            self.changed.notify_all()

    # -- for who waits ----------------------------------------------------------------------

    @abstractmethod
    def pages(self, *, ordered: bool) -> Iterator[list[Run]]:
        """Yield the calls as they end, or in order, when they have ended."""

    @abstractmethod
    def first(self, most: int) -> list[Run]:
        """Return the first calls that are in memory."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self._finished or self.cancelled or self._failure is not None

    @property
    def all_ended(self) -> bool:
        """Whether all calls ended."""
        return self._finished

    def wait(self, timeout: float | None) -> bool:
        """Wait until all calls have ended; report whether they have."""
        end = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            while not self.is_over:
                left = SLICE if end is None else min(SLICE, end - time.monotonic())
                if left <= 0:
                    return False
                self.changed.wait(left)
        self.raise_failure()
        return True

    def raise_failure(self) -> None:
        """Raise what ended the map before its calls."""
        if self._failure is not None:
            raise self._failure
        if self.cancelled and not self.all_ended:
            raise MapCancelledError("The map was cancelled; what was done is kept")


class KnownRuns(Runs):
    """Calls that are known in number. Of those that went well a bit is remembered.

    Args:
        calls: the calls.
    """

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls = calls
        self.total: int = len(calls)
        self._flags = bytearray(self.total)
        self._order = array("Q")
        self._kept: dict[int, Run] = {}

    def __getitem__(self, index: int) -> Run:
        found = self._kept.get(index)
        if found is None:
            found = Run(index, self.calls[index])
            flags = self._flags[index]
            found.done, found.was_cached = bool(flags), bool(flags & _CACHED)
        return found

    def source(self) -> Iterator[Run]:
        """Yield the calls that have not ended, in order."""
        return (self[index] for index in range(self.total) if not self._flags[index])

    @property
    def all_ended(self) -> bool:
        """Whether all calls ended."""
        return len(self._order) == self.total

    def _keep(self, run: Run) -> None:
        self._flags[run.index] = _ENDED | _CACHED if run.was_cached else _ENDED
        self._order.append(run.index)
        if run.error is not None or run.value is not NOTHING or not _is_plain(run):
            run.key = None
            if run.address is not None and len(run.address[1] or b"") > LARGE:
                run.address = run.address[0], None
            self._kept[run.index] = run

    def pages(self, *, ordered: bool) -> Iterator[list[Run]]:
        """Yield the calls as they end, or in order, when they have ended."""
        given = 0
        while given < self.total:
            with self.changed:
                while not (ready := self._ready(given, ordered=ordered)) and not self.is_over:
                    self.changed.wait(SLICE)
            if not ready:
                break
            given += len(ready)
            yield [self[index] for index in ready]
        self.wait(None)

    def _ready(self, given: int, *, ordered: bool) -> Sequence[int]:
        if not ordered:
            return self._order[given : given + PAGE]
        end = self._flags.find(b"\0", given, given + PAGE)
        return range(given, end if end >= 0 else min(given + PAGE, self.total))

    def first(self, most: int) -> list[Run]:
        """Return the first calls."""
        return [self[index] for index in range(min(most, self.total))]

    def wait_for(self, index: int) -> Run:
        """Return a call that has ended; wait for it."""
        with self.changed:
            while not self._flags[index] and not self.is_over:
                self.changed.wait(SLICE)
        if not self._flags[index]:
            self.raise_failure()
        return self[index]


class PassingRuns(Runs):
    """Calls from an iterator: they are forgotten once taken, and there is one pass.

    Args:
        calls: the calls.
    """

    def __init__(self, calls: Iterator[Call]) -> None:
        super().__init__()
        self.total: int | None = None
        self._calls = enumerate(calls)
        self._runs: dict[int, Run] = {}
        self._ended: deque[Run] = deque()
        self._expected = 0
        self._hurry = False

    def source(self) -> Iterator[Run]:
        """Yield the calls, and count them."""
        index = -1
        for index, call in self._calls:
            run = Run(index, call)
            with self.changed:
                self._runs[index] = run
            yield run
        self.total = index + 1

    def has_room(self) -> bool:
        """Tell whether more calls may be run before results are taken."""
        return self._hurry or self._finished or len(self._runs) <= WINDOW

    def wait(self, timeout: float | None) -> bool:
        """Wait until all calls have ended, however many results are to be taken."""
        with self.changed:
            self._hurry = self._hurry or timeout is None
            self.changed.notify_all()
        return super().wait(timeout)

    def _keep(self, run: Run) -> None:
        self._ended.append(run)

    def pages(self, *, ordered: bool) -> Iterator[list[Run]]:
        """Yield the calls as they end, or in order, when they have ended."""
        while True:
            with self.changed:
                while not (ready := self._taken(ordered=ordered)) and not self.is_over:
                    self.changed.wait(SLICE)
                self.changed.notify_all()  # there is room again
            if not ready:
                self.raise_failure()
                return
            yield ready

    def _taken(self, *, ordered: bool) -> list[Run]:
        taken: list[Run] = []
        while len(taken) < PAGE:
            if ordered:
                run = self._runs.get(self._expected)
                if run is None or not run.done:
                    break
                self._expected += 1
            elif self._ended:
                run = self._ended.popleft()
            else:
                break
            if self._runs.pop(run.index, None) is not None:  # else it was taken in order
                taken.append(run)
        while self._ended and self._ended[0].index not in self._runs:
            self._ended.popleft()
        return taken

    def first(self, most: int) -> list[Run]:
        """Return the first calls that are in memory."""
        with self.changed:
            return list(islice(self._runs.values(), most))


def _is_plain(run: Run) -> bool:
    """Tell whether a call cannot have changed its arguments, so that its key is still the same."""
    return all(type(one) in _PLAIN for one in run.args) and all(
        type(one) in _PLAIN for one in run.kwargs.values()
    )
