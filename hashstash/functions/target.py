"""Where the results of a function go, and how they get there."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hashstash.codec import NO_KEY_PART, KeyPart
from hashstash.errors import SerializationError, SizeLimitError
from hashstash.expiry import expiry_field, is_expired, seconds_of
from hashstash.rows import META, pack_field, time_of

from .flight import Flight
from .unavailable import forgiving, outage_of

if TYPE_CHECKING:
    from hashstash.engines import Engine

    from .function_stash import FunctionStash
    from .options import ResultOptions

Address = tuple[bytes, bytes | None]
"""The stored key of a call, and the whole canonical key if that is a digest."""

Put = Callable[[bytes, bytes], None]


class UnstorableResultWarning(UserWarning):
    """A result could not be stored: it was returned, and will be computed again next time."""


class Answer(NamedTuple):
    """What a call came to.

    Attributes:
        value: the result.
        problem: why it could not be stored, empty if that was said before; None if it is.
        computed: whether it was computed, and not found.
    """

    value: Any
    problem: str | None
    computed: bool


class Target:
    """Where results go while the function's code stays as it is, and how they get there.

    Args:
        token: is equal as long as the code is.
        stash: the results.
        options: how they are kept.
    """

    def __init__(self, token: object, stash: FunctionStash, options: ResultOptions) -> None:
        self.token, self.options = token, options
        self.shown = stash
        """What the user gets; all errors are raised there."""
        forgives = options.on_unavailable == "miss"
        self._outage = outage_of(stash._engine) if forgives else None
        self.stash = forgiving(stash) if forgives else stash
        self.flight = Flight(self.stash._engine, stash._codec) if options.single_flight else None
        self.kept = options.kept_exceptions
        self._ttl = seconds_of(options.ttl, "ttl")
        self._exceptions_ttl = seconds_of(options.exceptions_ttl, "exceptions_ttl") or self._ttl
        self._failures: Engine | None = None

    @property
    def results(self) -> Engine:
        """Where rows of results are written."""
        return self.stash._writer or self.stash._open_writer()

    def noted(self, note: Callable[[], None]) -> bool:
        """Have the server take a note; report whether it could."""

        def done() -> bool:
            note()
            return True

        return done() if self._outage is None else self._outage.attempt(done, False)

    @property
    def failures(self) -> Engine:
        """The table of kept exceptions, apart from the results."""
        if self._failures is None:
            self._failures = self.stash._engine.sibling("failures")
        return self._failures

    # -- reading ----------------------------------------------------------------------------

    def row(self, stored: bytes, since: int = 0) -> bytes | None:
        """Return the row of a result that may be used: one written after ``since``."""
        row = self.stash._get(stored)
        return row if row is not None and _is_good(row, stored, since) else None

    def latest_row(self, stored: bytes, since: int = 0) -> bytes | None:
        """Return what ``row`` does; of a copy close by, only if it is the latest."""
        row = self.stash._engine.latest(stored)
        return row if row is not None and _is_good(row, stored, since) else None

    def good_since(self, since: int) -> Callable[[bytes, bytes], bool]:
        """Return what tells whether a row, under its stored key, may be used."""
        return lambda row, stored: _is_good(row, stored, since)

    def value(self, row: bytes, address: Address) -> Any:
        """Return the result in a row."""
        return self.stash._decode(row, *address)

    def raise_kept(self, stored: bytes, since: int = 0) -> None:
        """Raise the exception that is kept for a call, if there is one."""
        if self.kept:
            error = self.kept_error(stored, since)
            if error is not None:
                raise error

    def kept_error(self, stored: bytes, since: int = 0) -> Exception | None:
        """Return the exception that is kept for a call, if there is one."""
        row = self.failures.get(stored)
        if row is None or not _is_good(row, stored, since):
            return None
        error = self.stash._decode(row, stored)
        return error if isinstance(error, self.kept) else None

    # -- writing ----------------------------------------------------------------------------

    def key_part(self, address: Address, key: Any) -> KeyPart:
        """Return what a row says of its key."""
        stored, canonical = address
        return self.stash._codec.key_part(stored, canonical, key)

    def store(
        self, stored: bytes, key_part: KeyPart, result: object, put: Put | None = None
    ) -> str | None:
        """Store a result; return why not, if it cannot be stored: "" if that was said before.

        Args:
            stored: the stored key of the call.
            key_part: what the row says of its key.
            result: what the call returned.
            put: stores a row.
        """
        fields = expiry_field(self._ttl)
        if self.options.metadata is not None:
            fields += pack_field(META, json.dumps(self.options.metadata()).encode())
        try:
            row = self.stash._codec.encode_under(result, stored, key_part, fields)
        except (SerializationError, SizeLimitError) as exc:
            if self.options.strict:
                raise
            return str(exc)
        (put or self.results.put)(stored, row)
        if self.kept:
            self.failures.delete(stored)
        return "" if self._outage is not None and self._outage.known else None

    def keep_error(self, stored: bytes, error: Exception) -> None:
        """Keep an exception, to be raised again."""
        fields = expiry_field(self._exceptions_ttl)
        try:
            row = self.stash._codec.encode_under(error, stored, NO_KEY_PART, fields)
        except SerializationError as exc:
            warn(f"The exception {error!r} was not stored: {exc}")
            return
        self.failures.put(stored, row)

    def forget(self, stored: bytes) -> bool:
        """Remove what is kept for a call; report whether there was something."""
        failed = bool(self.kept) and self.failures.delete(stored)
        return self.results.delete(stored) or failed

    def clear(self) -> None:
        """Remove all results and exceptions."""
        self.stash.clear()
        self.failures.clear()


def _is_good(row: bytes, stored: bytes, since: int) -> bool:
    return time_of(row) >= since and not is_expired(row, stored)


def warn(message: str, kind: type[Warning] = UnstorableResultWarning) -> None:
    """Warn whoever called into this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] == __name__.partition(".")[0]
