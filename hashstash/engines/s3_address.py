"""Where in S3 a stash is: one URL that says it all, and the names of its objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from zlib import crc32

from hashstash.errors import ConfigurationError, suggestion

from .base import Place
from .server_names import PLAIN, bounded, escaped

OPTIONS = (
    "bucket", "endpoint_url", "region", "profile", "access_key", "secret_key", "session_token",
)  # fmt: skip
"""What may be given beside the URL, or in it."""

_IN_QUERY = ("endpoint_url", "region", "profile", "session_token")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_PLAIN = PLAIN | {"."}
_PART, _NAME, _TABLE, _PREFIX = 200, 500, 60, 255
"""S3 takes 1,024 bytes in all; servers that keep objects in files take 255 between slashes."""


@dataclass(frozen=True)
class Address:
    """A bucket, a folder in it, and how to get there.

    Attributes:
        bucket: its name.
        prefix: the folder, or nothing.
        endpoint_url: the server; None: Amazon's, or what boto3's configuration says.
        region: the region; None: what boto3's configuration says.
        profile: the profile in boto3's configuration; None: the default.
        access_key: the public part of the credentials; None: those that boto3 finds.
        secret_key: the secret part.
        session_token: what temporary credentials have in addition.
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return what a URL says.

        Raises:
            ConfigurationError: it is not such a URL. The message shows nothing of it, as
                there may be a secret in it.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or parts.fragment:
            raise ConfigurationError(
                "The s3 engine's url is like 's3://bucket/folder'; '#' names a stash only in a "
                "URL that is the first argument of HashStash"
            )
        user, _, bucket = parts.netloc.rpartition("@")
        access, _, secret = user.partition(":")
        said: dict[str, str] = {}
        for name, value in parse_qsl(parts.query):
            if name not in _IN_QUERY:
                hint = suggestion(name, _IN_QUERY) or f" Known: {', '.join(_IN_QUERY)}."
                raise ConfigurationError(f"Unknown part {name!r} of the s3 engine's url.{hint}")
            said[name] = value
        made = cls(
            unquote(bucket), unquote(parts.path).strip("/"), access_key=unquote(access) or None,
            secret_key=unquote(secret) or None, **said,
        )  # fmt: skip
        made.check()
        return made

    def check(self) -> None:
        """Raise ConfigurationError if this cannot be an address, though it may lack a bucket."""
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            raise ConfigurationError(
                f"bucket is a name of three characters or more, not {self.bucket!r}"
            )
        if len(self.prefix.encode()) > _PREFIX:
            raise ConfigurationError(f"The folder in the bucket has at most {_PREFIX} bytes")
        if bool(self.access_key) != bool(self.secret_key):
            raise ConfigurationError("access_key and secret_key are given together, or neither")
        if self.endpoint_url is not None:
            _check_endpoint(self.endpoint_url)

    def complete(self) -> Address:
        """Return this, if it names a bucket."""
        if not self.bucket:
            raise ConfigurationError(
                "The s3 engine needs a bucket: bucket='my-bucket', url='s3://my-bucket', or "
                "HASHSTASH_S3_URL=s3://my-bucket"
            )
        return self

    def url(self) -> str:
        """Return the URL that says this; it has the secrets in it."""
        user = ""
        if self.access_key:
            user = f"{quote(self.access_key, safe='')}:{quote(self.secret_key or '', safe='*')}@"
        said = {name: value for name in _IN_QUERY if (value := getattr(self, name)) is not None}
        query = f"?{urlencode(said, safe='/:*', quote_via=quote)}" if said else ""
        folder = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"s3://{user}{self.bucket}{folder}{query}"


def _check_endpoint(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigurationError(f"endpoint_url is like 'http://localhost:9000', not {url!r}")
    if "@" in parts.netloc:
        raise ConfigurationError("endpoint_url has credentials in it: give access_key, secret_key")


def joined(url: str, options: Mapping[str, Any], *, contradicting: bool) -> str:
    """Return the URL that ``url`` and the options beside it make together.

    Args:
        url: a URL.
        options: options by name; None means not given.
        contradicting: whether an option that contradicts the URL is an error, or wins.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return url
    for name, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is text, not {type(value).__name__}")
    address = Address.parse(url)
    for name, value in given.items():
        if contradicting and getattr(address, name) not in {None, "", value}:
            raise ConfigurationError(f"url and {name} contradict each other: give {name} once")
    made = replace(address, **given)
    made.check()
    return made.url()


class Names:
    """The names of the objects of one table: ``folder/stash/@table/3f/503a``.

    The two hexadecimal digits spread the keys over prefixes, which servers split their load
    by; what follows is the stored key. ``@`` begins no other part, so that no stash is found
    inside another.

    Args:
        prefix: the folder in the bucket, or nothing.
        place: the stash and its table.

    >>> names = Names("team", Place("", "root/main"))
    >>> names.of(b"key")
    'team/root/main/@entries/a9/6b6579'
    >>> names.key(names.of(b"key"))
    b'key'
    """

    def __init__(self, prefix: str, place: Place) -> None:
        parts = [bounded(_part(part), _PART) for part in place.name.split("/")]
        self.stash = "/".join([*([prefix] if prefix else []), bounded("/".join(parts), _NAME), ""])
        self.table = f"{self.stash}@{bounded(escaped(place.table), _TABLE)}/"

    def of(self, key: bytes) -> str:
        """Return the name of the object that holds the row of ``key``."""
        return f"{self.table}{crc32(key) & 0xFF:02x}/{key.hex()}"

    def key(self, name: str) -> bytes | None:
        """Return the key whose row an object of this table holds; None if it is not ours."""
        return _key(name[len(self.table) :])

    def ours(self, name: str) -> bool:
        """Report whether an object is a row of any table of this stash."""
        table, _, tail = name[len(self.stash) :].partition("/")
        return table.startswith("@") and _key(tail) is not None


def _part(part: str) -> str:
    if not part.strip("."):
        return "=2E" * len(part) or "="
    return escaped(part, _PLAIN)


def _key(tail: str) -> bytes | None:
    _shard, _, text = tail.partition("/")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if f"{crc32(key) & 0xFF:02x}/{key.hex()}" == tail else None
