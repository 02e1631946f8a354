"""Ways to have a function stashed: by a stash, or by ``@stashed_result`` and settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import fields
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .calls import signature_of
from .identity import callee_of
from .maps import MapOptions, StashMap
from .options import ResultOptions
from .results import StashedFunction

if TYPE_CHECKING:
    from hashstash.stash import HashStash

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULTS = ResultOptions()
_MAP_NAMES = frozenset(field.name for field in fields(MapOptions))
_OPTION_NAMES = frozenset(field.name for field in fields(ResultOptions))


def stashed_once(
    stash: HashStash,
    known: MutableMapping[Any, StashedFunction[..., Any]],
    function: Callable[P, R],
) -> StashedFunction[..., R]:
    """Return ``function`` stashed with default options, the same one for every call.

    Args:
        stash: where results are kept.
        known: those made before, by function.
        function: any callable; one stashed already keeps its own options, and its stash if
            that is this one.
    """
    if isinstance(function, StashedFunction):
        if function._parent is stash:
            return function
        return _stashed(stash, function._callee.function, function._options).bound_to(
            function._callee
        )
    callee = callee_of(function)
    try:
        found = known.get(callee.function)
        if found is None:
            found = known[callee.function] = _stashed(stash, callee.function, _DEFAULTS)
    except TypeError:  # it cannot be referred to weakly, or not be hashed
        found = _stashed(stash, callee.function, _DEFAULTS)
    return found.bound_to(callee) if callee.args or callee.kwargs else found


def _stashed(
    stash: HashStash, function: Callable[..., Any], options: ResultOptions
) -> StashedFunction[..., Any]:
    return stashed_class(callee_of(function).function)(stash, function, options)


def stashed_class(function: Callable[..., Any]) -> type[StashedFunction[..., Any]]:
    """Return what makes a stashed function of ``function``.

    Raises:
        TypeError: it is a generator function.
    """
    if iscoroutinefunction(function):
        from .coroutines import StashedCoroutineFunction

        return StashedCoroutineFunction
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(
            f"{function!r} is a generator function: what it yields can be gone through once, and "
            "cannot be stored. Have it return a list."
        )
    return StashedFunction


def attach(function: Callable[..., Any], stashed: StashedFunction[..., Any]) -> None:
    """Give a function of the user the attribute ``stash``, where its results are."""
    if isinstance(function, FunctionType):
        stash = stashed.stash
        if function.__dict__.get("stash") is not stash:
            function.__dict__["stash"] = stash


def decorate(stash: HashStash, function: Callable[..., Any] | None, options: dict[str, Any]) -> Any:
    """Return ``function`` stashed, or a decorator if it is not given yet."""
    chosen = ResultOptions(**options)

    def stashed(function: Any) -> Any:
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(stashed(function.__func__))
        return _stashed(stash, function, chosen)

    return stashed if function is None else stashed(function)


@overload
def stashed_result(function: Callable[P, R], /, **settings: Any) -> StashedFunction[P, R]: ...


@overload
def stashed_result(
    root_dir: str | None = None, /, **settings: Any
) -> Callable[[Callable[P, R]], StashedFunction[P, R]]: ...


def stashed_result(function: Any = None, /, **settings: Any) -> Any:
    """Decorate a function so that its results are stashed.

    Used bare, results go to the default stash; ``@stashed_result("name", engine="lmdb")`` takes
    what ``HashStash`` takes, and the options of results (``ttl``, ``ignore``, ...) beside it.

    Args:
        function: what is decorated, or the stash's ``root_dir``.
        **settings: options of ``HashStash`` and of ``ResultOptions``.

    Example:
        >>> @stashed_result("docs_example", engine="memory")
        ... def double(x):
        ...     return 2 * x
        >>> double(4), double(4), double.cache_info().hits
        (8, 8, 1)
    """
    from hashstash.stash import HashStash

    options = {name: settings.pop(name) for name in list(settings) if name in _OPTION_NAMES}
    if callable(function):
        return decorate(HashStash(**settings), function, options)
    return decorate(HashStash(function, **settings), None, options)


def begin_map(  # noqa: PLR0917 - the arguments of stash.map
    stash: HashStash,
    known: MutableMapping[Any, StashedFunction[..., Any]],
    function: Callable[..., Any],
    objects: Iterable[Any],
    options: Iterable[Mapping[str, Any]] | None,
    common: dict[str, Any],
) -> StashMap:
    """Begin a map whose settings are among the common keyword arguments.

    Raises:
        TypeError: a setting's name is also a parameter of the function.
    """
    stashed = stashed_once(stash, known, function)
    attach(function, stashed)
    return _begin(stashed, objects, options, common)


def _begin(
    stashed: StashedFunction[..., Any],
    objects: Iterable[Any],
    options: Iterable[Mapping[str, Any]] | None,
    common: dict[str, Any],
) -> StashMap:
    chosen = {name: common.pop(name) for name in list(common) if name in _MAP_NAMES}
    parameters = signature_of(stashed._callee.function).parameters
    for name in chosen:
        if name in parameters:
            raise TypeError(
                f"{name!r} is a setting of the map and a parameter of the function: bind the "
                f"parameter beforehand, with functools.partial(function, {name}=...)"
            )
    return StashMap(stashed, objects, options, common, MapOptions(**chosen))


def mapped(
    stash: HashStash, settings: dict[str, Any]
) -> Callable[[Callable[..., Any]], Callable[..., StashMap]]:
    """Return a decorator that makes a function take many objects."""
    chosen = {name: settings.pop(name) for name in list(settings) if name in _MAP_NAMES}
    results = ResultOptions(**settings)

    def decorated(function: Callable[..., Any]) -> Callable[..., StashMap]:
        stashed = _stashed(stash, function, results)

        @functools.wraps(function)
        def many(
            objects: Iterable[Any],
            options: Iterable[Mapping[str, Any]] | None = None,
            **common: Any,
        ) -> StashMap:
            return _begin(stashed, objects, options, {**chosen, **common})

        many.__dict__["stash"] = stashed.stash
        return many

    return decorated


def stash_mapped(
    root_dir: str | None = None, /, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., StashMap]]:
    """Decorate a function so that it takes many objects and returns a ``StashMap``.

    Args:
        root_dir: the stash's ``root_dir``.
        **settings: options of ``HashStash``, of maps (``num_proc``, ...) and of results
            (``ttl``, ...).

    Example:
        >>> @stash_mapped("docs_example", engine="memory", num_proc=1)
        ... def double(x):
        ...     return 2 * x
        >>> double([1, 2, 3]).results
        [2, 4, 6]
    """
    from hashstash.stash import HashStash

    names = _OPTION_NAMES | _MAP_NAMES
    chosen = {name: settings.pop(name) for name in list(settings) if name in names}
    return mapped(HashStash(root_dir, **settings), chosen)
