"""The engine of the example keeps the contract, as any engine of another package should."""

from folder_engine import FolderEngine

from hashstash.testing.engine import EngineContract


class TestFolderEngine(EngineContract):
    engine_class = FolderEngine
