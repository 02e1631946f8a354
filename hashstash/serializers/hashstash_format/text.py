"""JSON text in one call of C: orjson where it is installed, ``json`` otherwise, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

Buffer = bytes | memoryview

MAX_DEPTH = 240
"""How deep the lists and dicts in a text are nested at most; orjson writes 254."""


class NotPlainError(Exception):
    """A tree holds a number or string that JSON text cannot carry as it is."""


class BadTextError(Exception):
    """Bytes are not JSON text, or nested deeper than we write."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode
_decode = json.JSONDecoder(parse_constant=_no_constant).decode


def dump_with_json(tree: object) -> bytes:
    """Return ``tree`` as JSON text, made by the standard library."""
    try:
        return _encode(tree).encode()
    except ValueError as exc:  # a float that is not finite, a lone surrogate
        raise NotPlainError(str(exc)) from exc


def load_with_json(text: Buffer) -> Any:
    """Return what the JSON ``text`` says, read by the standard library."""
    try:
        return _decode(str(text, "utf-8"))
    except ValueError as exc:
        raise BadTextError(str(exc)) from exc
    except RecursionError as exc:
        # Tell a hostile text from a caller that has used up its own stack.
        if (depth := depth_of(text)) > MAX_DEPTH:
            raise BadTextError(f"nested {depth} levels deep") from exc
        raise


def dump_with_orjson(tree: object) -> bytes:
    """Return ``tree`` as JSON text, made by orjson. It writes NaN and infinities as null."""
    try:
        return orjson.dumps(tree)
    except TypeError as exc:  # an integer beyond 64 bits, a lone surrogate, a key not a string
        raise NotPlainError(str(exc)) from exc


def load_with_orjson(text: Buffer) -> Any:
    """Return what the JSON ``text`` says, read by orjson."""
    try:
        return orjson.loads(text)
    except ValueError as exc:
        raise BadTextError(str(exc)) from exc


def depth_of(text: Buffer) -> int:
    """Return how deep the brackets of a text are nested. Slow: for telling why reading failed."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in bytes(text):
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


HAS_ORJSON = orjson is not None
dump: Callable[[object], bytes] = dump_with_orjson if HAS_ORJSON else dump_with_json
load: Callable[[Buffer], Any] = load_with_orjson if HAS_ORJSON else load_with_json
