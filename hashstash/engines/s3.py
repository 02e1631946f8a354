"""The engine ``s3``: an object for each row, in Amazon S3 and what speaks its protocol."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from hashstash.errors import ConfigurationError, EngineError

from .base import ETAG, PAGE, Place, pages
from .batches import batches
from .lost_answers import ATTEMPTS, LostAnswerError, settle_put, settle_swap, unavailable
from .remote import TIMEOUT, RemoteEngine, SecretUrl
from .s3_address import OPTIONS, Address, Names, joined
from .s3_link import UNREACHABLE, Link, code_of
from .s3_objects import MARKER, Listed, Objects, pack
from .s3_promises import PARTS, REMOVALS, WRITES, honours

if TYPE_CHECKING:
    from typing_extensions import Self

WORKERS = 16
MULTIPART_BYTES = 16 << 20
SMALLEST_MULTIPART = 5 << 20

_TRIES = 20


class S3Engine(RemoteEngine[Link]):
    """Rows as objects, in a folder of their own of a bucket.

    Credentials are those that boto3 finds (environment, configuration, role), or are given:
    those are never shown, and do not travel in pickles.

    Args:
        place: where the rows are kept.
        url: ``s3://bucket/folder``; by default ``HASHSTASH_S3_URL``. It may say the other
            options too: ``s3://key:secret@bucket?endpoint_url=http://localhost:9000&region=x``.
        bucket: the bucket, where no URL says it.
        endpoint_url: the server, if it is not Amazon's.
        region: its region, if boto3's configuration does not say it.
        profile: the profile in boto3's configuration.
        access_key: credentials that boto3 does not find by itself.
        secret_key: their secret part.
        session_token: what temporary ones have in addition.
        create_bucket: whether a bucket that is missing is made.
        timeout: seconds that connecting, or waiting for a part of an answer, may take. A
            server that says it is busy is asked again for four times as long.
        max_workers: how many requests are under way at once in bulk operations.
        multipart_bytes: the size from which on a row is sent in parts; 5 MiB or more.

    Raises:
        ConfigurationError: an option cannot be used, or there is no bucket.
    """

    name = "s3"
    title = "S3"
    default_url = "s3://"
    unreachable = UNREACHABLE
    durabilities = frozenset({"process", "system"})

    def __init__(
        self,
        place: Place,
        *,
        url: str | None = None,
        bucket: str | None = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        session_token: str | None = None,
        create_bucket: bool = False,
        timeout: float = TIMEOUT,
        max_workers: int = WORKERS,
        multipart_bytes: int = MULTIPART_BYTES,
    ) -> None:
        said = {
            "url": url, "bucket": bucket, "endpoint_url": endpoint_url, "region": region,
            "profile": profile, "access_key": access_key, "secret_key": secret_key,
            "session_token": session_token,
        }  # fmt: skip
        super().__init__(place, url=self._joined(said), timeout=timeout)
        _check_number("max_workers", max_workers, 1)
        _check_number("multipart_bytes", multipart_bytes, SMALLEST_MULTIPART)
        self.create_bucket = create_bucket
        self.max_workers, self.multipart_bytes = max_workers, multipart_bytes
        self.prefix = Address.parse(self.url).prefix
        self._names = Names(self.prefix, place)

    @classmethod
    def complete(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with all that leads to the bucket in one URL.

        Raises:
            ConfigurationError: neither they nor the environment name a bucket.
        """
        url = options.get("url")
        if not isinstance(url, SecretUrl):  # that is what comes out of here, or is unpickled
            url = cls._joined(options)
            Address.parse(url).complete()
        rest = {name: value for name, value in options.items() if name not in OPTIONS}
        return {**rest, "url": url}

    @classmethod
    def _joined(cls, options: dict[str, Any]) -> SecretUrl:
        url = options.get("url")
        beside = {name: options.get(name) for name in OPTIONS}
        around = os.environ.get(cls.variable()) or cls.default_url
        return SecretUrl(joined(url or around, beside, contradicting=url is not None))

    def _at(self, place: Place) -> Self:
        return type(self)(
            place, url=self.url, create_bucket=self.create_bucket, timeout=self.timeout,
            max_workers=self.max_workers, multipart_bytes=self.multipart_bytes,
        )  # fmt: skip

    # -- the client -------------------------------------------------------------------------

    def connect(self) -> Link:
        """Return a client, which connects when it is first used."""
        address = Address.parse(self.url.reveal(self.variable())).complete()
        try:
            return Link(address, self.timeout, self.max_workers)
        except (BotoCoreError, ValueError) as exc:
            said = self.url.hide(str(exc))
            raise ConfigurationError(f"The s3 engine cannot use {self.url}: {said}") from None

    @staticmethod
    def disconnect(client: Link) -> None:
        """Close a client that nobody uses."""
        client.close()

    def same_client(self) -> Hashable:
        """Return what engines must have in common to share a client."""
        return (*super().same_client(), self.max_workers)  # type: ignore[misc]

    @contextmanager
    def _objects(self, operation: str) -> Iterator[Objects]:
        """Give the bucket; turn the client's errors into ours."""
        target = self._held()
        try:
            yield Objects(
                target.client,
                create_bucket=self.create_bucket,
                multipart_bytes=self.multipart_bytes,
            )
        except LostAnswerError as lost:
            raise unavailable(self, operation, lost) from lost.error
        except ClientError as exc:
            if code_of(exc) == "NoSuchBucket":
                raise self._no_bucket(operation) from exc
            raise self.failure(operation, exc) from exc
        except BotoCoreError as exc:
            raise self.failure(operation, exc) from exc

    def _no_bucket(self, operation: str) -> EngineError:
        return EngineError(
            f"s3 {operation}: there is no such bucket: {self.url}. Create it (aws s3 mb), or pass "
            "create_bucket=True.",
            engine=self.name, operation=operation, place=self.location,
        )  # fmt: skip

    # -- one row ----------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the row stored under ``key``, or None if there is none."""
        with self._objects("get") as objects:
            return objects.read_row(self._names.of(key))

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than that of ``etag``, and then what it is."""
        with self._objects("get") as objects:
            return objects.read_row_unless(self._names.of(key), etag)

    def contains(self, key: bytes) -> bool:
        """Report whether there is a row under ``key``."""
        with self._objects("contains") as objects:
            return _etag(objects, self._names.of(key)) is not None

    def put(self, key: bytes, row: bytes) -> None:
        """Store ``row``, replacing any earlier one atomically."""
        name, body = self._names.of(key), pack(row)
        with self._objects("put") as objects:

            def write() -> None:
                tag = objects.write(name, body)
                assert tag is not None
                objects.link.remember(row[ETAG], tag)

            settle_put(write, row[ETAG], lambda: _etag(objects, name))

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; report whether it was there."""
        name = self._names.of(key)
        with self._objects("delete") as objects:
            doubts = 0
            for _ in range(_TRIES):
                seen = objects.see(name)
                if seen is None or seen.etag is None:
                    return doubts > 0  # it was there, and is gone
                try:
                    tag = objects.write(name, MARKER, IfMatch=seen.tag)
                except LostAnswerError as lost:
                    doubts += 1
                    if not lost.sent or doubts == ATTEMPTS:
                        raise
                except ClientError as exc:
                    if code_of(exc) != "NotImplemented":
                        raise
                    break
                else:
                    if tag is not None:
                        self._tidy(objects, name, tag)
                        return True
            # No condition can be met here: remove whatever is there.
            objects.remove(name)
            return True

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        """Store or remove a row only if the row there is still the one that was seen."""
        if row is None and etag is None:
            return not self.contains(key)
        name = self._names.of(key)
        with self._objects("compare_and_set") as objects:
            body = MARKER if row is None else pack(row)
            self._insist(objects, body)
            return settle_swap(
                lambda: self._swap(objects, name, etag, row, body),
                etag,
                None if row is None else row[ETAG],
                lambda: _etag(objects, name),
            )

    def _swap(
        self, objects: Objects, name: str, etag: bytes | None, row: bytes | None, body: bytes
    ) -> bool:
        """Replace what is there under the condition that it is what was seen."""
        condition = {"IfNoneMatch": "*"}
        if etag is not None:
            known = objects.link.tags.get(etag)
            condition = {"IfMatch": known} if known else {}
        for _ in range(_TRIES):
            tag = objects.write(name, body, **condition) if condition else None
            if tag is not None:
                if row is None:
                    self._tidy(objects, name, tag)
                else:
                    objects.link.remember(row[ETAG], tag)
                return True
            seen = objects.see(name)
            if (None if seen is None else seen.etag) != etag:
                return False
            condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen.tag}
        raise self.failure("compare_and_set", RuntimeError(f"{name} changes all the time"))

    def _tidy(self, objects: Objects, name: str, tag: str) -> None:
        """Remove a marker where that is exact; elsewhere it stays until it is swept."""
        if objects.link.removes_exactly:
            try:
                objects.remove(name, IfMatch=tag)
            except (ClientError, BotoCoreError, LostAnswerError):
                pass  # the row is gone; a sweep removes its marker

    def _insist(self, objects: Objects, body: bytes) -> None:
        """Refuse to compare and set on a server that sets without comparing."""
        promise = PARTS if len(body) >= self.multipart_bytes else WRITES
        if not self._honours(objects, promise):
            raise EngineError(
                f"The server of {self.url} does not honour If-Match and If-None-Match on "
                f"{'uploads in parts' if promise == PARTS else 'PutObject'}: it stored what it "
                "had to refuse, so that two writers could overwrite each other. What needs a "
                "compare-and-set (setdefault, pop, append mode, transactions of one item) is "
                "refused here; plain get, put and delete work. Use a server that honours them.",
                engine=self.name, operation="compare_and_set", place=self.location,
            )  # fmt: skip

    def _honours(self, objects: Objects, promise: str) -> bool:
        names = Names(self.prefix, replace(self.place, table="conditions"))
        return honours(objects, names.of(os.urandom(16)), promise)

    # -- many rows --------------------------------------------------------------------------

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key, in the order given, with its row or None."""
        return self._at_once(self.get, keys)

    def _at_once(
        self, work: Callable[[bytes], Any], keys: Iterable[bytes]
    ) -> Iterator[tuple[bytes, Any]]:
        """Yield keys in order with what ``work`` returns for them, a few at a time."""
        target = self._held()
        remaining = iter(keys)
        waiting: deque[tuple[bytes, Future[Any]]] = deque()
        try:
            while True:
                for key in islice(remaining, 2 * self.max_workers - len(waiting)):
                    waiting.append((key, target.client.pool.submit(work, key)))
                if not waiting:
                    return
                key, result = waiting.popleft()
                yield key, result.result()
        finally:
            for _, result in waiting:
                result.cancel()

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Store many rows, several at once; each write stands alone."""
        for batch in batches(items, PAGE):
            for _ in self._at_once(lambda key: self.put(key, batch[key]), batch):  # noqa: B023
                pass

    def delete_many(self, keys: Iterable[bytes]) -> int:
        """Remove many keys; return how many were there."""
        removed = 0
        for page in pages(keys, PAGE):
            there = [key for key, is_ in self._at_once(self.contains, dict.fromkeys(page)) if is_]
            self._remove_all("delete_many", [self._names.of(key) for key in there])
            removed += len(there)
        return removed

    def _remove_all(self, operation: str, names: list[str]) -> None:
        if names:
            with self._objects(operation) as objects:
                objects.remove_all(names)

    def keys(self) -> Iterator[bytes]:
        """Yield every key once, a page at a time."""
        for found in self._listed("keys", self._names.table):
            key = self._names.key(found.name)
            if key is not None and found.size:
                yield key

    def count(self) -> int:
        """Return how many keys there are."""
        return sum(1 for _ in self.keys())

    def size_bytes(self) -> int:
        """Return about how many bytes the rows take."""
        return sum(len(o.name) + o.size for o in self._listed("size_bytes", self._names.table))

    def _listed(self, operation: str, prefix: str) -> Iterator[Listed]:
        page = [Listed(prefix)]
        while page:
            with self._objects(operation) as objects:
                page = objects.page(prefix, page[-1].name)
            yield from page

    # -- the whole --------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove this table's rows and nothing else."""
        self._remove_below("clear", self._names.table)

    def destroy(self) -> None:
        """Remove all tables of the stash, and close."""
        self._remove_below("destroy", f"{self._names.stash}@")
        self.close()

    def _remove_below(self, operation: str, prefix: str) -> None:
        ours = (o.name for o in self._listed(operation, prefix) if self._names.ours(o.name))
        for page in pages(ours, PAGE):
            self._remove_all(operation, page)

    def sweep(self) -> int:
        """Remove uploads that were never finished, and markers of rows that are gone."""
        removed = 0
        with self._objects("sweep") as objects:
            for upload in objects.old_uploads(f"{self._names.stash}@"):
                if self._names.ours(upload["Key"]):
                    removed += objects.abandon(upload)
            if self._honours(objects, REMOVALS):
                for found in self._listed("sweep", f"{self._names.stash}@"):
                    if found.is_old_marker and self._names.ours(found.name):
                        removed += objects.remove(found.name, IfMatch=found.tag)
        return removed


def _etag(objects: Objects, name: str) -> bytes | None:
    seen = objects.see(name)
    return None if seen is None else seen.etag


def _check_number(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} is a whole number of at least {least}, not {value!r}")
