"""Arrays of numpy: their bytes as a segment, copied once each way; objects one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .numpy_types import check_text, describe, described, natural
from .plain import SCALARS
from .refusal import Refusal
from .vocabulary import ATOMS, PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

Array = np.ndarray[Any, Any]
_CONSTANT = type(np.ma.masked)


def _array(writer: Writer, value: Array) -> Parts | Node:
    description = describe(value.dtype)
    if description is None:
        from .objects import reduced

        return reduced(writer, value)
    if value.dtype.hasobject:
        return _objects(value) if value.dtype.names is None else _fields(value, description)
    return {"!np.array": [description, list(value.shape), _order(value), _segment(writer, value)]}


def _order(value: Array) -> str:
    return "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"


def _segment(writer: Writer, value: Array) -> int:
    if not value.nbytes:
        return writer.segment(b"")
    flat = np.ascontiguousarray(value.T if _order(value) == "F" else value).reshape(-1)
    return writer.segment(flat.view(np.uint8).data)


def _read_array(reader: Reader, args: list[Any]) -> Array:
    description, sizes, order, number = args
    dtype, shape = described(description), tuple(map(natural, sizes))
    segment = reader.segment(number)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(segment):
        raise ValueError(f"{len(segment)} bytes for shape {shape} of {dtype}")
    if not len(segment):
        if math.prod(shape) and dtype.kind != "V":  # numpy would make each of them one letter long
            raise ValueError(f"shape {shape} of {dtype} without bytes")
        return np.empty(shape, dtype, order)
    flat = np.frombuffer(segment, dtype)
    check_text(flat)
    return flat.reshape(shape, order=order).copy(order=order)


def _objects(value: Array) -> Parts:
    return "!np.objects", [_order(value), value.ndim, *value.shape, *value.flat]


def _start_of_objects(nodes: list[Any]) -> int:
    start = 2 + natural(nodes[1])
    if math.prod(map(natural, nodes[2:start])) != len(nodes) - start:
        raise ValueError("another number of elements than the shape says")
    return start


def _begin_objects(first: list[Any]) -> Array:
    order, _, *shape = first
    return np.empty(shape, object, order)


def _fill_objects(value: Array, children: list[Any]) -> None:
    flat = np.empty(len(children), object)
    if set(map(type, children)) <= SCALARS:
        flat[:] = children
    else:
        for index, child in enumerate(children):  # one by one: a list is not to be spread out
            flat[index] = child
    value[...] = flat.reshape(value.shape)


def _fields(value: Array, description: Any) -> Parts:
    if _too_wide(value.dtype):
        raise Refusal("an array of records that are mostly gaps")
    assert value.dtype.names is not None
    fields = [value[name] for name in value.dtype.names]
    return "!np.fields", [description, list(value.shape), _order(value), *fields]


def _too_wide(dtype: np.dtype[Any]) -> bool:
    """Tell whether an array may need far more memory than its fields."""
    assert dtype.fields is not None
    return dtype.itemsize > 64 + 4 * sum(field[0].itemsize for field in dtype.fields.values())


def _make_fields(children: list[Any]) -> Array:
    description, shape, order, *fields = children
    dtype = described(description)
    if dtype.names is None or _too_wide(dtype):
        raise ValueError("records that are mostly gaps")
    shape = tuple(map(natural, shape))
    for name, field in zip(dtype.names, fields, strict=True):
        if not isinstance(field, np.ndarray) or field.shape != shape + dtype[name].shape:
            raise ValueError("a field of another shape")
    found = np.empty(shape, dtype, order)
    for name, field in zip(dtype.names, fields, strict=True):
        found[name] = field
    return found


def _masked(writer: Writer, value: Any) -> Parts | Node:
    if type(value.data) is not np.ndarray or value._optinfo:
        from .objects import reduced

        return reduced(writer, value)
    mask = None if value.mask is np.ma.nomask else value.mask
    filler = value._fill_value  # the property invents one where there is none
    return "!np.masked", [value.data, mask, filler, value.hardmask]


def _make_masked(children: list[Any]) -> object:
    data, mask, filler, hard = children
    if not isinstance(data, np.ndarray):
        raise TypeError("a masked array of something else")
    found = np.ma.MaskedArray(data, mask=np.ma.nomask if mask is None else mask, hard_mask=hard)
    if filler is not None:
        found.fill_value = filler
    return found


def _masked_step(_: object, index: int) -> str:
    return (".data", ".mask", ".fill_value", ".hardmask")[index]


def _object_step(value: Array, index: int) -> str:
    place = np.unravel_index(index - 2 - value.ndim, value.shape)
    return f"[{', '.join(map(str, place))}]"


def _field_step(value: Array, index: int) -> str:
    assert value.dtype.names is not None
    return f"[{value.dtype.names[index - 3]!r}]"


def _generator(_: Writer, value: np.random.Generator) -> Parts:
    # Its own reduction does not tell, before numpy 1.25, that the source of bits may be shared.
    return "!reduce", [np.random.Generator, (value.bit_generator,)]


PARTS[np.ndarray] = _array
PARTS[np.random.Generator] = _generator
PARTS[np.ma.MaskedArray] = _masked
ATOMS[_CONSTANT] = lambda _: {"!np.masked-constant": []}
RULES["!np.array"] = Rule(read=_read_array)
RULES["!np.objects"] = Rule(begin=_begin_objects, fill=_fill_objects, first=_start_of_objects)
RULES["!np.fields"] = Rule(make=_make_fields)
RULES["!np.masked"] = Rule(make=_make_masked)
RULES["!np.masked-constant"] = Rule(read=lambda *_: np.ma.masked)
STEPS["!np.objects"] = _object_step
STEPS["!np.fields"] = _field_step
STEPS["!np.masked"] = _masked_step
