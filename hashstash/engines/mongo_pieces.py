"""Rows that are too large for one document of MongoDB: numbered pieces beside the row.

The pieces are written first, under an id that no other write has, then the document that names
them; so a row is there as a whole or not at all. Whoever replaces that document removes them.
What a writer that died leaves behind is older than any writer at work when it is swept.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument

from .base import PAGE

if TYPE_CHECKING:
    from pymongo.collection import Collection

Document = dict[str, Any]

INLINE_BYTES = 15 << 20
"""The largest row that is kept in its document: MongoDB takes 16 MiB, names included."""

PIECE_BYTES = 4 << 20
"""Small enough to be sent within the timeout over a slow line."""

ORPHAN_SECONDS = 86_400
"""The age from which on a piece that no row names is not being written any more."""

ROW = {"r": 1, "c": 1, "n": 1, "s": 1}
"""The fields of a document that lead to its row."""

_ID_BYTES = 16


class Pieces:
    """The pieces of the large rows of one collection.

    A document is ``{_id: id of the set and number, k: the row's key, t: server's time, r: data}``.

    Args:
        rows: the collection of the rows.
        pieces: the collection beside.
    """

    def __init__(self, rows: Collection[Document], pieces: Collection[Document]) -> None:
        self._rows, self._pieces = rows, pieces

    def write(self, key: bytes, row: bytes) -> Document:
        """Write the pieces of ``row``; return the fields that name them.

        Raises:
            TimeoutError: it took so long that a sweep may have removed the first ones.
        """
        started = time.time()
        identity = os.urandom(_ID_BYTES)
        view = memoryview(row)
        count = -(-len(row) // PIECE_BYTES)
        for number in range(count):
            data = bytes(view[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
            self._pieces.update_one(
                {"_id": _piece_id(identity, number)},
                # the server's clock, as those of the writers may differ
                {"$set": {"k": key, "r": data}, "$currentDate": {"t": True}},
                upsert=True,
            )
        if time.time() - started > ORPHAN_SECONDS / 2:
            raise TimeoutError(f"Writing {len(row)} bytes took more than {ORPHAN_SECONDS // 2} s")
        return {"c": identity, "n": count, "s": len(row)}

    def read(self, key: bytes, document: Document) -> bytes | None:
        """Return the row that ``document`` names the pieces of.

        If the row was replaced meanwhile, the one that is there now, or None; if pieces are
        missing, the others: the row's checksum tells.
        """
        while True:
            identity, count = document.get("c"), document.get("n")
            if type(identity) is not bytes or type(count) is not int:
                return b""  # planted: nothing that this engine writes
            found = self._pieces.find(_all_of(identity), {"_id": 0, "r": 1}).sort("_id", 1)
            row = b"".join(data for piece in found if type(data := piece.get("r")) is bytes)
            if len(row) == document.get("s"):
                return row
            now = self._rows.find_one({"_id": key}, ROW)
            if now is None or type(now.get("r")) is bytes:
                return None if now is None else bytes(now["r"])
            if now.get("c") == identity:
                return row
            document = now

    def named_by(self, keys: list[bytes]) -> list[Document]:
        """Return what the large ones of the rows under ``keys`` say of their pieces."""
        return list(self._rows.find({"_id": {"$in": keys}, "c": {"$type": "binData"}}, {"c": 1}))

    def remove(self, identities: list[bytes]) -> None:
        """Remove sets that no row names any more."""
        for identity in identities:
            self._pieces.delete_many(_all_of(identity))

    def sweep(self) -> int:
        """Remove sets that no row names and nobody is writing; return how many."""
        last, removed = b"", 0
        before = self._time() - timedelta(seconds=ORPHAN_SECONDS)
        while True:
            old = {"_id": {"$gt": last}, "k": {"$type": "binData"}, "t": {"$lt": before}}
            page = list(self._pieces.find(old, {"k": 1}).sort("_id", 1).limit(PAGE))
            keys = list({piece["k"] for piece in page})
            named = {document["c"] for document in self.named_by(keys)}
            orphans = {piece["_id"][:_ID_BYTES] for piece in page} - named
            self.remove(list(orphans))
            removed += len(orphans)
            if len(page) < PAGE:
                return removed
            last = page[-1]["_id"]

    def _time(self) -> Any:
        """Return the server's time."""
        clock = self._pieces.find_one_and_update(
            {"_id": "clock"},
            {"$currentDate": {"t": True}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        self._pieces.delete_one({"_id": "clock"})
        assert clock is not None
        return clock["t"]


def _piece_id(identity: bytes, number: int) -> bytes:
    return identity + number.to_bytes(4, "big")


def _all_of(identity: bytes) -> Document:
    return {"_id": {"$gte": _piece_id(identity, 0), "$lte": identity + b"\xff" * 4}}
