from hashstash.testing.engine import EngineContract


class TestPairtreeEngine(EngineContract):
    engine_name = "pairtree"
