"""Writes whose answer was lost: done or not done is found out, or said to be unknown.

Sending a write again is not harmless: the first one may have been done, seen and replaced by
others, whose row the second would then replace. An ETag belongs to one write alone, so the
row that is there afterwards tells what happened, except where somebody else wrote as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hashstash.errors import EngineUnavailableError

if TYPE_CHECKING:
    from .base import Engine

ATTEMPTS = 3
"""How often a conditional write is tried while its answers are lost."""


class LostAnswerError(Exception):
    """A request that may have been lost, or its answer.

    Args:
        error: what the client raised.
        sent: whether the server may have got it and changed something.
    """

    def __init__(self, error: BaseException, *, sent: bool = True) -> None:
        super().__init__(str(error) or type(error).__name__)
        self.error, self.sent = error, sent


def settle_put(write: Callable[[], None], etag: bytes, current: Callable[[], bytes | None]) -> None:
    """Write once; if the answer is lost, make sure that the row arrived.

    Args:
        write: stores the row, whatever is there.
        etag: the ETag of that row.
        current: returns the ETag of the row that is there, or None.

    Raises:
        LostAnswerError: nobody can tell whether it was stored.
    """
    try:
        write()
    except LostAnswerError as lost:
        if not lost.sent or not etag or _found(current, lost) != etag:
            raise


def settle_swap(
    attempt: Callable[[], bool],
    seen: bytes | None,
    etag: bytes | None,
    current: Callable[[], bytes | None],
) -> bool:
    """Compare and set; if an answer is lost, find out how it ended.

    Trying again is harmless where a row was seen: it is there only while no try succeeded. Where
    none was, the row of the first try may have been stored, found and removed by others.

    Args:
        attempt: compares and sets, atomically.
        seen: the ETag of the row that was seen, or None.
        etag: the ETag of the row to store; None to remove it.
        current: returns the ETag of the row that is there, or None.

    Returns:
        Whether the change was made.

    Raises:
        LostAnswerError: the server is away, or others wrote meanwhile, so that nobody can
            tell who replaced what.
    """
    doubt: LostAnswerError | None = None
    for _ in range(ATTEMPTS):
        try:
            done = attempt()
        except LostAnswerError as lost:
            doubt = doubt or lost
            if not lost.sent:
                break
            done = False
        if done or doubt is None:
            return done
        now = _found(current, doubt)
        if etag and now == etag:
            return True
        if now is None or now != seen:
            break
    assert doubt is not None
    raise doubt


def _found(current: Callable[[], bytes | None], doubt: LostAnswerError) -> bytes | None:
    try:
        return current()
    except LostAnswerError as lost:
        raise doubt from lost


def unavailable(engine: Engine, operation: str, lost: LostAnswerError) -> EngineUnavailableError:
    """Return the error to raise ``from lost.error``, which says what is known of the request."""
    said = str(engine.failure(operation, lost.error))
    if lost.sent:
        said += " Whether the change was made is not known: look before making it again."
    return EngineUnavailableError(
        said, engine=engine.name, operation=operation, place=engine.location
    )
