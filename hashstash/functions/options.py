"""How results of a function are kept: the options of ``@stashed_result``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from hashstash.errors import ConfigurationError
from hashstash.expiry import Seconds, seconds_of

from .identity import ON_CHANGE, OnChange


@dataclass(frozen=True)
class ResultOptions:
    """How results of a function are kept.

    Attributes:
        ignore: names of parameters that are no part of the key.
        key: a function of the arguments that returns the key instead of the arguments.
        hash: a function of the key that returns text to be used in its place.
        metadata: a function without arguments whose result (JSON data) is kept with each entry.
        on_change: what makes earlier results stale: a change of the function's own code
            (``body``), of functions of the same package that it calls too (``deps``), or
            nothing (``ignore``).
        version: stands for the state of the code instead.
        ttl: seconds, or a timedelta, for which a result is good.
        refresh_after: seconds, or a timedelta, after which a result is still returned, and
            computed anew in the background.
        cache_exceptions: types of exceptions that are kept, and raised again, like results.
        exceptions_ttl: seconds, or a timedelta, for which they are; default: ``ttl``.
        strict: whether a result that cannot be stored is an error and not a warning.
        single_flight: whether callers of the same missing key wait for one computation.
        on_unavailable: what to do while the server that keeps the results is away: ``raise``, or
            ``miss``: compute without it, warn once, and try it again every half a minute.
    """

    ignore: Collection[str] = ()
    key: Callable[..., Any] | None = None
    hash: Callable[[Any], str] | None = None
    metadata: Callable[[], Any] | None = None
    on_change: OnChange = "body"
    version: object = None
    ttl: Seconds | None = None
    refresh_after: Seconds | None = None
    cache_exceptions: type[Exception] | tuple[type[Exception], ...] = ()
    exceptions_ttl: Seconds | None = None
    strict: bool = False
    single_flight: bool = True
    on_unavailable: Literal["raise", "miss"] = "raise"

    def __post_init__(self) -> None:
        for name in ("ttl", "refresh_after", "exceptions_ttl"):
            seconds_of(getattr(self, name), name)
        if self.on_change not in ON_CHANGE:
            raise ConfigurationError(
                f"on_change is one of {', '.join(ON_CHANGE)}, not {self.on_change!r}"
            )
        if self.on_unavailable not in {"raise", "miss"}:
            raise ConfigurationError(
                f"on_unavailable is 'raise' or 'miss', not {self.on_unavailable!r}"
            )
        if self.key is not None and self.ignore:
            raise ConfigurationError("key= says what the key is, so that ignore= has no meaning")
        for kind in self.kept_exceptions:
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise TypeError(f"cache_exceptions are types of exceptions, not {kind!r}")

    @property
    def kept_exceptions(self) -> tuple[type[Exception], ...]:
        """The types of exceptions that are kept."""
        kept = self.cache_exceptions
        return kept if isinstance(kept, tuple) else (kept,)
