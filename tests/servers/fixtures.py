"""Fixtures of real servers, one of each kind per test process, started when first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from . import ServerMissingError
from .mongo import MongoServer
from .redis import RedisCluster, RedisServer
from .s3 import S3Server


def missing(exc: ServerMissingError) -> NoReturn:
    """Skip what needs a server that is not there; fail it where all must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI runs everything: {exc}")
    pytest.skip(str(exc))


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis that tests share; each keeps to names of its own."""
    given = os.environ.get("HASHSTASH_TEST_REDIS_URL")
    if given:
        yield given
        return
    try:
        server = RedisServer(tmp_path_factory.mktemp("redis"))
    except ServerMissingError as exc:
        missing(exc)
    with server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one node of a Redis Cluster that tests share."""
    given = os.environ.get("HASHSTASH_TEST_REDIS_CLUSTER_URL")
    if given:
        yield given
        return
    try:
        cluster = RedisCluster(tmp_path_factory.mktemp("redis-cluster"))
    except ServerMissingError as exc:
        missing(exc)
    with cluster:
        yield cluster.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """A function that starts a Redis with settings of its own, to be treated badly."""
    with ExitStack() as running:

        def start(**settings: str) -> RedisServer:
            folder = tmp_path / f"redis-{len(list(tmp_path.glob('redis-*')))}"
            folder.mkdir()
            try:
                return running.enter_context(RedisServer(folder, **settings))
            except ServerMissingError as exc:
                missing(exc)

        yield start


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a MongoDB server that tests share; each keeps to names of its own."""
    given = os.environ.get("HASHSTASH_TEST_MONGO_URL")
    if given:
        yield given
        return
    try:
        server = MongoServer(tmp_path_factory.mktemp("mongo"))
    except ServerMissingError as exc:
        missing(exc)
    with server:
        yield server.url


@pytest.fixture(scope="module")
def own_mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A MongoDB server that keeps its data, to be treated badly."""
    try:
        server = MongoServer(tmp_path_factory.mktemp("own-mongo"), durable=True)
    except ServerMissingError as exc:
        missing(exc)
    with server:
        yield server


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket that tests share; each keeps to names of its own."""
    given = os.environ.get("HASHSTASH_TEST_S3_URL")
    if given:
        yield given
        return
    try:
        server = S3Server(tmp_path_factory.mktemp("s3"))
    except ServerMissingError as exc:
        missing(exc)
    with server:
        yield server.url


@pytest.fixture(scope="module")
def own_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server to be treated badly; what it has acknowledged it keeps."""
    try:
        server = S3Server(tmp_path_factory.mktemp("own-s3"))
    except ServerMissingError as exc:
        missing(exc)
    with server:
        yield server
