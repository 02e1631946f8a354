"""The lmdb engine: the contract, and what only it does."""

from __future__ import annotations

from typing import Any, ClassVar

from hashstash.testing.engine import EngineContract


class TestLmdbEngine(EngineContract):
    engine_name = "lmdb"


class TestLmdbEngineWithATinyMap(EngineContract):
    engine_name = "lmdb"
    options: ClassVar[dict[str, Any]] = {"map_size": 65536}
