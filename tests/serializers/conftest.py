from __future__ import annotations

import pytest

from hashstash.serializers.hashstash import HashstashSerializer
from hashstash.serializers.hashstash_format import text


@pytest.fixture(params=["orjson", "json"])
def serializer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> HashstashSerializer:
    """Return the serializer with and without orjson."""
    if request.param == "json":
        use_json(monkeypatch)
    else:
        pytest.importorskip("orjson")
    return HashstashSerializer()


def use_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "HAS_ORJSON", False)
    monkeypatch.setattr(text, "dump", text.dump_with_json)
    monkeypatch.setattr(text, "load", text.load_with_json)
