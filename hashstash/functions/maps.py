"""Maps: a function over many objects, in the background, with stashed results."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sized
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from hashstash.errors import ConfigurationError, HashStashError

from .driver import Driver
from .progress import Progress
from .runs import Calls, KnownRuns, PassingRuns, Run, Runs, calls_of
from .target import warn

if TYPE_CHECKING:
    from .results import StashedFunction

SHOWN = 10
"""How many calls ``repr`` shows."""


class MapItemError(HashStashError):
    """A call of a map raised; its own exception is the cause.

    Attributes:
        index: the position of its object.
        call: how it was called.
    """

    def __init__(self, message: str, index: int, call: str) -> None:
        super().__init__(message)
        self.index, self.call = index, call

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.index, self.call)


@dataclass(frozen=True)
class MapOptions:
    """How a map works.

    Attributes:
        num_proc: how many processes work; 1: a thread of this process. Default: all cores
            but two.
        preload: whether results that are stored are looked up first, many at a time.
        precompute: whether computing begins at once; otherwise when a result is asked for.
        progress: whether a progress bar is shown; default: where there is a terminal or a
            notebook, and tqdm.
        desc: what the bar says.
        ordered: whether ``results_iter`` gives results in the order of the objects; otherwise
            as they come in.
        stash_runs: whether results of single calls are stored.
        stash_map: whether the results of the whole map are stored together as well.
        force: whether stored results are computed anew.
        star: whether a tuple or list is the arguments of a call, and not one argument.
        executor: any executor to use; it stays open.
    """

    num_proc: int | None = None
    preload: bool = True
    precompute: bool = True
    progress: bool | None = None
    desc: str | None = None
    ordered: bool = True
    stash_runs: bool = True
    stash_map: bool = False
    force: bool = False
    star: bool = False
    executor: Executor | None = None

    def __post_init__(self) -> None:
        number = self.num_proc
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ConfigurationError(f"num_proc is a number of processes, not {number!r}")


class StashMapRun:
    """One call of a map.

    Args:
        owner: the map.
        run: its state, as far as it is known.
    """

    def __init__(self, owner: StashMap, run: Run) -> None:
        self._owner, self._run = owner, run

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return self._run.args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, those common to all calls included."""
        return {**self._owner._common, **self._run.kwargs}

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._now().done

    @property
    def was_cached(self) -> bool:
        """Whether its result was stored before."""
        return self._now().was_cached

    @property
    def result(self) -> Any:
        """The result; waits for it.

        Raises:
            MapItemError: the call raised; its exception is the cause.
        """
        run = self._run = self._owner._wait_for(self._run)
        return self._owner._result(run)

    def _now(self) -> Run:
        if not self._run.done:
            self._run = self._owner._latest(self._run)
        return self._run

    def __repr__(self) -> str:
        run = self._now()
        if not run.done:
            shown = "?"
        elif run.error is not None:
            shown = f"{type(run.error).__name__}: {run.error}"
        else:
            shown = repr(self._owner._result(run))
        return f"StashMapRun({self._owner.call_text(run)} >>> {shown})"


