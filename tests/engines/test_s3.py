from __future__ import annotations

import pytest

from hashstash.testing.engine import EngineContract


class TestS3Engine(EngineContract):
    engine_name = "s3"

    @pytest.fixture(autouse=True)
    def server(self, s3_url: str) -> None:
        type(self).options = {"url": s3_url}
