"""The sqlite engine: the contract, and what only it does."""

from __future__ import annotations

from hashstash.testing.engine import EngineContract


class TestSqliteEngine(EngineContract):
    engine_name = "sqlite"