class StashMap:
    """The calls of a function over many objects, and their results as they come in.

    Made by ``stash.map``; it works in the background from the start. Objects that come from an
    iterator are taken as needed and forgotten once ``results_iter`` gave their results, so that
    millions fit; then there is one pass, and no ``len`` before it ends.

    Args:
        stashed: the function.
        objects: what it is called with, one each.
        options: keyword arguments of each call, as many as objects.
        common: keyword arguments of every call.
        settings: how the map works.
    """

    def __init__(
        self,
        stashed: StashedFunction[..., Any],
        objects: Iterable[Any],
        options: Iterable[Mapping[str, Any]] | None,
        common: dict[str, Any],
        settings: MapOptions,
    ) -> None:
        if isinstance(objects, str | bytes):
            raise TypeError(f"objects are many, and {objects!r} is one: give a list of them")
        self._stashed, self._common, self._settings = stashed, common, settings
        self._runs: Runs
        if isinstance(objects, Sized):
            self._runs = KnownRuns(Calls(objects, options, star=settings.star))
        else:
            self._runs = PassingRuns(calls_of(objects, options, star=settings.star))
        progress = Progress(settings.progress, self._description, self._runs.total)
        self._driver = Driver(stashed, self._runs, common, settings, progress)
        self._told = 0
        self._end = weakref.finalize(self, self._driver.let_go)
        if settings.precompute:
            self._driver.start()
        elif settings.preload and not settings.force and isinstance(self._runs, KnownRuns):
            self._driver.start(compute=False)

    # -- results ----------------------------------------------------------------------------

    def results_iter(
        self, *, ordered: bool | None = None, return_exceptions: bool = False
    ) -> Iterator[Any]:
        """Yield the results as they come in, or in the order of the objects.

        Args:
            ordered: whether to keep the order; default: as the map was told.
            return_exceptions: whether the exception of a call that raised is given in place of
                its result, instead of being raised.

        Raises:
            MapItemError: a call raised; its exception is the cause.
        """
        ordered = self._settings.ordered if ordered is None else ordered
        for run, result in self._ended(ordered=ordered):
            if run.error is not None and not return_exceptions:
                raise self._item_error(run) from run.error
            yield result

    @property
    def results(self) -> list[Any]:
        """All results in the order of the objects; waits for them.

        Raises:
            MapItemError: a call raised; its exception is the cause. The others' results stay.
        """
        return list(self.results_iter(ordered=True))

    def items(self) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        """Yield ``((args, kwargs), result)`` in the order of the objects; waits for each."""
        for run, result in self._ended(ordered=True):
            if run.error is not None:
                raise self._item_error(run) from run.error
            yield (run.args, {**self._common, **run.kwargs}), result

    def keys(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Yield ``(args, kwargs)`` of each call, in the order of the objects."""
        runs = self._known()
        for index in range(runs.total):
            args, kwargs = runs.calls[index]
            yield args, {**self._common, **kwargs}

    def values(self) -> Iterator[Any]:
        """Yield the results in the order of the objects; waits for each."""
        return self.results_iter(ordered=True)

    # -- calls ------------------------------------------------------------------------------

    def __len__(self) -> int:
        total = self._runs.total
        if total is None:
            raise TypeError("The objects come from an iterator that has not ended: no length yet")
        return total

    @overload
    def __getitem__(self, index: int) -> StashMapRun: ...

    @overload
    def __getitem__(self, index: slice) -> list[StashMapRun]: ...

    def __getitem__(self, index: int | slice) -> StashMapRun | list[StashMapRun]:
        runs = self._known()
        if isinstance(index, slice):
            return [StashMapRun(self, runs[n]) for n in range(runs.total)[index]]
        return StashMapRun(self, runs[range(runs.total)[index]])

    def __iter__(self) -> Iterator[StashMapRun]:
        runs = self._known()
        return (StashMapRun(self, runs[n]) for n in range(runs.total))

    def __repr__(self) -> str:
        shown = [repr(StashMapRun(self, run)) for run in self._runs.first(SHOWN)]
        total = self._runs.total
        if total is None or total > len(shown):
            shown.append(f"... {total - len(shown)} more" if total else "...")
        return f"StashMap([{', '.join(shown)}])"

    # -- life -------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all calls ended; report whether they have.

        Args:
            timeout: seconds to wait at the most.

        Raises:
            MapCancelledError: the map was cancelled before.
        """
        if timeout != 0:
            self._driver.start()
        with _Interruptible(self):
            ended = self._runs.wait(timeout)
        self._warn()
        return ended

    def cancel(self) -> None:
        """Stop; what was done is kept, and a later map goes on from there."""
        self._driver.cancel()

    @property
    def done(self) -> bool:
        """Whether all calls ended."""
        return self._runs.all_ended

    # -- inside -----------------------------------------------------------------------------

    def _description(self) -> str:
        if self._settings.desc is not None:
            return self._settings.desc
        total, processes = self._runs.total, self._settings.num_proc
        objects = f"{total} objects" if total is not None else "objects"
        text = f"Mapping {self._stashed.stash.identity.name} across {objects}"
        return text if processes is None else f"{text} [{processes}x]"

    def call_text(self, run: Run) -> str:
        """Return a call as people write it."""
        words = [repr(arg) for arg in run.args]
        words += [f"{k}={v!r}" for k, v in {**self._common, **run.kwargs}.items()]
        return f"{self._stashed.stash.identity.name}({', '.join(words)})"

    def _ended(self, *, ordered: bool) -> Iterator[tuple[Run, Any]]:
        """Yield calls as they end, or in order, with their results."""
        self._driver.start()
        with _Interruptible(self):
            for page in self._runs.pages(ordered=ordered):
                yield from zip(page, self._driver.lookup.results(page), strict=True)
        self._warn()

    def _result(self, run: Run) -> Any:
        if run.error is not None:
            raise self._item_error(run) from run.error
        return next(self._driver.lookup.results([run]))

    def _item_error(self, run: Run) -> MapItemError:
        call = self.call_text(run)
        short = call if len(call) <= 200 else f"{call[:197]}..."
        message = f"Item {run.index}, {short}, raised {type(run.error).__name__}: {run.error}"
        return MapItemError(message, run.index, call)

    def _wait_for(self, run: Run) -> Run:
        self._driver.start()
        with _Interruptible(self):
            return self._known().wait_for(run.index)

    def _latest(self, run: Run) -> Run:
        return self._runs[run.index] if isinstance(self._runs, KnownRuns) else run

    def _known(self) -> KnownRuns:
        if not isinstance(self._runs, KnownRuns):
            raise TypeError("The objects come from an iterator: use results_iter()")
        return self._runs

    def _warn(self) -> None:
        """Warn, once, of results that could not be stored."""
        problems = self._driver.problems
        new, self._told = problems[self._told :], len(problems)
        if new:
            name = self._stashed.stash.identity.name
            results = f"{len(new)} results" if len(new) > 1 else "1 result"
            warn(f"{results} of a map of {name} not stored: {new[0]}")


class _Interruptible:
    """A block of waiting: Ctrl-C in it stops the map.

    Args:
        owner: the map.
    """

    def __init__(self, owner: StashMap) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._owner.cancel()
