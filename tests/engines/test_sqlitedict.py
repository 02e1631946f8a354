from __future__ import annotations
from hashstash.testing.engine import EngineContract
class TestSqlitedictEngine(EngineContract):
    engine_name = "sqlitedict"
