"""Rows of a stash as others find and plant them: through the server's own client alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from zlib import crc32

import boto3
import pymongo
import redis
from redis.cluster import RedisCluster

from hashstash.engines.s3_address import Address


class Raw(ABC):
    """Where a stash's rows are in one kind of server, as the documentation says.

    Args:
        url: the server.
        name: the stash's name there; letters, digits, ``-`` and ``/`` alone.
    """

    client: Any

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @abstractmethod
    def read(self, stored: bytes) -> bytes:
        """Return the row under a stored key."""

    @abstractmethod
    def plant(self, stored: bytes, row: bytes) -> None:
        """Put ``row`` under a stored key, whatever it is."""


class RawRedis(Raw):
    """A row is a field of one of 256 hashes."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.client = redis.Redis.from_url(url)

    def _hash(self, stored: bytes) -> str:
        return f"hashstash:{{{self.name}:{crc32(stored) & 0xFF:02x}}}:entries"

    def read(self, stored: bytes) -> bytes:
        row: bytes = self.client.hget(self._hash(stored), stored)
        return row

    def plant(self, stored: bytes, row: bytes) -> None:
        self.client.hset(self._hash(stored), stored, row)


class RawCluster(RawRedis):
    """The same, on whichever node it is."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.client.close()
        self.client = RedisCluster.from_url(url)


class RawMongo(Raw):
    """A row is in a document of one collection."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.client = pymongo.MongoClient[dict[str, Any]](url)
        self.rows = self.client["hashstash"][f"hs.{name}:entries"]

    def read(self, stored: bytes) -> bytes:
        found = self.rows.find_one({"_id": stored})
        assert found is not None
        return bytes(found["r"])

    def plant(self, stored: bytes, row: bytes) -> None:
        document = {"_id": stored, "e": row[16:32], "r": row}
        self.rows.replace_one({"_id": stored}, document, upsert=True)


class RawS3(Raw):
    """A row is an object of the bucket."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        at = Address.parse(url).complete()
        self.client = boto3.client(
            "s3", endpoint_url=at.endpoint_url, region_name=at.region or "us-east-1",
            aws_access_key_id=at.access_key, aws_secret_access_key=at.secret_key,
        )  # fmt: skip
        self.bucket, self.folder = at.bucket, f"{at.prefix}/" if at.prefix else ""

    def _at(self, stored: bytes) -> dict[str, str]:
        shard = f"{crc32(stored) & 0xFF:02x}"
        key = f"{self.folder}{self.name}/@entries/{shard}/{stored.hex()}"
        return {"Bucket": self.bucket, "Key": key}

    def read(self, stored: bytes) -> bytes:
        row: bytes = self.client.get_object(**self._at(stored))["Body"].read()
        return row

    def plant(self, stored: bytes, row: bytes) -> None:
        self.client.put_object(**self._at(stored), Body=row)


RAW: dict[str, type[Raw]] = {
    "redis": RawRedis,
    "redis_cluster": RawCluster,
    "mongo": RawMongo,
    "s3": RawS3,
}
