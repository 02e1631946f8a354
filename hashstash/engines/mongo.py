"""The engine ``mongo``: a document for each row, in MongoDB and what speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from hashstash.errors import ConfigurationError, EngineError

from .base import ETAG, PAGE, Place, pages
from .batches import BATCH_BYTES, batches
from .lost_answers import LostAnswerError, settle_put, settle_swap, unavailable
from .mongo_pieces import INLINE_BYTES, ROW, Document, Pieces
from .mongo_writes import answered, current_etag, insert, lost_races, remove, replace
from .remote import TIMEOUT, RemoteEngine
from .server_names import PLAIN, bounded, escaped

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from typing_extensions import Self

DATABASE = "hashstash"
"""The database when nobody names one."""

OURS: Document = {"_id": {"$gte": b""}}
"""Documents whose key is binary: all that this engine ever wrote."""

PIECES = ":pieces"
"""What the name of the collection of a table's pieces ends with."""

_FORBIDDEN = frozenset('/\\. "$*<>:|?\0')
_PLAIN = PLAIN | {"/"}
_FIRST_PAGE = 16
"""So few rows that they fit in memory however large they are; pages grow if they are small."""

_NAME, _TABLE = 60, 24
"""With the default database, a collection's name stays below 120 bytes, as old servers ask."""

# Documents that others planted must not fail where they are only passed over.
_CODEC: CodecOptions[Document] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


