"""Bytes, arrays of the standard library and long runs of numbers, as segments."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from .refusal import Refusal
from .vocabulary import PARTS, RULES, Node, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_FORMATS = frozenset("bBhHiIlLqQnNfd?c")
_ARRAY_CODES = frozenset("bBhHiIlLqQfd")
_BIG_ENDIAN = sys.byteorder == "big"
PACKED = {"!i1": "b", "!i2": "h", "!i4": "i", "!i8": "q", "!f8": "d"}
"""Tags of packed numbers, and the type codes of their arrays, narrowest first."""


def pack_numbers(writer: Writer, numbers: Collection[Any], kind: type) -> Node | None:
    """Return the node of ``numbers``, all of one kind, or None if they need more than 64 bits."""
    tags = ["!f8"] if kind is float else ["!i1", "!i2", "!i4", "!i8"]
    for tag in tags:
        try:
            packed = array(PACKED[tag], numbers)
        except OverflowError:
            continue
        if _BIG_ENDIAN:
            packed.byteswap()
        return {tag: writer.segment(memoryview(packed).cast("B"))}
    return None


def unpack_numbers(reader: Reader, tag: str, number: object) -> list[Any]:
    """Return the numbers in a segment."""
    if not _BIG_ENDIAN:
        numbers: list[Any] = reader.segment(number).cast(PACKED[tag]).tolist()  # type: ignore[call-overload]
        return numbers
    found = array(PACKED[tag])
    found.frombytes(reader.segment(number))
    found.byteswap()
    return found.tolist()


def _read_packed(tag: str) -> Callable[[Reader, Any], object]:
    return lambda reader, number: unpack_numbers(reader, tag, number)


def _bytes(writer: Writer, value: bytes) -> Node:
    return {"!bytes": writer.segment(value)}


def _bytearray(writer: Writer, value: bytearray) -> Node:
    return {"!bytearray": writer.segment(memoryview(value))}


def _memoryview(writer: Writer, value: memoryview) -> Node:
    if value.format not in _FORMATS:
        raise Refusal(f"a memoryview of format {value.format!r}; store its bytes or an array")
    if value.ndim > 1 and not value.nbytes:
        raise Refusal("a memoryview of several dimensions and no elements")
    content = value.tobytes()
    return {
        "!memoryview": [
            writer.segment(content),
            value.format,
            list(value.shape or ()),
            value.readonly,
            sys.byteorder,
            value.itemsize,
        ]
    }


def _read_memoryview(reader: Reader, args: list[Any]) -> memoryview:
    number, form, shape, readonly, order, width = args
    if form not in _FORMATS or order != sys.byteorder:
        raise ValueError(f"a memoryview of format {form!r}, {order} endian")
    content = reader.segment(number)
    owned = memoryview(bytes(content) if readonly else bytearray(content))
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    if form == "B" and len(shape) == 1:
        return owned
    flat = owned.cast(form)
    if flat.itemsize != width:
        raise ValueError(f"elements of {width} bytes as {form!r}, {flat.itemsize} here")
    if math.prod(shape) != len(flat):
        raise ValueError(f"shape {shape} of {len(flat)} elements")
    return flat if len(shape) == 1 else flat.cast("B").cast(form, shape)


def _array(writer: Writer, value: array[Any]) -> Node:
    code, items = value.typecode, value
    if code not in _ARRAY_CODES:  # text: the width of a character depends on the machine
        return {"!text-array": [code, value.tounicode().encode("utf-32-le", "surrogatepass").hex()]}
    if _BIG_ENDIAN:
        items = value[:]
        items.byteswap()
    return {"!array": [code, items.itemsize, writer.segment(memoryview(items).cast("B"))]}


def _read_array(reader: Reader, args: list[Any]) -> array[Any]:
    code, width, number = args
    if code not in _ARRAY_CODES:
        raise ValueError(f"an array of {code!r}")
    found: array[Any] = array(code)
    if found.itemsize != width:
        raise ValueError(f"an array of {code!r} with {width} bytes each, {found.itemsize} here")
    found.frombytes(reader.segment(number))
    if _BIG_ENDIAN:
        found.byteswap()
    return found


def _read_text_array(_: Reader, args: list[Any]) -> array[Any]:
    code, text = args
    if code not in ("u", "w"):
        raise ValueError(f"a text array of {code!r}")
    found: array[Any] = array(code)
    found.fromunicode(bytes.fromhex(text).decode("utf-32-le", "surrogatepass"))
    return found


PARTS[bytes] = _bytes
PARTS[bytearray] = _bytearray
PARTS[memoryview] = _memoryview
PARTS[array] = _array
RULES["!bytes"] = Rule(read=lambda reader, number: bytes(reader.segment(number)))
RULES["!bytearray"] = Rule(read=lambda reader, number: bytearray(reader.segment(number)))
RULES["!memoryview"] = Rule(read=_read_memoryview)
RULES["!array"] = Rule(read=_read_array)
RULES["!text-array"] = Rule(read=_read_text_array)
for _tag in PACKED:
    RULES[_tag] = Rule(read=_read_packed(_tag))
