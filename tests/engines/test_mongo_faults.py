"""The mongo engine in trouble: servers that die and freeze, connections that break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from servers.faults import EngineAt, FaultTests
from servers.mongo import MongoServer

from hashstash.engines import Place
from hashstash.engines.mongo import MongoEngine


class TestMongoFaults(FaultTests):
    @pytest.fixture
    def server(self, own_mongo: MongoServer) -> Iterator[MongoServer]:
        yield own_mongo
        if own_mongo.process is None:
            own_mongo.start()

    @pytest.fixture
    def engine_at(self, request: pytest.FixtureRequest) -> EngineAt:
        place = Place("/nowhere", f"faults/{request.node.name}")

        def build(port: int, **options: Any) -> MongoEngine:
            return MongoEngine(place, url=f"mongodb://127.0.0.1:{port}", **options)

        return build
