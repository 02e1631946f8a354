from __future__ import annotations

import pytest

from hashstash.engines import s3, s3_objects
from hashstash.testing.engine import EngineContract

PAGE = 100


class TestS3Engine(EngineContract):
    engine_name = "s3"
    many = PAGE + 10  # every one is a request
    rounds = 100
    kills = 6

    @pytest.fixture(autouse=True)
    def server(self, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        type(self).options = {"url": s3_url}
        monkeypatch.setattr(s3, "PAGE", PAGE)
        monkeypatch.setattr(s3_objects, "PAGE", PAGE)
