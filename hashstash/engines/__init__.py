"""Engines by name: where stored rows are kept."""

from hashstash.registry import Registry

from .base import ETAG, Engine, Place

ENGINES: Registry[Engine] = Registry(
    "engine",
    "hashstash.engines",
    {
        "pairtree": "hashstash.engines.pairtree:PairtreeEngine",
        "lmdb": "hashstash.engines.lmdb:LmdbEngine",
        "sqlite": "hashstash.engines.sqlite:SqliteEngine",
        "memory": "hashstash.engines.memory:MemoryEngine",
        "shm": "hashstash.engines.shm:ShmEngine",
        "diskcache": "hashstash.engines.diskcache:DiskcacheEngine",
        "sqlitedict": "hashstash.engines.sqlitedict:SqlitedictEngine",
        "redis": "hashstash.engines.redis:RedisEngine",
        "mongo": "hashstash.engines.mongo:MongoEngine",
        "s3": "hashstash.engines.s3:S3Engine",
    },
)

__all__ = ["ENGINES", "ETAG", "Engine", "Place"]
