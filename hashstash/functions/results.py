"""Functions whose results are stashed: ``stash.run`` and ``@stashed_result``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

from hashstash.expiry import is_expired, seconds_of
from hashstash.keys import stored_key
from hashstash.rows import time_of
from hashstash.signing import Keyring

from .calls import Binder
from .claims import Claim
from .explain import Explanation, explain
from .flight import Found
from .function_stash import FunctionStash
from .identity import Callee, Identity, callee_of, code_token, identity_of
from .options import ResultOptions
from .refreshing import refresher
from .states import forget_other_states, remember_state
from .target import Address, Answer, Target, UnstorableResultWarning, warn

if TYPE_CHECKING:
    from hashstash.settings import Settings
    from hashstash.stash import HashStash

__all__ = ["CacheInfo", "StashedFunction", "UnstorableResultWarning"]

P = ParamSpec("P")
R = TypeVar("R")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class CacheInfo(NamedTuple):
    """Counts of this process since the function was stashed, as ``functools`` has them."""

    hits: int
    misses: int
    maxsize: None
    currsize: int


class StashedFunction(Generic[P, R]):
    """A function whose results are stashed; call it as the function itself.

    Args:
        parent: the stash below which the results are kept; None for one pinned to its own.
        function: any callable.
        options: how results are kept.
    """

    __wrapped__: Callable[P, R]

    def __init__(
        self, parent: HashStash | None, function: Callable[P, R], options: ResultOptions
    ) -> None:
        functools.update_wrapper(self, function)
        self._parent, self._options = parent, options
        self._callee = callee_of(function)
        self._unbound: StashedFunction[..., R] | None = None
        self._binder = Binder(self._callee.function, options.ignore)
        self._refresh_after = int((seconds_of(options.refresh_after, "refresh_after") or 0) * 1e9)
        self._shared = _Shared()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, computed now if there is none."""
        call = self.complete(args, kwargs)
        target = self.target()
        key = target.stash.call_key(*call)
        address = stored, canonical = stored_key(key)
        row = target.stash._get(stored)
        if row is not None and not is_expired(row, stored):
            value = cast("R", target.stash._decode(row, stored, canonical))
            self._shared.hits += 1
            if self.is_stale(row):
                self._refresh_in_background(target, call, key, address)
            return value
        target.raise_kept(stored)
        return self._told(self._fly(target, call, key, address))

    def __get__(self, instance: object, owner: type | None = None) -> StashedFunction[..., R]:
        if instance is None:
            return self
        callee = self._callee
        return self.bound_to(Callee(callee.function, (*callee.args, instance), callee.kwargs))

    def bound_to(self, callee: Callee) -> StashedFunction[..., R]:
        """Return the same stashed function with arguments that come before those of a call."""
        made: StashedFunction[..., R] = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._callee, made._unbound = callee, self._unbound or self
        return made

    def __repr__(self) -> str:
        return f"<stashed {self.__wrapped__!r} in {self._parent!r}>"

    def __stable_key__(self) -> object:
        return self.__wrapped__ if self._unbound is None else (self.__wrapped__, self._callee)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self._unbound is not None:
            return _bound, (self._unbound, *self._callee)
        if self.is_importable():
            return str(self.__wrapped__.__qualname__)
        return type(self), (self._parent, self.__wrapped__, self._options)

    def is_importable(self) -> bool:
        """Tell whether this is what its module has under its name."""
        found: Any = sys.modules.get(getattr(self.__wrapped__, "__module__", ""))
        for name in getattr(self.__wrapped__, "__qualname__", "").split("."):
            found = getattr(found, name, None)
        return found is self

    @property
    def stash(self) -> FunctionStash:
        """The stash of the results; its keys read ``((args...), {kwargs...})``."""
        return self.target().shown

    # -- one call ---------------------------------------------------------------------------

    def get_func(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored result of this call, or None; nothing is computed."""
        args_, kwargs_ = self.complete(args, kwargs)
        found: R | None = self.stash.get_func(*args_, **kwargs_)
        return found

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Tell whether this call would be answered from the stash."""
        target, stored = self._place_of(args, kwargs)
        return target.row(stored) is not None

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the stored result of this call; report whether there was one."""
        target, stored = self._place_of(args, kwargs)
        return target.forget(stored)

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call now, and store the result in place of an earlier one."""
        target, call = self.target(), self.complete(args, kwargs)
        key = target.stash.call_key(*call)
        return self._told(self._fly(target, call, key, stored_key(key), since=time_ns()))

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Return why this call would hit or miss: expired, changed code, or which argument."""
        target = self.target()
        return explain(self._home(), target, target.stash.call_key(*self.complete(args, kwargs)))

    # -- all calls --------------------------------------------------------------------------

    def cache_info(self) -> CacheInfo:
        """Return hits and misses of this process, and how many results are stored."""
        return CacheInfo(self._shared.hits, self._shared.misses, None, len(self.stash))

    def cache_clear(self) -> None:
        """Remove the results of this state of the code, and begin to count anew."""
        self.target().clear()
        self._shared.hits = self._shared.misses = 0

    def prune(self) -> int:
        """Remove the results of earlier states of the code; return of how many states."""
        return forget_other_states(self._home(), self.stash)

    # -- for maps ---------------------------------------------------------------------------

    def complete(self, args: Any, kwargs: Any) -> Arguments:
        """Return the arguments of a call with those that the callable was bound to before."""
        callee = self._callee
        if callee.args or callee.kwargs:
            return (*callee.args, *args), {**callee.kwargs, **kwargs}
        return args, kwargs

    def is_stale(self, row: bytes) -> bool:
        """Tell whether a result may be used but is to be computed anew."""
        return bool(self._refresh_after) and time_ns() - time_of(row) > self._refresh_after

    def answer(
        self, call: Arguments, key: Any, address: Address, since: int, claim: Claim | None
    ) -> Answer:
        """Return the result under ``key``, computed unless there is one written after ``since``."""
        call = self.complete(*call)
        return self._fly(self.target(), call, key, address, since=since, claim=claim)

    def compute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Return what the function returns; nothing is looked up or stored."""
        result: R = self._callee.function(*args, **kwargs)
        return result

    def portable(self) -> tuple[Any, Identity, ResultOptions]:
        """Return what a worker needs to store results where this one does."""
        unbound = self._unbound or self
        importable = unbound.is_importable() and unbound.__wrapped__.__module__ != "__main__"
        carried: Any = self if importable else self._callee
        return carried, self.stash.identity, self._options

    @classmethod
    def from_portable(
        cls, callee: Callee, identity: Identity, options: ResultOptions, settings: Settings,
        keys: Any,
    ) -> StashedFunction[..., Any]:  # fmt: skip
        """Return, in a worker, the function that ``portable`` described, pinned to its stash."""
        made: StashedFunction[..., Any] = cls(None, callee.function, options)
        made._callee = callee
        keyring = Keyring(keys, settings.namespace)
        stash = FunctionStash.at(settings, keyring, identity, made._binder, options)
        made._shared.target = Target(None, stash, options)
        return made

    def target(self) -> Target:
        """Return where results go; another place once the code, or what it closes over, changed."""
        target = self._shared.target
        if self._parent is None and target is not None:
            return target
        function, options = self._callee.function, self._options
        token = code_token(
            function, deps=options.on_change == "deps", versioned=options.version is not None
        )
        if target is not None and target.token == token:
            return target
        identity = identity_of(function, options.on_change, options.version)
        stash = FunctionStash.below(self._home(), identity, self._binder, options)
        target = Target(token, stash, options)
        if target.noted(lambda: remember_state(self._home(), identity)):
            self._shared.target = target
        return target

    # -- inside -----------------------------------------------------------------------------

    def _home(self) -> HashStash:
        assert self._parent is not None, "a function pinned to its stash has no other states"
        return self._parent

    def _place_of(self, args: Any, kwargs: Any) -> tuple[Target, bytes]:
        target = self.target()
        stored, _ = stored_key(target.stash.call_key(*self.complete(args, kwargs)))
        return target, stored

    def _told(self, answer: Answer) -> R:
        """Return the result of an answer, after saying what has to be said of it."""
        if answer.problem:
            warn(f"The result of {self.__wrapped__!r} was not stored: {answer.problem}")
        return cast("R", answer.value)

    def _fly(
        self, target: Target, call: Arguments, key: Any, address: Address, *, since: int = 0,
        claim: Claim | None = None,
    ) -> Answer:  # fmt: skip
        """Return a result written after ``since``, ours or another's."""
        stored = address[0]

        def look() -> Found[Answer] | None:
            row = target.latest_row(stored, since)
            return None if row is None else Found(Answer(target.value(row, address), None, False))

        def work() -> Answer:
            target.raise_kept(stored, since)
            self._shared.misses += 1
            # before the call, which may change its arguments
            key_part = target.key_part(address, key)
            try:
                result = self.compute(*call)
            except target.kept as exc:
                target.keep_error(stored, exc)
                raise
            put = None if claim is None else claim.put
            return Answer(result, target.store(stored, key_part, result, put), True)

        if target.flight is None:
            return work()
        return target.flight.run(stored, look, work, claim)

    def _refresh_in_background(
        self, target: Target, call: Arguments, key: Any, address: Address
    ) -> None:
        since = time_ns()
        refresher.ask(
            (target.stash._engine.place, address[0]),
            lambda: self._told(self._fly(target, call, key, address, since=since)),
            repr(self.__wrapped__),
        )


class _Shared:
    """What all bound copies of a stashed function share."""

    def __init__(self) -> None:
        self.hits = self.misses = 0
        self.target: Target | None = None


def _bound(
    stashed: StashedFunction[..., R],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> StashedFunction[..., R]:
    """Return a stashed function bound as it was before it was pickled."""
    return stashed.bound_to(Callee(stashed._callee.function, args, kwargs))
