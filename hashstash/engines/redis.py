"""Rows in a Redis or Valkey server, in a cluster of them, or behind Sentinels.

A table is 256 Redis hashes, and a row a field of the one that its key's checksum names:
``hashstash:{<stash>:<2 hex digits>}:<table>``, the names percent-encoded. Rows as top-level keys
would make ``len``, iteration and ``clear`` walk through everything else in the server, or need an
index that every write keeps up to date. With hashes a row is read and written by one plain
command, counting asks for 256 lengths, clearing drops 256 keys, and what else lives in the server
does not matter. A hash is listed at one instant and each key has one hash, so that iteration is
exact, with memory for 1/256 of the keys. In a cluster the braces spread the hashes over the
slots, and keep rows of one key together in all tables of a stash.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import quote
from zlib import crc32

from redis import exceptions as errors

from hashstash.errors import EngineError, EngineUnavailableError

from .base import ETAG, PAGE, Place, pages
from .lost_answers import LostAnswerError, settle_put, settle_swap, unavailable
from .redis_scripts import FETCH, SIZES, SWAP
from .redis_server import REFUSALS, RedisServer
from .redis_url import parse
from .remote import TIMEOUT, RemoteEngine

BUCKETS = 256
"""How many hashes a table is spread over: part of the format."""

BATCH_BYTES = 4 << 20
"""About how much is sent, or asked for, in one go."""

_LOADING = "The server is reading its data after a start: try again later."
_DOWN = "Part of the cluster is missing."
_FULL = "The server is full: remove entries, or raise its maxmemory. Nothing was stored."
_REPLICA = (
    "This server is a replica and takes no writes: name the master in the URL, or let "
    "redis+sentinel:// or redis+cluster:// find it."
)
_LOGIN = "Check the user name and password in the URL."
_RIGHTS = "An ACL user needs: ~hashstash:* +@hash +unlink +evalsha +eval +scan."
_ADVICE: list[tuple[type[errors.RedisError], str, str]] = [
    (errors.BusyLoadingError, "LOADING", _LOADING),
    (errors.ClusterDownError, "CLUSTERDOWN", _DOWN),
    (errors.OutOfMemoryError, "OOM", _FULL),
    (errors.ReadOnlyError, "READONLY", _REPLICA),
    (errors.AuthenticationError, "NOAUTH", _LOGIN),
    (errors.NoPermissionError, "NOPERM", _RIGHTS),
]
"""What redis-py makes of an answer, how that begins, and what to do about it."""

_warned: set[str] = set()


class RedisEngine(RemoteEngine[RedisServer]):
    """Rows in a Redis or Valkey server.

    Args:
        place: where the rows are kept.
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``; ``redis+cluster://`` with several
            nodes and ``redis+sentinel://host1,host2/service``. By default
            ``HASHSTASH_REDIS_URL``, else this machine's port 6379. That a server belongs to a
            cluster is found out.
        timeout: seconds that connecting, or waiting for one answer, may take.

    Raises:
        ConfigurationError: the URL or the timeout cannot be used.
    """

    name = "redis"
    title = "Redis"
    max_row_bytes: ClassVar[int] = 512 << 20
    default_url = "redis://localhost:6379/0"
    unreachable: ClassVar[tuple[type[BaseException], ...]] = (
        errors.ConnectionError,
        errors.TimeoutError,
        errors.ClusterDownError,
    )
    refusals = REFUSALS

    def __init__(self, place: Place, *, url: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__(place, url=url, timeout=timeout)
        parse(self.url)  # what is wrong with it shows now; its passwords do not matter here
        self._stash = b"hashstash:{%s:" % _encoded(place.name)
        self._table = b"}:" + _encoded(place.table)

    def connect(self) -> RedisServer:
        """Return the server, after a look at whether it may forget what it is given."""
        server = RedisServer(self.url.reveal(self.variable()), self.timeout)
        try:
            memory = server.memory_info()
        except errors.RedisError as exc:
            server.close()
            raise self.failure("connect", exc) from exc
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and memory.get("maxmemory") != "0" and self.url not in _warned:
            _warned.add(self.url)
            warnings.warn(
                f"The Redis at {self.url} may evict entries when its memory is full "
                f"(maxmemory-policy {policy}): set it to noeviction to keep all.",
                RuntimeWarning,
                stacklevel=2,
            )
        return server

    @staticmethod
    def disconnect(client: RedisServer) -> None:
        """Close the connections."""
        client.close()

    def _bucket(self, key: bytes) -> bytes:
        return b"%s%02x%s" % (self._stash, crc32(key) & 0xFF, self._table)

    # -- single rows ------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        row: bytes | None = self._execute("get", b"HGET", self._bucket(key), key, again=True)
        return row

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than that of ``etag``, and then what it is."""
        target = self._held()
        try:
            row = target.client.run(FETCH, [self._bucket(key)], key, etag, again=True)
        except LostAnswerError as lost:
            raise unavailable(self, "get", lost) from lost.error
        except errors.RedisError as exc:
            raise self.failure("get", exc) from exc
        return (False, None) if row == 1 else (True, row)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        return bool(self._execute("contains", b"HEXISTS", self._bucket(key), key, again=True))

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        self._check_size("put", row)
        target = self._held()
        command = (b"HSET", self._bucket(key), key, row)
        try:
            settle_put(
                lambda: target.client.execute(*command), row[ETAG], lambda: self._etag_there(key)
            )
        except LostAnswerError as lost:
            raise unavailable(self, "put", lost) from lost.error
        except errors.RedisError as exc:
            raise self.failure("put", exc) from exc

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        return bool(self._execute("delete", b"HDEL", self._bucket(key), key))

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        if etag is None and row is None:
            return not self.contains(key)
        if row is not None:
            self._check_size("compare_and_set", row)
        target = self._held()
        made = None if row is None else row[ETAG]
        try:
            return settle_swap(
                lambda: self._swap(target.client, key, etag, row),
                etag, made, lambda: self._etag_there(key),
            )  # fmt: skip
        except LostAnswerError as lost:
            raise unavailable(self, "compare_and_set", lost) from lost.error
        except errors.RedisError as exc:
            raise self.failure("compare_and_set", exc) from exc

    def _swap(self, server: RedisServer, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        bucket = self._bucket(key)
        if etag is None:
            return bool(server.execute(b"HSETNX", bucket, key, row))
        arguments = (key, etag) if row is None else (key, etag, row)
        return bool(server.run(SWAP, [bucket], *arguments))

    def _check_size(self, operation: str, row: bytes) -> None:
        if len(row) > self.max_row_bytes:  # the server would hang up without a word
            problem = f"a row of {len(row)} bytes; Redis takes {self.max_row_bytes} at most"
            raise self.failure(operation, ValueError(problem))

    def _etag_there(self, key: bytes) -> bytes | None:
        """Return the ETag of the row that is there after an answer was lost."""
        target = self._held()
        try:
            row: bytes | None = target.client.execute(b"HGET", self._bucket(key), key, again=True)
        except errors.RedisError as exc:
            raise LostAnswerError(exc) from exc
        return None if row is None else row[ETAG]

    # -- many rows --------------------------------------------------------------------------

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        iterator, size = iter(keys), 16
        while page := list(islice(iterator, size)):
            rows = self._rows(page)
            yield from zip(page, rows, strict=True)
            average = sum(len(row) for row in rows if row) // len(page) + 1
            size = max(1, min(PAGE, 4 * size, BATCH_BYTES // average))

    def _rows(self, page: list[bytes]) -> list[bytes | None]:
        places: dict[bytes, list[int]] = {}
        for number, key in enumerate(page):
            places.setdefault(self._bucket(key), []).append(number)
        replies = self._execute_many(
            "get_many",
            [(b"HMGET", bucket, *[page[n] for n in ns]) for bucket, ns in places.items()],
            again=True,
        )
        rows: list[bytes | None] = [None] * len(page)
        for numbers, found in zip(places.values(), replies, strict=True):
            for number, row in zip(numbers, found, strict=True):
                rows[number] = row
        return rows

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows, some megabytes at a time."""
        for batch in _batches(items):
            fields: dict[bytes, list[bytes]] = {}
            for key, row in batch:
                self._check_size("put_many", row)
                fields.setdefault(self._bucket(key), []).extend((key, row))
            commands = [(b"HSET", bucket, *pairs) for bucket, pairs in fields.items()]
            self._execute_many("put_many", commands)

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        removed = 0
        for page in pages(keys, PAGE):
            fields: dict[bytes, list[bytes]] = {}
            for key in page:
                fields.setdefault(self._bucket(key), []).append(key)
            commands = [(b"HDEL", bucket, *found) for bucket, found in fields.items()]
            removed += sum(self._execute_many("delete_many", commands))
        return removed

    # -- the whole table --------------------------------------------------------------------

    def _buckets(self) -> list[bytes]:
        return [b"%s%02x%s" % (self._stash, n, self._table) for n in range(BUCKETS)]

    def _on_all(self, operation: str, command: bytes, *arguments: Any, again: bool) -> list[Any]:
        commands = [(command, bucket, *arguments) for bucket in self._buckets()]
        return self._execute_many(operation, commands, again=again)

    def _sizes(self, operation: str) -> list[int]:
        target = self._held()
        if not target.client.clustered:
            try:
                sizes: list[int] = target.client.run(SIZES, self._buckets(), again=True)
                return sizes
            except errors.ClusterCrossSlotError:
                pass  # a cluster that was not known to be one
            except errors.RedisError as exc:
                raise self.failure(operation, exc) from exc
        return self._on_all(operation, b"HLEN", again=True)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, in any order, with bounded memory."""
        for group in self._groups():
            commands = [(b"HKEYS", bucket) for bucket in group]
            for found in self._execute_many("keys", commands, again=True):
                yield from found

    def _groups(self) -> Iterator[list[bytes]]:
        """Yield the hashes that are not empty, in groups of about a page of keys."""
        group: list[bytes] = []
        total = 0
        for bucket, size in zip(self._buckets(), self._sizes("keys"), strict=True):
            if not size:
                continue
            if group and total + size > PAGE:
                yield group
                group, total = [], 0
            group.append(bucket)
            total += size
        if group:
            yield group

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its row, as ``keys`` does."""
        for key, row in self.get_many(self.keys()):
            if row is not None:
                yield key, row

    def count(self) -> int:
        """Return how many keys there are: at one instant, except in a cluster."""
        return sum(self._sizes("count"))

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        self._on_all("clear", b"UNLINK", again=False)

    def size_bytes(self) -> int:
        """Return how many bytes of the server's memory the rows take."""
        try:
            sizes = self._on_all("size_bytes", b"MEMORY USAGE", b"SAMPLES", 0, again=True)
        except EngineUnavailableError:
            raise
        except EngineError:  # not every server and user has the command
            return super().size_bytes()
        return sum(size or 0 for size in sizes)

    def destroy(self) -> None:
        """Remove the rows of all tables of this stash, and close."""
        self.clear()
        target = self._held()
        try:
            for names in pages(target.client.scan(self._stash + b"*"), PAGE):
                target.client.execute_many([(b"UNLINK", name) for name in names])
        except errors.RedisError as exc:
            raise self.failure("destroy", exc) from exc
        self.close()

    # -- under the hood ---------------------------------------------------------------------

    def _execute(self, operation: str, *command: Any, again: bool = False) -> Any:
        target = self._held()
        try:
            return target.client.execute(*command, again=again)
        except LostAnswerError as lost:
            raise unavailable(self, operation, lost) from lost.error
        except errors.RedisError as exc:
            raise self.failure(operation, exc) from exc

    def _execute_many(
        self, operation: str, commands: list[tuple[Any, ...]], *, again: bool = False
    ) -> list[Any]:
        target = self._held()
        try:
            return target.client.execute_many(commands, again=again)
        except LostAnswerError as lost:
            raise unavailable(self, operation, lost) from lost.error
        except errors.RedisError as exc:
            raise self.failure(operation, exc) from exc

    def advice(self, exc: BaseException) -> str:
        """Return what to do about an error of redis-py."""
        said = str(exc)
        for kind, code, text in _ADVICE:
            # An error inside a script is quoted in another, by servers before Redis 7.
            if isinstance(exc, kind) or f"-{code} " in said:
                return text
        return ""


def _batches(items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    weight = 0
    for key, row in items:
        batch.append((key, row))
        weight += len(row) + 100
        if weight > BATCH_BYTES or len(batch) == PAGE:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _encoded(name: str) -> bytes:
    return quote(name.encode("utf-8", "surrogatepass")).encode("ascii")
