"""The redis engine on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hashstash.engines import Engine, Place
from hashstash.engines.redis import RedisEngine
from hashstash.testing.engine import EngineContract, EngineSpec


class TestRedis(EngineContract):
    engine_name = "redis"

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    def engine(self, tmp_path: Path, url: str) -> Iterator[Engine]:
        name = f"{tmp_path.parent.name}-{tmp_path.name}/main"
        engine = RedisEngine(Place(str(tmp_path), name), url=url)
        yield engine
        engine.destroy()

    @pytest.fixture
    def spec(self, engine: Engine, url: str) -> EngineSpec:
        return EngineSpec(type(engine), engine.place, {"url": url})


class TestRedisCluster(TestRedis):
    count_slack = TestRedis.many  # each node counts at another instant

    @pytest.fixture
    def url(self, redis_cluster_url: str) -> str:
        return redis_cluster_url
