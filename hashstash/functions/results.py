"""Functions whose results are stashed: ``stash.run`` and ``@stashed_result``."""

from __future__ import annotations

import functools
import json
import sys
import threading
import warnings
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

from hashstash.codec import NO_KEY_PART, KeyPart
from hashstash.errors import SerializationError, SizeLimitError
from hashstash.expiry import expiry_field, is_expired, seconds_of
from hashstash.keys import stored_key
from hashstash.rows import META, pack_field, time_of
from hashstash.signing import Keyring

from .calls import Binder
from .explain import Explanation, explain
from .flight import Flight, Found
from .function_stash import FunctionStash
from .identity import Callee, Identity, callee_of, code_token, identity_of
from .options import ResultOptions
from .states import forget_other_states, remember_state

if TYPE_CHECKING:
    from hashstash.engines import Engine
    from hashstash.settings import Settings
    from hashstash.stash import HashStash

P = ParamSpec("P")
R = TypeVar("R")


Address = tuple[bytes, bytes | None]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class UnstorableResultWarning(UserWarning):
    """A result could not be stored: it was returned, and will be computed again next time."""


class CacheInfo(NamedTuple):
    """Counts of this process since the function was stashed, as ``functools`` has them."""

    hits: int
    misses: int
    maxsize: None
    currsize: int


