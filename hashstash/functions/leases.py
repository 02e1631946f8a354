"""Leases: rows that say who computes what, renewed as long as their owners live.

Whoever sees a lease unchanged for its whole term, by the own monotonic clock, takes it over; so
does whoever sees that the owner's process on this machine is gone. No clocks are compared, and
nothing is left when the owner is done.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from hashstash.codec import Codec
from hashstash.engines.base import ETAG, Engine
from hashstash.errors import CorruptRowError, HashStashError
from hashstash.rows import codec_header, parse, seal

from .owners import Owner, this_process
from .renewing import renewer

TERM = 10.0
"""Seconds after which a lease that is not renewed is up for others."""

LONGEST_TERM = 300.0
"""Waits are bounded: a lease that claims more is not believed, and an owner on this machine that
runs but does not renew is waited for no longer."""

ERROR_KEPT = 5.0
"""Seconds for which those who wait can read what the owner raised."""

_HEADER = codec_header("lease")


class Lessor:
    """Gives out the leases of one table.

    Args:
        table: where the leases are.
        codec: encodes an exception for those who wait in other processes.
        term: seconds of a lease.
    """

    def __init__(self, table: Engine, codec: Codec, term: float) -> None:
        self.table, self.codec, self.term = table, codec, term

    def lease(self, key: bytes, sheet: Sheet | None = None) -> Lease:
        """Return the lease of a key, to be taken."""
        return Lease(self, key, sheet or self.sheet())

    def sheet(self) -> Sheet:
        """Return what is written on new leases; many may have the same."""
        return Sheet(self.term)


class Sheet:
    """What is written on a lease.

    Args:
        term: seconds of the lease.
    """

    def __init__(self, term: float) -> None:
        self.id = token_hex(8)
        self.data = json.dumps(
            {"id": self.id, "term": term, **this_process()._asdict(), "waited_for": False,
             "error": None},
        ).encode()  # fmt: skip


class Lease:
    """The right to compute one key, held by one caller at a time.

    Args:
        lessor: whose table it is in.
        key: the stored key of the result.
        sheet: what is written on it.
    """

    __slots__ = ("_etag", "_lessor", "_sheet", "key", "renewed")

    def __init__(self, lessor: Lessor, key: bytes, sheet: Sheet) -> None:
        self._lessor, self.key, self._sheet = lessor, key, sheet
        self._etag = b""
        self.renewed = 0.0

    @property
    def pace(self) -> float:
        """How many seconds may go by before somebody looks whether it is to be renewed."""
        return self._lessor.term / 8

    def take(self, seen: bytes | None = None) -> bool:
        """Take the lease if nobody has it, or if who has it is still the one that was seen."""
        row = seal(self.key, _HEADER, self._sheet.data)
        if not self._lessor.table.compare_and_set(self.key, seen and seen[ETAG], row):
            return False
        self._etag, self.renewed = row[ETAG], time.monotonic()
        return True

    def tick(self, now: float) -> None:
        """Renew the lease if it is time: show that the owner lives."""
        if now - self.renewed > self._lessor.term / 4:
            self._change(lambda told: _written(self.key, told))
            self.renewed = now

    def release(self) -> None:
        """Give the lease up; its row is gone."""
        if not self._lessor.table.compare_and_set(self.key, self._etag, None):
            self._change(lambda told: None)

    def fail(self, error: BaseException) -> None:
        """Give the lease up; those who wait get the error, if it is one to be told."""
        waited_for = False

        def to_failed(told: dict[str, Any]) -> bytes | None:
            nonlocal waited_for
            waited_for = told["waited_for"] and isinstance(error, Exception)
            if not waited_for:
                return None
            return _written(self.key, {**told, "error": self._encoded(error)})

        self._change(to_failed)
        if waited_for:
            renewer.call_later(self.release, ERROR_KEPT)

    def _change(self, make: Callable[[dict[str, Any]], bytes | None]) -> None:
        """Replace our row, if it still is ours; waiters may mark it in between."""
        while True:
            row = self._lessor.table.get(self.key)
            told = None if row is None else read(row, self.key)
            if row is None or told is None or told["id"] != self._sheet.id:
                return
            new = make(told)
            if self._lessor.table.compare_and_set(self.key, row[ETAG], new):
                self._etag = b"" if new is None else new[ETAG]
                return

    def _encoded(self, error: BaseException) -> str:
        try:
            row = self._lessor.codec.encode(error, self.key)
        except HashStashError:  # it cannot be told; those who wait compute for themselves
            return ""
        return base64.b64encode(row).decode("ascii")


class Watch:
    """What a waiter has seen of the lease that it waits for.

    Args:
        lessor: whose table it is in.
        key: the stored key of the result.
    """

    def __init__(self, lessor: Lessor, key: bytes) -> None:
        self._lessor, self._key = lessor, key
        self._etag = b""
        self._since = 0.0
        self._waited_for: str | None = None

    def seen(self) -> tuple[bytes, dict[str, Any]] | None:
        """Return the lease that somebody has: its row, and what it says; None if nobody has."""
        row = self._lessor.table.get(self._key)
        if row is None:
            return None
        told = read(row, self._key)
        if told is None:  # not a lease: somebody else's bytes stand in the way
            self._lessor.table.delete(self._key)
            return None
        return row, told

    def is_over(self, row: bytes, told: dict[str, Any]) -> bool:
        """Tell whether a lease was given up, or its owner is dead."""
        now = time.monotonic()
        if row[ETAG] != self._etag:
            self._etag, self._since = row[ETAG], now
        owner = Owner(told["host"], told["pid"], told["start"])
        if told["error"] is not None or owner.is_gone():
            return True
        waited = now - self._since
        # Native code may keep an owner that is well from renewing; here that can be seen.
        return waited > told["term"] and (waited > LONGEST_TERM or not owner.is_at_work())

    def wait_for(self, row: bytes, told: dict[str, Any]) -> None:
        """Let the owner know that somebody waits."""
        if not told["waited_for"]:
            marked = _written(self._key, {**told, "waited_for": True})
            self._lessor.table.compare_and_set(self._key, row[ETAG], marked)
        self._waited_for = told["id"]

    def raise_failure(self, told: dict[str, Any]) -> None:
        """Raise the owner's error, if we waited while it computed."""
        if not told["error"] or self._waited_for != told["id"]:
            return
        try:
            row = base64.b64decode(told["error"], validate=True)
            error = self._lessor.codec.decode(row, self._key)
        except (HashStashError, ValueError):  # not for us to read: compute
            return
        if isinstance(error, Exception):
            raise error


def _written(key: bytes, told: dict[str, Any]) -> bytes:
    return seal(key, _HEADER, json.dumps(told).encode())


_KINDS: dict[str, type | tuple[type, ...]] = {
    "id": str, "term": (int, float), "host": str, "pid": int, "start": str,
    "waited_for": bool, "error": (str, type(None)),
}  # fmt: skip


def read(row: bytes, key: bytes) -> dict[str, Any] | None:
    """Return what a lease says, or None if it is not one."""
    try:
        told = json.loads(bytes(parse(row, key).payload))
    except (CorruptRowError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    if any(not isinstance(told.get(name), kind) for name, kind in _KINDS.items()):
        return None
    if not 0 < told["term"] <= LONGEST_TERM:
        return None
    return told
