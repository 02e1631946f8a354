"""HashStash: stash anything under anything, in any of several engines."""

from typing import TYPE_CHECKING

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
from .stash import HashStash
from .temporary import TemporaryStash

if TYPE_CHECKING:
    from .asynchronous import AsyncHashStash
    from .coding import decode, deserialize, encode, serialize
    from .functions.decorators import stash_mapped, stashed_result
    from .functions.maps import MapItemError, StashMap
    from .functions.results import UnstorableResultWarning
    from .functions.unavailable import CacheUnavailableWarning
    from .near_copies import NearCacheWarning

__version__ = "1.0.0.dev0"

__all__ = [
    "AsyncHashStash",
    "CacheUnavailableWarning",
    "ConfigurationError",
    "CorruptRowError",
    "DecodeError",
    "EngineError",
    "EngineUnavailableError",
    "HashStash",
    "HashStashError",
    "KeyCollisionError",
    "MapItemError",
    "MissingDependencyError",
    "NearCacheWarning",
    "SerializationError",
    "SizeLimitError",
    "StashMap",
    "TemporaryStash",
    "UnknownNameError",
    "UnstableKeyError",
    "UnstorableResultWarning",
    "UntrustedRowError",
    "decode",
    "deserialize",
    "encode",
    "register_key",
    "serialize",
    "stable_bytes",
    "stable_hash",
    "stash_mapped",
    "stashed_result",
]

_ON_FIRST_USE = {
    "AsyncHashStash": "asynchronous",
    "CacheUnavailableWarning": "functions.unavailable",
    "MapItemError": "functions.maps",
    "NearCacheWarning": "near_copies",
    "StashMap": "functions.maps",
    "UnstorableResultWarning": "functions.results",
    "decode": "coding",
    "deserialize": "coding",
    "encode": "coding",
    "serialize": "coding",
    "stash_mapped": "functions.decorators",
    "stashed_result": "functions.decorators",
}
"""Names whose modules not everybody needs: importing this package costs next to nothing."""


def __getattr__(name: str) -> object:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{_ON_FIRST_USE[name]}", __name__), name)
    globals()[name] = found
    return found
