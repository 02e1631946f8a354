"""Rows as objects of S3, each request atomic, and what tells that there is no row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from .base import ETAG, PAGE
from .lost_answers import LostAnswerError
from .s3_link import Answer, Link, code_of, is_framed, status_of

T = TypeVar("T")

MARKER = b""
"""The body of an object that says: there is no row any more.

Rows are removed by writing a marker under the condition that the row is still there: servers
keep writes of one object exactly apart, but not always writes and deletes, and some answer
"done" to a conditional delete of what is not there.
"""

MARKER_SECONDS = 86_400
"""The age from which on a marker is swept: nobody is just putting a row in its place."""

UPLOAD_SECONDS = 86_400
"""The age from which on an upload is not being written any more."""

PART_BYTES = 8 << 20
PARTS = 10_000
PARTS_AT_ONCE = 4

_HEAD = f"bytes=0-{ETAG.stop - 1}"
_FAILED = (409, 412)
_NO_BULK = frozenset({"NotImplemented", "MissingContentMD5", "MethodNotAllowed"})


class Seen(NamedTuple):
    """What is there under a name.

    Attributes:
        tag: the transport's ETag.
        etag: the row's; None if it is a marker.
    """

    tag: str
    etag: bytes | None


class Listed(NamedTuple):
    """An object in a listing, with its age in seconds."""

    name: str
    size: int = 0
    tag: str = ""
    age: float = 0

    @property
    def is_old_marker(self) -> bool:
        """Whether it may be swept."""
        return not self.size and self.age >= MARKER_SECONDS


class Objects:
    """The objects of a bucket.

    Args:
        link: the client.
        create_bucket: whether a bucket that is missing is made.
        multipart_bytes: the size from which on an object is sent in parts.
    """

    def __init__(self, link: Link, *, create_bucket: bool, multipart_bytes: int) -> None:
        self.link = link
        self._create_bucket = create_bucket
        self._multipart_bytes = multipart_bytes

    # -- reading ----------------------------------------------------------------------------

    def read_row(self, name: str, **condition: str) -> bytes | None:
        """Return the row, whose transport's ETag is remembered, or None if there is none."""
        found = self._read(name, **condition)
        if found is None or found[0] == MARKER:
            return None
        row = unpack(found[0])
        self.link.remember(row[ETAG], found[1])
        return row

    def read_row_unless(self, name: str, etag: bytes) -> tuple[bool, bytes | None]:
        """Return whether the row is another than that of ``etag``, and then what it is."""
        tag = self.link.tags.get(etag)
        if tag is None:  # it was neither read nor written here: the first bytes tell
            seen = self.see(name)
            if seen is None or seen.etag != etag:
                return True, None if seen is None else self.read_row(name)
            self.link.remember(etag, seen.tag)
            return False, None
        try:
            row = self.read_row(name, IfNoneMatch=tag)
        except ClientError as exc:
            if status_of(exc) != 304:
                raise
            return False, None
        if row is not None and row[ETAG] == etag:  # not every server knows the condition
            return False, None
        return True, row

    def _read(self, name: str, **more: str) -> tuple[bytes, str] | None:
        """Return the body and the transport's ETag, or None if there is no object."""

        def request() -> tuple[bytes, str]:
            answer = self.link.client.get_object(Bucket=self.link.bucket, Key=name, **more)
            with closing(answer["Body"]) as body:
                return body.read(), whole(answer, "ETag")["ETag"]

        try:
            return self.run(request, repeat=True)
        except ClientError as exc:
            if code_of(exc) == "NoSuchKey":
                return None
            raise

    def see(self, name: str) -> Seen | None:
        """Return what is there without reading all of it; None if there is no object."""
        try:
            found = self._read(name, Range=_HEAD)
        except ClientError as exc:
            if status_of(exc) != 416:
                raise
            found = self._read(name)  # nothing to take a range of, or not any more
        if found is None:
            return None
        head, tag = found
        if head == MARKER:
            return Seen(tag, None)
        if not head[0] and (found := self._read(name)) is not None:
            head, tag = found
        return Seen(tag, unpack(head)[ETAG])

    def page(self, prefix: str, after: str) -> list[Listed]:
        """Return the next objects whose names begin with ``prefix``, sorted by name."""
        asked = {"Bucket": self.link.bucket, "Prefix": prefix, "StartAfter": after}
        answer = self._ask("list_objects_v2", {**asked, "MaxKeys": PAGE}, "IsTruncated")
        now = _server_time(answer)
        return [
            Listed(o["Key"], o["Size"], o["ETag"], (now - o["LastModified"]).total_seconds())
            for o in answer.get("Contents", ())
        ]

    def _ask(self, method: str, asked: dict[str, Any], *needed: str, repeat: bool = True) -> Answer:
        """Return the whole answer to a request, which has the parts that are ``needed``."""
        call = getattr(self.link.client, method)
        return self.run(lambda: whole(call(**asked), *needed), repeat=repeat)

    # -- writing ----------------------------------------------------------------------------

    def write(self, name: str, body: bytes, **condition: str) -> str | None:
        """Store an object; return the transport's ETag, or None if the condition fails.

        Args:
            name: its name.
            body: what is stored.
            **condition: ``IfMatch`` or ``IfNoneMatch``, or nothing.
        """
        try:
            if len(body) >= self._multipart_bytes:
                return self._write_parts(name, body, condition)
            asked = {"Bucket": self.link.bucket, "Key": name, "Body": body, **condition}
            return str(self._ask("put_object", asked, "ETag", repeat=False)["ETag"])
        except ClientError as exc:
            if condition and _condition_failed(exc):
                return None
            raise

    def _write_parts(self, name: str, body: bytes, condition: dict[str, str]) -> str:
        place = {"Bucket": self.link.bucket, "Key": name}
        begun = self._ask("create_multipart_upload", place, "UploadId")
        upload = {**place, "UploadId": begun["UploadId"]}
        size = max(PART_BYTES, -(-len(body) // PARTS))
        view = memoryview(body)

        def send(number: int) -> dict[str, Any]:
            data = bytes(view[(number - 1) * size : number * size])
            part = {**upload, "PartNumber": number, "Body": data}
            sent = self._ask("upload_part", part, "ETag")
            return {"PartNumber": number, "ETag": sent["ETag"]}

        try:
            # Threads of their own: those of the pool may all be waiting here.
            with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                parts = list(pool.map(send, range(1, -(-len(body) // size) + 1)))
        except LostAnswerError as lost:
            raise LostAnswerError(lost.error, sent=False) from lost  # the object is as it was
        done = {**upload, "MultipartUpload": {"Parts": parts}, **condition}
        try:
            answer = self._ask("complete_multipart_upload", done, "ETag", repeat=False)
            return str(answer["ETag"])
        except ClientError:
            self.abandon(upload)
            raise

    def abandon(self, upload: dict[str, str]) -> bool:
        """Remove an upload that is not complete; report whether it was there."""
        try:
            self._ask("abort_multipart_upload", upload)
        except (ClientError, BotoCoreError, LostAnswerError):
            return False  # another one did, or a later sweep will
        return True

    def old_uploads(self, prefix: str) -> Iterator[dict[str, str]]:
        """Yield the uploads that were begun and never completed."""
        asked: dict[str, Any] = {"Bucket": self.link.bucket, "Prefix": prefix}
        while True:
            answer = self._ask("list_multipart_uploads", asked, "IsTruncated")
            before = _server_time(answer) - timedelta(seconds=UPLOAD_SECONDS)
            for found in answer.get("Uploads", ()):
                if found["Initiated"] <= before:
                    upload = {"Key": found["Key"], "UploadId": found["UploadId"]}
                    yield {"Bucket": self.link.bucket, **upload}
            if not answer["IsTruncated"]:
                return
            asked["KeyMarker"] = answer["NextKeyMarker"]
            asked["UploadIdMarker"] = answer["NextUploadIdMarker"]

    def remove(self, name: str, **condition: str) -> bool:
        """Remove an object; report whether it was there and the condition, if any, was met.

        Most servers call it a success if nothing was there.
        """
        asked = {"Bucket": self.link.bucket, "Key": name, **condition}
        try:
            self._ask("delete_object", asked, repeat=False)
        except ClientError as exc:
            if not _condition_failed(exc):
                raise
            return False
        return True

    def remove_all(self, names: list[str]) -> None:
        """Remove at most 1,000 objects in one request."""
        wanted = {"Objects": [{"Key": name} for name in names], "Quiet": True}
        asked = {"Bucket": self.link.bucket, "Delete": wanted}
        try:
            answer = self._ask("delete_objects", asked, repeat=False)
        except ClientError as exc:
            if code_of(exc) not in _NO_BULK:
                raise
            list(self.link.pool.map(self.remove, names))
            return
        for error in answer.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":  # another removed it at the same moment
                raise ClientError({"Error": error}, "DeleteObjects")

    # -- the bucket -------------------------------------------------------------------------

    def run(self, request: Callable[[], T], *, repeat: bool) -> T:
        """Return what a request returns, made again if the bucket had to be made first."""
        try:
            return self.link.run(request, repeat=repeat)
        except ClientError as exc:
            if code_of(exc) != "NoSuchBucket" or not self._create_bucket:
                raise
        self._make_bucket()
        return self.link.run(request, repeat=repeat)

    def _make_bucket(self) -> None:
        client, where = self.link.client, {}
        region = client.meta.region_name
        if "amazonaws.com" in client.meta.endpoint_url and region != "us-east-1":
            where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self.link.run(
                lambda: client.create_bucket(Bucket=self.link.bucket, **where), repeat=True
            )
        except ClientError as exc:
            if code_of(exc) != "BucketAlreadyOwnedByYou":  # another process was first
                raise


def whole(answer: Answer, *needed: str) -> Answer:
    """Return an answer that is whole; raise if it was cut off."""
    if not is_framed(answer) or any(part not in answer for part in needed):
        raise IncompleteReadError(actual_bytes=0, expected_bytes="all of an answer's headers")
    return answer


def _server_time(answer: Answer) -> datetime:
    """Return when the server answered, by its own clock where it shows that."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(timezone.utc)


def pack(row: bytes) -> bytes:
    """Return the body that holds ``row``: the row itself, except for rows of zeros alone.

    Those get a zero more, so that none of them is empty as a marker is.
    """
    return row if any(row[:1]) or any(row) else row + b"\0"


def unpack(body: bytes) -> bytes:
    """Return the row in ``body``."""
    return body if any(body[:1]) or any(body) else body[:-1]


def _condition_failed(exc: ClientError) -> bool:
    """Report whether the condition failed, or another writer was at it at the same moment."""
    return status_of(exc) in _FAILED or code_of(exc) == "NoSuchKey"
