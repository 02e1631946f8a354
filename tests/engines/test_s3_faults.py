"""The s3 engine in trouble: servers that die and freeze, connections that break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from servers.faults import EngineAt, FaultTests
from servers.s3 import S3Server

from hashstash.engines import Place
from hashstash.engines.s3 import S3Engine


class TestS3Faults(FaultTests):
    @pytest.fixture
    def server(self, own_s3: S3Server) -> Iterator[S3Server]:
        yield own_s3
        if own_s3.process is None:
            own_s3.start()

    @pytest.fixture
    def engine_at(self, request: pytest.FixtureRequest, server: S3Server) -> EngineAt:
        place = Place("/nowhere", f"faults/{request.node.name}")

        def build(port: int, **options: Any) -> S3Engine:
            return S3Engine(place, url=server.url_at(port), **options)

        return build
