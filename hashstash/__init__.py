"""HashStash: stash anything under anything, in any of several engines."""

from .coding import decode, deserialize, encode, serialize
from .errors import (
    ConfigurationError,
    CorruptRowError,
    DecodeError,
    EngineError,
    EngineUnavailableError,
    HashStashError,
    KeyCollisionError,
    MissingDependencyError,
    SerializationError,
    SizeLimitError,
    UnknownNameError,
    UnstableKeyError,
    UntrustedRowError,
)
from .keys import register_key, stable_bytes, stable_hash
from .stash import HashStash, TemporaryStash

__version__ = "1.0.0.dev0"

__all__ = [
    "ConfigurationError",
    "CorruptRowError",
    "DecodeError",
    "EngineError",
    "EngineUnavailableError",
    "HashStash",
    "HashStashError",
    "KeyCollisionError",
    "MissingDependencyError",
    "SerializationError",
    "SizeLimitError",
    "TemporaryStash",
    "UnknownNameError",
    "UnstableKeyError",
    "UntrustedRowError",
    "decode",
    "deserialize",
    "encode",
    "register_key",
    "serialize",
    "stable_bytes",
    "stable_hash",
]
