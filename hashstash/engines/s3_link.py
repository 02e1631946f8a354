"""One client of one S3 server: how long it is patient, and what the server can do."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is no OSError
    HTTPClientError,
    IncompleteReadError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from botocore.utils import determine_content_length
from urllib3.exceptions import HTTPError

from .lost_answers import LostAnswerError
from .s3_address import Address

T = TypeVar("T")
Answer = dict[str, Any]

UNREACHABLE = (
    ConnectionError,
    HTTPClientError,
    HTTPError,  # urllib3's, where botocore lets it through
    IncompleteReadError,
    ResponseParserError,
    ValueError,  # of botocore, that meets half a number or half a date in a header
)

BUSY = frozenset(
    {
        "OperationAborted", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable",
        "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429",
    }
)  # fmt: skip
"""Codes of a server that did nothing of what was asked and wants to be asked again."""

BUSY_FACTOR = 4
"""A busy server is given this many times the timeout."""

SLOWEST = 1.0
"""The longest pause between two tries, in seconds."""

SMALL_BYTES = 1 << 20
"""Bodies up to this size are sent at once, without asking whether the server wants them."""

TAGS = 10_000
"""How many transport ETags are remembered."""


class Link:
    """A client and what is known about its server, shared by the engines of a process.

    Requests are repeated here and not in botocore, which does not tell a request that the
    server refused from one whose answer was lost.

    Args:
        address: the server and the bucket.
        timeout: seconds for connecting, and for each part of an answer.
        workers: how many requests may be under way at once in bulk operations.
    """

    def __init__(self, address: Address, timeout: float, workers: int) -> None:
        self.bucket, self.timeout, self.workers = address.bucket, timeout, workers
        self.client: Any = _client(address, timeout, workers)
        self.lock = threading.Lock()
        self.tags: dict[bytes, str] = {}
        """The transport's ETag by the row's: saves a question before a compare-and-set."""
        self.promises: dict[str, bool] = {}
        """Which conditions the server was seen to honour."""
        self.removes_exactly = ".amazonaws.com" in self.client.meta.endpoint_url
        """Whether a conditional delete never removes what another writes at that moment: so it
        is said of Amazon's servers, and not so of versitygw, for one."""
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for bulk operations."""
        with self.lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.workers, "hashstash-s3")
            return self._pool

    def remember(self, etag: bytes, tag: str) -> None:
        """Remember the transport's ETag of the row that has ``etag``."""
        if len(self.tags) >= TAGS:
            self.tags = {}
        self.tags[etag] = tag

    def run(self, request: Callable[[], T], *, repeat: bool) -> T:
        """Return what ``request`` returns, trying again where that is safe.

        Args:
            request: one request.
            repeat: whether it changes nothing, or does no harm, and so may be sent again
                after its answer was lost.

        Raises:
            LostAnswerError: no answer, or none but "busy", for too long.
            ClientError: the server's answer is an error.
        """
        started = time.monotonic()
        for number in count():
            try:
                return request()
            except SSLError:
                raise
            except (ClientError, *UNREACHABLE) as exc:
                lost = _lost(exc)
                waited = time.monotonic() - started
            busy = isinstance(lost.error, ClientError) and not lost.sent
            patience = self.timeout * (BUSY_FACTOR if busy else 1)
            if lost.sent and not repeat:
                raise lost from lost.error
            if waited > patience and not (lost.sent and number == 0):
                raise LostAnswerError(lost.error, sent=False) from lost.error
            time.sleep(random.uniform(0, min(SLOWEST, 0.05 * 2**number)))
        raise AssertionError

    def close(self) -> None:
        """Let go of threads and connections."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
        self.client.close()


def _lost(exc: Exception) -> LostAnswerError:
    """Return what an error means for the request; raise it if it is a plain answer."""
    if isinstance(exc, ClientError):
        if not is_framed(exc.response) or code_of(exc) == "404":
            return LostAnswerError(exc)  # without the words that say what is not there
        if code_of(exc) in BUSY or status_of(exc) == 429:
            return LostAnswerError(exc, sent=False)
        if status_of(exc) < 500 or code_of(exc) == "NotImplemented":
            raise exc
        return LostAnswerError(exc)
    return LostAnswerError(exc, sent=not isinstance(exc, ConnectionError))


def is_framed(answer: Answer) -> bool:
    """Report whether an answer says how long it is.

    One that is cut off among its headers is taken for whole by Python's HTTP client.
    """
    meta = answer["ResponseMetadata"]
    headers = meta["HTTPHeaders"]
    if meta["HTTPStatusCode"] in {204, 304} or "transfer-encoding" in headers:
        return True
    return str(headers.get("content-length", "")).isdigit()


def code_of(exc: ClientError) -> str:
    """Return the server's word for an error, such as ``NoSuchKey``."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def status_of(exc: ClientError) -> int:
    """Return the HTTP status of an error."""
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _client(address: Address, timeout: float, workers: int) -> Any:
    session = boto3.session.Session(
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        aws_session_token=address.session_token,
        region_name=address.region,
        profile_name=address.profile,
    )
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries={"total_max_attempts": 1},
        max_pool_connections=workers + 4,
        # Rows have a checksum of their own, and not every server knows these.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if address.endpoint_url else "auto"},
    )
    client = session.client(
        "s3",
        endpoint_url=address.endpoint_url,
        region_name=session.region_name or "us-east-1",
        config=config,
    )
    client.meta.events.register("before-sign.s3.PutObject", _send_at_once)
    return client


def _send_at_once(request: Any, **_: Any) -> None:
    """Save a small write the round trip that botocore makes to ask whether it is wanted."""
    if determine_content_length(request.body) <= SMALL_BYTES:
        del request.headers["Expect"]
