from __future__ import annotations

import pytest

from hashstash.testing.engine import EngineContract


class TestMongoEngine(EngineContract):
    engine_name = "mongo"

    @pytest.fixture(autouse=True)
    def server(self, mongo_url: str) -> None:
        type(self).options = {"url": mongo_url}
