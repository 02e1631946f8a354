"""Objects to canonical bytes: equal objects give equal bytes in every process."""

from __future__ import annotations

from .decode import decode_canonical
from .hooks import register_key
from .stored import FORMAT, stable_bytes, stable_hash, stored_key

__all__ = [
    "FORMAT",
    "decode_canonical",
    "register_key",
    "stable_bytes",
    "stable_hash",
    "stored_key",
]
