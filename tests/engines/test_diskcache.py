from __future__ import annotations
from hashstash.testing.engine import EngineContract
class TestDiskcacheEngine(EngineContract):
    engine_name = "diskcache"
