"""Ways to have a function stashed: by a stash, or by ``@stashed_result`` and settings."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import fields
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .identity import callee_of
from .options import ResultOptions
from .results import StashedFunction

if TYPE_CHECKING:
    from hashstash.stash import HashStash

P = ParamSpec("P")
R = TypeVar("R")

_DEFAULTS = ResultOptions()
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
        function: any callable; one stashed already is used with its own options, elsewhere.
    """
    target: Any = function.__wrapped__ if isinstance(function, StashedFunction) else function
    callee = callee_of(target)
    try:
        found = known.get(callee.function)
        if found is None:
            found = known[callee.function] = StashedFunction(stash, callee.function, _DEFAULTS)
    except TypeError:  # it cannot be referred to weakly, or not be hashed
        found = StashedFunction(stash, callee.function, _DEFAULTS)
    return found.bound_to(callee) if callee.args or callee.kwargs else found


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
        return StashedFunction(stash, function, chosen)

    return stashed if function is None else stashed(function)


@overload
def stashed_result(function: Callable[P, R], /) -> StashedFunction[P, R]: ...


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