class MongoEngine(RemoteEngine["pymongo.MongoClient[Document]"]):
    """Rows in a collection of their own, ``_id`` being the stored key.

    A document is ``{_id, e: ETag, r: row}``; a row that is too large for one names its pieces
    in a collection beside instead. Every write waits for the majority of a replica set, and
    every read asks the primary, whatever the URL says.

    Args:
        place: where the rows are kept.
        url: the server, ``mongodb://...`` or ``mongodb+srv://...``, with any option that
            MongoDB documents for it; by default ``HASHSTASH_MONGO_URL``, else this machine.
        database: the database; by default the one in the URL, else ``hashstash``.
        timeout: seconds that connecting, or waiting for one answer, may take.

    Raises:
        ConfigurationError: the URL, the database or the timeout cannot be used.
    """

    name = "mongo"
    title = "Mongo"
    default_url = "mongodb://127.0.0.1:27017"
    unreachable = (ConnectionFailure, WriteConcernError)
    durabilities = frozenset({"process", "system"})

    def __init__(
        self,
        place: Place,
        *,
        url: str | None = None,
        database: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(place, url=url, timeout=timeout)
        self._given_database = database
        self.database = _checked(database or _database_in(self.url) or DATABASE)
        place_name = bounded(escaped(place.name, _PLAIN), _NAME)
        self._prefix = f"hs.{place_name}:"
        self._table = self._prefix + bounded(escaped(place.table), _TABLE)
        self._opened: Collection[Document] | None = None

    def _at(self, place: Place) -> Self:
        return type(self)(place, url=self.url, database=self._given_database, timeout=self.timeout)

    # -- the client -------------------------------------------------------------------------

    def connect(self) -> pymongo.MongoClient[Document]:
        """Return a client, which connects when it is first used."""
        milliseconds = int(self.timeout * 1000)
        try:
            return pymongo.MongoClient(
                self.url.reveal(self.variable()),
                connect=False,
                appname="hashstash",
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                waitQueueTimeoutMS=milliseconds,
            )
        except (PyMongoError, ValueError) as exc:
            said = self.url.hide(str(exc))
            raise ConfigurationError(f"The mongo engine cannot use {self.url}: {said}") from None

    @staticmethod
    def disconnect(client: pymongo.MongoClient[Document]) -> None:
        """Close a client that nobody uses."""
        client.close()

    def _collection(
        self, client: pymongo.MongoClient[Document], name: str | None = None
    ) -> Collection[Document]:
        journal = True if self.place.durability == "system" else None
        return client[self.database].get_collection(
            name or self._table,
            read_preference=pymongo.ReadPreference.PRIMARY,
            write_concern=pymongo.WriteConcern(w="majority", j=journal),
            codec_options=_CODEC,
        )

    def _pieces(self, rows: Collection[Document]) -> Pieces:
        return Pieces(rows, self._collection(rows.database.client, rows.name + PIECES))

    @contextmanager
    def _rows(self, operation: str) -> Iterator[Collection[Document]]:
        """Give the collection; turn the client's errors into ours."""
        target = self._held()
        rows = self._opened
        if rows is None or rows.database.client is not target.client:
            rows = self._opened = self._collection(target.client)
        try:
            yield rows
        except LostAnswerError as lost:
            raise unavailable(self, operation, lost) from lost.error
        except BulkWriteError as exc:
            # Its own text has whole rows in it.
            said = [*exc.details["writeErrors"], *exc.details["writeConcernErrors"]]
            raise self.failure(operation, PyMongoError(str(said[0].get("errmsg")))) from None
        except PyMongoError as exc:
            raise self.failure(operation, exc) from exc

    def failure(self, operation: str, exc: BaseException) -> EngineError:
        """Return the error to raise ``from exc``: ours, and without passwords."""
        if isinstance(exc, ServerSelectionTimeoutError):  # it goes on and on
            exc = ServerSelectionTimeoutError(str(exc).partition(", Timeout: ")[0])
        return super().failure(operation, exc)

    # -- one row ----------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        with self._rows("get") as rows:
            found = rows.find_one({"_id": key}, ROW)
            return None if found is None else self._row(rows, key, found)

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than that of ``etag``, and then what it is."""
        with self._rows("get") as rows:
            found = rows.find_one({"_id": key}, {"e": 1})
        if found is None:
            return True, None
        return (False, None) if found.get("e") == etag else (True, self.get(key))

    def _row(self, rows: Collection[Document], key: bytes, document: Document) -> bytes | None:
        row = document.get("r")
        if type(row) is bytes:
            return row
        return self._pieces(rows).read(key, document)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        with self._rows("contains") as rows:
            return rows.find_one({"_id": key}, {"_id": 1}) is not None

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        with self._rows("put") as rows:
            document = self._document(rows, key, row)

            def write() -> None:
                replaced = replace(rows, {"_id": key}, document, upsert=True)
                self._discard(rows, replaced)

            settle_put(write, row[ETAG], lambda: current_etag(rows, key))

    def _document(self, rows: Collection[Document], key: bytes, row: bytes) -> Document:
        """Return the document that holds ``row``, or names its pieces, written just now."""
        if len(row) > INLINE_BYTES:
            return {"_id": key, "e": row[ETAG], **self._pieces(rows).write(key, row)}
        return {"_id": key, "e": row[ETAG], "r": row}

    def _discard(self, rows: Collection[Document], *replaced: Document | None) -> None:
        """Remove the pieces of rows that are no longer there."""
        large = [document["c"] for document in replaced if document and "c" in document]
        if large:
            try:
                self._pieces(rows).remove([name for name in large if type(name) is bytes])
            except PyMongoError:
                pass  # the write itself is done; a sweep removes what is left

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        with self._rows("delete") as rows:
            removed = remove(rows, {"_id": key})
            self._discard(rows, removed)
            return removed is not None

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        if row is None and etag is None:
            return not self.contains(key)
        with self._rows("compare_and_set") as rows:
            document = None if row is None else self._document(rows, key, row)
            done = settle_swap(
                lambda: self._swap(rows, key, etag, document),
                etag,
                None if row is None else row[ETAG],
                lambda: current_etag(rows, key),
            )
            if not done:
                self._discard(rows, document)
            return done

    def _swap(
        self, rows: Collection[Document], key: bytes, etag: bytes | None, document: Document | None
    ) -> bool:
        if etag is None:
            assert document is not None
            return insert(rows, document)
        if document is None:
            seen = remove(rows, {"_id": key, "e": etag})
        else:
            seen = replace(rows, {"_id": key, "e": etag}, document, upsert=False)
        self._discard(rows, seen)
        return seen is not None

    # -- many rows --------------------------------------------------------------------------

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        remaining = iter(keys)
        size = _FIRST_PAGE
        while page := next(pages(remaining, size), None):
            with self._rows("get_many") as rows:
                found = {
                    document["_id"]: self._row(rows, document["_id"], document)
                    for document in rows.find({"_id": {"$in": page}}, ROW)
                }
            yield from ((key, found.get(key)) for key in page)
            size = _next_size(size, found.values())

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows, in batches; each write stands alone."""
        for batch in batches(items, PAGE):
            small = {key: row for key, row in batch.items() if len(row) <= INLINE_BYTES}
            for key in batch.keys() - small.keys():
                self.put(key, batch[key])
            if small:
                self._put_batch(small)

    def _put_batch(self, batch: dict[bytes, bytes]) -> None:
        writes = [
            pymongo.ReplaceOne({"_id": key}, {"_id": key, "e": row[ETAG], "r": row}, upsert=True)
            for key, row in batch.items()
        ]
        with self._rows("put_many") as rows:
            replaced = self._pieces(rows).named_by(list(batch))
            again: list[bytes] = []
            try:
                with answered():
                    rows.bulk_write(writes, ordered=False)
            except BulkWriteError as exc:
                again = lost_races(exc, list(batch))
            self._discard(rows, *replaced)
        for key in again:
            self.put(key, batch[key])

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        removed = 0
        for page in pages(keys, PAGE):
            with self._rows("delete_many") as rows:
                named = self._pieces(rows).named_by(page)
                with answered():
                    removed += rows.delete_many({"_id": {"$in": page}}).deleted_count
                self._discard(rows, *named)
        return removed

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, a page at a time."""
        return (document["_id"] for document in self._documents({"_id": 1}, PAGE))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row."""
        for document in self._documents(ROW, _FIRST_PAGE):
            row = document["r"]
            if row is not None:
                yield document["_id"], row

    def _documents(self, fields: Document, size: int) -> Iterator[Document]:
        """Yield the documents in the order of their keys, nothing being held open meanwhile."""
        wanted = OURS
        while True:
            with self._rows("items" if fields is ROW else "keys") as rows:
                page = list(rows.find(wanted, fields).sort("_id", 1).limit(size))
                if fields is ROW:
                    for document in page:
                        document["r"] = self._row(rows, document["_id"], document)
            yield from (document for document in page if type(document["_id"]) is bytes)
            if len(page) < size:
                return
            wanted = {"_id": {"$gt": page[-1]["_id"]}}
            if fields is ROW:
                size = _next_size(size, (document["r"] for document in page))

    def count(self) -> int:
        """Return how many keys there are."""
        with self._rows("count") as rows:
            return rows.count_documents(OURS)

    # -- the whole --------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        last = b""
        while True:
            with self._rows("clear") as rows:  # a page at a time, as a table may be large
                wanted = {"_id": {"$gte" if last == b"" else "$gt": last}}
                page = list(rows.find(wanted, {"c": 1}).sort("_id", 1).limit(PAGE))
                with answered():
                    rows.delete_many({"_id": {"$in": [document["_id"] for document in page]}})
                self._discard(rows, *page)
            if len(page) < PAGE:
                return
            last = page[-1]["_id"]

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take, as the server says."""
        with self._rows("size_bytes") as rows:
            names = (rows.name, rows.name + PIECES)
            return sum(int(rows.database.command("collStats", name)["size"]) for name in names)

    def sweep(self) -> int:
        """Remove the pieces of rows that were never finished, in all tables of the stash."""
        removed = 0
        with self._rows("sweep") as rows:
            for name in self._collections(rows, PIECES):
                table = self._collection(rows.database.client, name.removesuffix(PIECES))
                removed += self._pieces(table).sweep()
        return removed

    def destroy(self) -> None:
        """Remove all tables of the stash, and close."""
        with self._rows("destroy") as rows:
            for name in self._collections(rows):
                rows.database.drop_collection(name)
        self.close()

    def _collections(self, rows: Collection[Document], ending: str = "") -> list[str]:
        names = rows.database.list_collection_names()
        return [n for n in names if n.startswith(self._prefix) and n.endswith(ending)]


def _next_size(size: int, rows: Iterable[bytes | None]) -> int:
    """Return how many rows to ask for next, if they are as large as the largest of these."""
    largest = max((len(row) for row in rows if row is not None), default=0)
    return max(1, min(size * 2, PAGE, BATCH_BYTES // (largest + 1)))


def _database_in(url: str) -> str:
    """Return the database that a URL names, or nothing."""
    return unquote(urlsplit(url).path.lstrip("/"))


def _checked(database: str) -> str:
    if not isinstance(database, str):
        raise TypeError(f"database is text, not {type(database).__name__}: {database!r}")
    if not database or len(database.encode()) > 63 or _FORBIDDEN.intersection(database):
        raise ConfigurationError(
            f"database is the name of a MongoDB database, not {database!r}: at most 63 bytes, "
            f"none of them in {''.join(sorted(_FORBIDDEN - {chr(0)}))}"
        )
    return database
