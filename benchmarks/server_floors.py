"""Servers to measure, and their own clients with bare pickle (the floors)."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender

TESTS = Path(__file__).resolve().parent.parent / "tests"
VARIABLES = {name: f"HASHSTASH_{name.upper()}_URL" for name in ("redis", "mongo", "s3")}
"""What names each server."""


@contextmanager
def serving(engine: str) -> Iterator[None]:
    """Start the server that ``engine`` needs, as the tests do, unless the environment names one."""
    variable = VARIABLES.get(engine)
    if variable is None or os.environ.get(variable):
        yield
        return
    with tempfile.TemporaryDirectory() as folder, _server(engine, Path(folder)) as started:
        os.environ[variable] = started.url
        try:
            yield
        finally:
            del os.environ[variable]


def _server(engine: str, folder: Path) -> Any:
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    if engine == "redis":
        from servers.redis import RedisServer

        return RedisServer(folder)
    if engine == "mongo":
        from servers.mongo import MongoServer

        return MongoServer(folder)
    from servers.s3 import S3Server

    return S3Server(folder)


class ServerFloor(Contender):
    """The base of raw clients: their rows begin with ``name``, and go when they are closed."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def clear(self) -> None:
        """Remove all rows."""


class PlainRedis(ServerFloor):
    """The redis package: one key each."""

    def __init__(self, name: str) -> None:
        import redis

        super().__init__(name)
        self.client = redis.Redis.from_url(os.environ[VARIABLES["redis"]])

    def _key(self, key: str) -> str:
        return f"{self.name}:{key}"

    def set(self, key: str, value: Any) -> None:
        self.client.set(self._key(key), pickle.dumps(value, 5))

    def get(self, key: str) -> Any:
        found: Any = self.client.get(self._key(key))
        return None if found is None else pickle.loads(found)

    def contains(self, key: str) -> bool:
        return bool(self.client.exists(self._key(key)))

    def delete(self, key: str) -> None:
        self.client.delete(self._key(key))

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for key, value in items:
                pipe.set(self._key(key), pickle.dumps(value, 5))
            pipe.execute()

    def _keys(self) -> list[bytes]:
        return list(self.client.scan_iter(f"{self.name}:*", 1000))

    def read_all(self) -> int:
        found: Any = self.client.mget(self._keys())
        return sum(pickle.loads(row) is not None for row in found)

    def clear(self) -> None:
        self.client.delete(*self._keys())

    def close(self) -> None:
        self.clear()
        self.client.close()


class PlainMongo(ServerFloor):
    """The pymongo package: one document each, acknowledged as ours are."""

    def __init__(self, name: str) -> None:
        import pymongo
        from pymongo.write_concern import WriteConcern

        super().__init__(name)
        self.client: Any = pymongo.MongoClient(os.environ[VARIABLES["mongo"]])
        database = self.client.get_default_database("hashstash")
        self.rows = database.get_collection(name, write_concern=WriteConcern(w="majority"))

    def set(self, key: str, value: Any) -> None:
        row = {"_id": key.encode(), "v": pickle.dumps(value, 5)}
        self.rows.replace_one({"_id": row["_id"]}, row, upsert=True)

    def get(self, key: str) -> Any:
        found = self.rows.find_one({"_id": key.encode()})
        return None if found is None else pickle.loads(found["v"])

    def contains(self, key: str) -> bool:
        return self.rows.find_one({"_id": key.encode()}, {"_id": 1}) is not None

    def delete(self, key: str) -> None:
        self.rows.delete_one({"_id": key.encode()})

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        from pymongo import ReplaceOne

        writes = []
        for key, value in items:
            row = {"_id": key.encode(), "v": pickle.dumps(value, 5)}
            writes.append(ReplaceOne({"_id": row["_id"]}, row, upsert=True))
        self.rows.bulk_write(writes, ordered=False)

    def read_all(self) -> int:
        return sum(pickle.loads(row["v"]) is not None for row in self.rows.find())

    def clear(self) -> None:
        self.rows.drop()

    def close(self) -> None:
        self.clear()
        self.client.close()


class PlainS3(ServerFloor):
    """The boto3 package: one object each; in bulk, as many threads as ours."""

    def __init__(self, name: str) -> None:
        import boto3
        from botocore.config import Config

        from hashstash.engines.s3_address import Address

        super().__init__(name)
        at = Address.parse(os.environ[VARIABLES["s3"]]).complete()
        self.client = boto3.client(
            "s3", endpoint_url=at.endpoint_url, region_name=at.region or "us-east-1",
            aws_access_key_id=at.access_key, aws_secret_access_key=at.secret_key,
            config=Config(max_pool_connections=16),
        )  # fmt: skip
        self.bucket = at.bucket
        self.threads = ThreadPoolExecutor(16)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.name}/{key}"}

    def set(self, key: str, value: Any) -> None:
        self.client.put_object(**self._at(key), Body=pickle.dumps(value, 5))

    def get(self, key: str) -> Any:
        try:
            return pickle.loads(self.client.get_object(**self._at(key))["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def contains(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self.client.head_object(**self._at(key))
        except ClientError:
            return False
        return True

    def delete(self, key: str) -> None:
        self.client.delete_object(**self._at(key))

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        list(self.threads.map(lambda item: self.set(*item), items))

    def _keys(self) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.name}/"):
            for listed in page.get("Contents", ()):
                yield listed["Key"].removeprefix(f"{self.name}/")

    def read_all(self) -> int:
        return sum(value is not None for value in self.threads.map(self.get, self._keys()))

    def clear(self) -> None:
        list(self.threads.map(self.delete, self._keys()))

    def close(self) -> None:
        self.clear()
        self.threads.shutdown()
        self.client.close()


SERVER_FLOORS: dict[str, Callable[[str], ServerFloor]] = {
    "redis": PlainRedis,
    "mongo": PlainMongo,
    "s3": PlainS3,
}
