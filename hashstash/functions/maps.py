"""Maps: a function over many objects, in the background, with stashed results."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, overload

from hashstash.errors import ConfigurationError, HashStashError

from .driver import Driver
from .progress import Progress

if TYPE_CHECKING:
    from .driver import Run
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
        run: its state.
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
        return self._run.done

    @property
    def was_cached(self) -> bool:
        """Whether its result was stored before."""
        return self._run.was_cached

    @property
    def result(self) -> Any:
        """The result; waits for it.

        Raises:
            MapItemError: the call raised; its exception is the cause.
        """
        self._owner._driver.wait_for(self._run)
        return self._owner._value(self._run)

    def __repr__(self) -> str:
        run = self._run
        if not run.done:
            shown = "?"
        elif run.error is not None:
            shown = f"{type(run.error).__name__}: {run.error}"
        else:
            shown = repr(self._owner._driver.value_of(run))
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
        total, given = _length(objects), _length(options)
        self._sized = total is not None
        if total is not None and given is not None and given != total:
            raise ConfigurationError(
                f"options are one dict for each object: {given} for {total} objects"
            )
        self._driver = Driver(
            stashed, _calls(objects, options, star=settings.star), total, common, settings,
            Progress(settings.progress, lambda: _description(stashed, total, settings), total),
        )  # fmt: skip
        self._end = weakref.finalize(self, self._driver.cancel)
        self._driver.begin(compute=settings.precompute)

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
        for run in self._driver.iterate(ordered=ordered):
            if run.error is not None and return_exceptions:
                yield run.error
            else:
                yield self._value(run)

    @property
    def results(self) -> list[Any]:
        """All results in the order of the objects; waits for them.

        Raises:
            MapItemError: a call raised; its exception is the cause. The others' results stay.
        """
        return list(self.results_iter(ordered=True))

    def items(self) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        """Yield ``((args, kwargs), result)`` in the order of the objects; waits for each."""
        for run in self._driver.iterate(ordered=True):
            yield (run.args, {**self._common, **run.kwargs}), self._value(run)

    def keys(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Yield ``(args, kwargs)`` of each call, in the order of the objects."""
        for run in self._all_runs():
            yield run.args, {**self._common, **run.kwargs}

    def values(self) -> Iterator[Any]:
        """Yield the results in the order of the objects; waits for each."""
        return self.results_iter(ordered=True)

    # -- calls ------------------------------------------------------------------------------

    def __len__(self) -> int:
        total = self._driver.total
        if total is None:
            raise TypeError("The objects come from an iterator that has not ended: no length yet")
        return total

    @overload
    def __getitem__(self, index: int) -> StashMapRun: ...

    @overload
    def __getitem__(self, index: slice) -> list[StashMapRun]: ...

    def __getitem__(self, index: int | slice) -> StashMapRun | list[StashMapRun]:
        runs = self._all_runs()
        if isinstance(index, slice):
            return [StashMapRun(self, run) for run in runs[index]]
        return StashMapRun(self, runs[index])

    def __iter__(self) -> Iterator[StashMapRun]:
        return (StashMapRun(self, run) for run in self._all_runs())

    def __repr__(self) -> str:
        runs = self._driver.known(SHOWN)
        shown = [repr(StashMapRun(self, run)) for run in runs]
        total = self._driver.total
        if total is None or total > len(runs):
            shown.append(f"... {total - len(runs)} more" if total else "...")
        return f"StashMap([{', '.join(shown)}])"

    # -- life -------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all calls ended; report whether they have.

        Args:
            timeout: seconds to wait at the most.
        """
        return self._driver.wait(timeout)

    def cancel(self) -> None:
        """Stop; what was done is kept, and a later map goes on from there."""
        self._driver.cancel()

    @property
    def done(self) -> bool:
        """Whether all calls ended."""
        return self._driver.wait(0)

    # -- inside -----------------------------------------------------------------------------

    def call_text(self, run: Run) -> str:
        """Return a call as people write it."""
        words = [repr(arg) for arg in run.args]
        words += [f"{k}={v!r}" for k, v in {**self._common, **run.kwargs}.items()]
        return f"{self._stashed.stash.identity.name}({', '.join(words)})"

    def _value(self, run: Run) -> Any:
        if run.error is None:
            return self._driver.value_of(run)
        call = self.call_text(run)
        short = call if len(call) <= 200 else f"{call[:197]}..."
        message = f"Item {run.index}, {short}, raised {type(run.error).__name__}: {run.error}"
        raise MapItemError(message, run.index, call) from run.error

    def _all_runs(self) -> Sequence[Run]:
        if not self._sized:
            raise TypeError("The objects come from an iterator: use results_iter()")
        return self._driver.all_runs()


def _length(many: object) -> int | None:
    return len(many) if isinstance(many, Sized) else None


def _calls(
    objects: Iterable[Any], options: Iterable[Mapping[str, Any]] | None, *, star: bool
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield arguments and keyword arguments of each call."""
    given: Iterable[Mapping[str, Any]] = repeat({}) if options is None else options
    for one, keywords in zip(objects, given, strict=options is not None):
        if star and not isinstance(one, (tuple, list)):
            raise TypeError(f"With star=True each object is a tuple of arguments, not {one!r}")
        yield tuple(one) if star else (one,), dict(keywords)


def _description(
    stashed: StashedFunction[..., Any], total: int | None, settings: MapOptions
) -> str:
    """Return what the progress bar of a map says."""
    if settings.desc is not None:
        return settings.desc
    objects = f"{total} objects" if total is not None else "objects"
    processes = f" [{settings.num_proc}x]" if settings.num_proc is not None else ""
    return f"Mapping {stashed.stash.identity.name} across {objects}{processes}"
