"""The lmdb engine: the contract, and what only it does."""

from __future__ import annotations

from hashstash.testing.engine import EngineContract


class TestLmdbEngine(EngineContract):
    engine_name = "lmdb"


class TestLmdbEngineWithATinyMap(EngineContract):
    engine_name = "lmdb"
    options = {"map_size": 65536}