class Target(NamedTuple):
    """Where results go while the function's code stays as it is."""

    token: object
    stash: FunctionStash
    flight: Flight | None


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
        self._binder = Binder(self._callee.function, options.ignore)
        self._refresh_after = int((seconds_of(options.refresh_after, "refresh_after") or 0) * 1e9)
        self._ttl = seconds_of(options.ttl, "ttl")
        self._exceptions_ttl = seconds_of(options.exceptions_ttl, "exceptions_ttl") or self._ttl
        self._kept = options.kept_exceptions
        self._shared = _Shared()
        self._pinned: Target | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of this call, computed now if there is none."""
        call = self.complete(args, kwargs)
        target = self._target()
        key = target.stash.call_key(*call)
        address = stored, canonical = stored_key(key)
        row = target.stash._get(stored)
        if row is not None and not is_expired(row, stored):
            value = cast("R", target.stash._decode(row, stored, canonical))
            self._shared.hits += 1
            if self._refresh_after and time_ns() - time_of(row) > self._refresh_after:
                self._refresh_in_background(target, call, key)
            return value
        return self._fly(target, call, key, address, since=0)[0]

    def __get__(self, instance: object, owner: type | None = None) -> StashedFunction[..., R]:
        if instance is None:
            return self
        callee = self._callee
        return self.bound_to(Callee(callee.function, (*callee.args, instance), callee.kwargs))

    def bound_to(self, callee: Callee) -> StashedFunction[..., R]:
        """Return the same stashed function with arguments that come before those of a call."""
        made: StashedFunction[..., R] = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._callee = callee
        return made

    def __repr__(self) -> str:
        return f"<stashed {self.__wrapped__!r} in {self._parent!r}>"

    def __stable_key__(self) -> object:
        return self.__wrapped__

    def __reduce__(self) -> str | tuple[Any, ...]:
        found: Any = sys.modules.get(self.__wrapped__.__module__)
        for name in self.__wrapped__.__qualname__.split("."):
            found = getattr(found, name, None)
        if found is self:
            return str(self.__wrapped__.__qualname__)
        return StashedFunction, (self._parent, self.__wrapped__, self._options)

    @property
    def stash(self) -> FunctionStash:
        """The stash of the results; its keys read ``((args...), {kwargs...})``."""
        return self._target().stash

    # -- one call ---------------------------------------------------------------------------

    def get_func(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Return the stored result of this call, or None; nothing is computed."""
        args_, kwargs_ = self.complete(args, kwargs)
        found: R | None = self.stash.get_func(*args_, **kwargs_)
        return found

    def is_cached(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Tell whether this call would be answered from the stash."""
        target, call = self._target(), self.complete(args, kwargs)
        stored, _ = stored_key(target.stash.call_key(*call))
        row = target.stash._get(stored)
        return row is not None and not is_expired(row, stored)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the stored result of this call; report whether there was one."""
        stash = self.stash
        stored, _ = stored_key(stash.call_key(*self.complete(args, kwargs)))
        failed = bool(self._kept) and _failures(stash).delete(stored)
        return (stash._writer or stash._open_writer()).delete(stored) or failed

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute this call now, and store the result in place of an earlier one."""
        target, call = self._target(), self.complete(args, kwargs)
        key = target.stash.call_key(*call)
        return self._fly(target, call, key, stored_key(key), since=time_ns())[0]

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Return why this call would hit or miss: expired, changed code, or which argument."""
        stash = self.stash
        return explain(
            self._home(), stash, stash.identity, stash.call_key(*self.complete(args, kwargs))
        )

    # -- all calls --------------------------------------------------------------------------

    def cache_info(self) -> CacheInfo:
        """Return hits and misses of this process, and how many results are stored."""
        return CacheInfo(self._shared.hits, self._shared.misses, None, len(self.stash))

    def cache_clear(self) -> None:
        """Remove the results of this state of the code, and begin to count anew."""
        self.stash.clear()
        _failures(self.stash).clear()
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

    def compute_keyed(
        self, call: Arguments, key: Any, address: Address, *, force: bool
    ) -> tuple[R, bool]:
        """Return the result under ``key``, computed if there is none, and whether it is stored."""
        call = self.complete(*call)
        since = time_ns() if force else 0
        return self._fly(self._target(), call, key, address, since=since)

    def compute_unstored(self, call: Arguments) -> R:
        """Return what the function returns; nothing is looked up or stored."""
        args, kwargs = self.complete(*call)
        result: R = self._callee.function(*args, **kwargs)
        return result

    def portable(self) -> tuple[Any, Identity, ResultOptions]:
        """Return what a worker needs to store results where this one does."""
        importable = isinstance(self.__reduce__(), str)
        carried: Any = self if importable else self._callee
        return carried, self.stash.identity, self._options

    @classmethod
    def from_portable(
        cls, carried: Any, identity: Identity, options: ResultOptions, settings: Settings, keys: Any
    ) -> StashedFunction[..., Any]:
        """Return, in a worker, the function that ``portable`` described, pinned to its stash."""
        callee = carried._callee if isinstance(carried, StashedFunction) else Callee(*carried)
        made: StashedFunction[..., Any] = cls(None, callee.function, options)
        made._callee = callee
        keyring = Keyring(keys, settings.namespace)
        stash = FunctionStash.at(settings, keyring, identity, made._binder, options)
        flight = Flight(stash._engine, stash._codec) if options.single_flight else None
        made._pinned = Target(None, stash, flight)
        return made

    # -- inside -----------------------------------------------------------------------------

    def _home(self) -> HashStash:
        assert self._parent is not None, "a function pinned to its stash has no other states"
        return self._parent

    def _target(self) -> Target:
        """Return where results go; another place once the code, or what it closes over, changed."""
        if self._pinned is not None:
            return self._pinned
        function, options = self._callee.function, self._options
        token = code_token(
            function, deps=options.on_change == "deps", versioned=options.version is not None
        )
        target = self._shared.target
        if target is not None and target.token == token:
            return target
        identity = identity_of(function, options.on_change, options.version)
        stash = FunctionStash.below(self._home(), identity, self._binder, options)
        flight = Flight(stash._engine, stash._codec) if options.single_flight else None
        remember_state(self._home(), identity)
        target = self._shared.target = Target(token, stash, flight)
        return target

    def _fly(
        self, target: Target, call: Any, key: Any, address: Address, *, since: int
    ) -> tuple[R, bool]:
        """Return a result written after ``since``, ours or another's, and whether it is stored."""
        stored, canonical = address

        def look() -> Found[tuple[R, bool]] | None:
            row = target.stash._get(stored)
            if row is None or time_of(row) < since or is_expired(row, stored):
                return None
            return Found((cast("R", target.stash._decode(row, stored, canonical)), True))

        def work() -> tuple[R, bool]:
            self._raise_kept(target.stash, stored)
            self._shared.misses += 1
            return self._compute(target.stash, call, key, address)

        return work() if target.flight is None else target.flight.run(stored, look, work)

    def _compute(
        self, stash: FunctionStash, call: Any, key: Any, address: Address
    ) -> tuple[R, bool]:
        args, kwargs = call
        stored, canonical = address
        # before the call, which may change its arguments
        key_part = stash._codec.key_part(stored, canonical, key)
        try:
            result: R = self._callee.function(*args, **kwargs)
        except self._kept as exc:
            self._keep_exception(stash, stored, exc)
            raise
        return result, self._store(stash, stored, key_part, result)

    def _store(
        self, stash: FunctionStash, stored: bytes, key_part: KeyPart, result: object
    ) -> bool:
        """Store a result; report whether it could be stored."""
        fields = expiry_field(self._ttl)
        if self._options.metadata is not None:
            fields += pack_field(META, json.dumps(self._options.metadata()).encode())
        try:
            row = stash._codec.encode_under(result, stored, key_part, fields)
        except (SerializationError, SizeLimitError) as exc:
            if self._options.strict:
                raise
            warnings.warn(
                f"The result of {self.__wrapped__!r} was not stored: {exc}",
                UnstorableResultWarning,
                stacklevel=2,
            )
            return False
        (stash._writer or stash._open_writer()).put(stored, row)
        return True

    def _refresh_in_background(self, target: Target, call: Any, key: Any) -> None:
        stored, canonical = stored_key(key)
        with self._shared.lock:
            if stored in self._shared.refreshing:
                return
            self._shared.refreshing.add(stored)

        def refresh() -> None:
            try:
                self._fly(target, call, key, (stored, canonical), since=time_ns())
            except Exception as exc:  # noqa: BLE001 - a thread has nobody to raise to
                warnings.warn(
                    f"Refreshing {self.__wrapped__!r} in the background failed, the earlier "
                    f"result stays: {exc!r}",
                    RuntimeWarning,
                    stacklevel=1,
                )
            finally:
                with self._shared.lock:
                    self._shared.refreshing.discard(stored)

        threading.Thread(target=refresh, name="hashstash-refresh", daemon=True).start()

    def _keep_exception(self, stash: FunctionStash, stored: bytes, error: Exception) -> None:
        fields = expiry_field(self._exceptions_ttl)
        try:
            row = stash._codec.encode_under(error, stored, NO_KEY_PART, fields)
        except SerializationError as exc:
            warnings.warn(
                f"The exception {error!r} was not stored: {exc}",
                UnstorableResultWarning,
                stacklevel=2,
            )
            return
        _failures(stash).put(stored, row)

    def _raise_kept(self, stash: FunctionStash, stored: bytes) -> None:
        if not self._kept:
            return
        row = _failures(stash).get(stored)
        if row is not None and not is_expired(row, stored):
            error = stash._decode(row, stored)
            if isinstance(error, self._kept):
                raise error


class _Shared:
    """What all bound copies of a stashed function share."""

    def __init__(self) -> None:
        self.hits = self.misses = 0
        self.lock = threading.Lock()
        self.refreshing: set[bytes] = set()
        self.target: Target | None = None


def _failures(stash: FunctionStash) -> Engine:
    """Return the table of kept exceptions, apart from the results."""
    return stash._engine.sibling("failures")
