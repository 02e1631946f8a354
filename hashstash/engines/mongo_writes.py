"""Single writes to MongoDB, each one atomic operation of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from .lost_answers import LostAnswerError

if TYPE_CHECKING:
    from pymongo.collection import Collection

    from .mongo_pieces import Document

DUPLICATE = 11000
"""The server's code for a key that is there already."""


def current_etag(rows: Collection[Document], key: bytes) -> bytes | None:
    """Return the ETag of the row under ``key``, or None if there is none."""
    with answered():
        found = rows.find_one({"_id": key}, {"e": 1})
    return None if found is None else found.get("e")


@contextmanager
def answered() -> Iterator[None]:
    """Tell writes whose answer was lost from those that were never sent."""
    try:
        yield
    except ServerSelectionTimeoutError as exc:
        raise LostAnswerError(exc, sent=False) from exc
    except (ConnectionFailure, WriteConcernError) as exc:
        raise LostAnswerError(exc) from exc


def replace(
    rows: Collection[Document], wanted: Document, document: Document, *, upsert: bool
) -> Document | None:
    """Replace one document; return what the earlier one says of its pieces, or None."""
    while True:
        try:
            with answered():
                return rows.find_one_and_replace(wanted, document, {"c": 1}, upsert=upsert)
        except DuplicateKeyError:
            continue  # two writers inserted the key at once: now it is there to be replaced


def insert(rows: Collection[Document], document: Document) -> bool:
    """Insert a document; report whether its key was free."""
    try:
        with answered():
            rows.insert_one(document)
    except DuplicateKeyError:
        return False
    return True


def remove(rows: Collection[Document], wanted: Document) -> Document | None:
    """Remove one document; return what it says of its pieces, or None if there was none."""
    with answered():
        return rows.find_one_and_delete(wanted, {"c": 1})


def lost_races(exc: BulkWriteError, keys: list[bytes]) -> list[bytes]:
    """Return the keys that others inserted at the same moment; raise if anything else failed."""
    errors = exc.details["writeErrors"]
    if exc.details["writeConcernErrors"] or any(error["code"] != DUPLICATE for error in errors):
        raise exc
    return [keys[error["index"]] for error in errors]
