"""Keys of numpy's arrays, scalars, dtypes and random generators.

An array is its dtype, shape and values in C order, so views, strides, byte order and memory
order make no difference. Bytes that hold no value (padding, what is masked out) are left out.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .encode import Encoder, Handler, Steps, attributes
from .items import bytes_item, int_item, str_item
from .names import package_class_item


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Return a simple dtype's kind and size, without its byte order: ``i8``, ``M8[ns]``."""
    if dtype.char in "gG":
        return "longdouble" if dtype.char == "g" else "clongdouble"  # its size depends on the CPU
    return dtype.str[1:]


def _dtype(dtype: np.dtype[Any], encoder: Encoder, *, ordered: bool = False) -> bytes:
    """Encode a dtype; ``ordered`` tells byte orders apart."""
    if dtype.fields is not None:
        parts = []
        for name in dtype.names or ():
            inner, offset, *title = dtype.fields[name]
            parts += [str_item(name), int_item(offset), _dtype(inner, encoder, ordered=ordered)]
            parts += [str_item(str(t)) for t in title]
        return encoder.opaque("record", int_item(dtype.itemsize), *parts)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        sizes = map(int_item, shape)
        return encoder.opaque("subarray", _dtype(base, encoder, ordered=ordered), *sizes)
    if dtype.kind == "T":  # variable-width strings
        return encoder.opaque("dtype", str_item("T"))
    order = ""
    if ordered and dtype.byteorder != "|":
        little = dtype.byteorder == "<" or (dtype.byteorder == "=" and sys.byteorder == "little")
        order = "<" if little else ">"
    return encoder.opaque("dtype", str_item(order + dtype_text(dtype)))


def values(array: Any, encoder: Encoder) -> Steps:
    """Return the item for the values of an array of any dtype, in C order."""
    dtype = array.dtype
    if dtype.hasobject or dtype.kind == "T":
        if dtype.fields is None:
            return (yield array.ravel(order="C").tolist())
    elif dtype.fields is None:
        return bytes_item(_content(array))
    parts = []
    for name in dtype.names:
        field = yield from values(array[name], encoder)
        parts.append(field)
    return encoder.opaque("record", *parts)


def _content(array: Any) -> bytes:
    if array.dtype.char in "gG":
        array = _as_doubles(array)
    if array.dtype.kind in "fc":
        array = _one_nan(array)
    little = array.dtype.newbyteorder("<")
    content: bytes = array.astype(little, order="C", copy=False).tobytes()
    return content


def _one_nan(array: Any) -> Any:
    wrong = array != array  # noqa: PLR0124 - it is how to tell
    if not wrong.any():
        return array
    array = np.array(array, subok=False)
    if array.dtype.kind == "c":
        for part in (array.real, array.imag):
            part[part != part] = np.nan  # noqa: PLR0124 - as above
    else:
        array[wrong] = np.nan
    return array


def _as_doubles(array: Any) -> Any:
    """Return long doubles as fractions and exponents: their own bytes have undefined padding."""
    if array.dtype.kind == "c":
        return np.stack([_as_doubles(array.real), _as_doubles(array.imag)], axis=-1)
    fraction, exponent = np.frexp(array)
    parts = []
    with np.errstate(invalid="ignore"):  # infinities
        for _ in range(3):  # enough for the 113 bits of the longest
            part = fraction.astype("f8")
            parts.append(part)
            fraction = np.where(np.isfinite(fraction), fraction - part, 0)
    return np.stack([*parts, exponent.astype("f8")], axis=-1)


def _array(value: np.ndarray[Any, Any], encoder: Encoder) -> Steps:
    kind = _dtype(value.dtype, encoder)
    shape = b"".join(map(int_item, value.shape))
    plain = value.view(np.ndarray) if type(value) is not np.ndarray else value
    content = yield from values(plain, encoder)
    if type(value) in (np.ndarray, np.memmap):
        return encoder.opaque("ndarray", kind, int_item(value.ndim), shape, content)
    name = yield from package_class_item(type(value), encoder)
    more = yield from attributes(getattr(value, "__dict__", {}))
    return encoder.opaque("ndarray", kind, int_item(value.ndim), shape, content, name, more)


def _masked(value: Any, encoder: Encoder) -> Steps:
    name = yield from package_class_item(type(value), encoder)
    mask = np.ma.getmaskarray(value)
    data: Any = np.array(value.data, subok=False)
    nothing: Any = np.zeros((), data.dtype)[()]
    if mask.dtype.fields is None:
        data[mask] = nothing
    else:
        data = np.ma.MaskedArray(data, mask).filled(nothing)
    parts = [(yield data), (yield mask), (yield value.fill_value)]
    return encoder.opaque("masked array", name, *parts)


def _scalar(value: np.generic, encoder: Encoder) -> Steps:
    array = np.asarray(value)
    content = yield from values(array, encoder)
    return encoder.opaque("numpy scalar", _dtype(array.dtype, encoder), content)


def _dtype_object(value: np.dtype[Any], encoder: Encoder) -> bytes:
    return encoder.opaque("numpy dtype", _dtype(value, encoder, ordered=True))


def _bit_generator(value: np.random.BitGenerator, encoder: Encoder) -> Steps:
    name = yield from package_class_item(type(value), encoder)
    return encoder.opaque("random", name, (yield dict(value.state)))


def _generator(value: np.random.Generator, encoder: Encoder) -> Steps:
    name = yield from package_class_item(type(value), encoder)
    return encoder.opaque("random", name, (yield value.bit_generator))


def _random_state(value: np.random.RandomState, encoder: Encoder) -> Steps:
    name = yield from package_class_item(type(value), encoder)
    return encoder.opaque("random", name, (yield value.get_state(legacy=False)))


def _ufunc(value: np.ufunc, encoder: Encoder) -> Steps:
    from .functions import builtin

    result = builtin(value, encoder)
    return result if isinstance(result, bytes) else (yield from result)


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not numpy's."""
    table: list[tuple[type, Handler]] = [
        (np.ma.MaskedArray, _masked),
        (np.ndarray, _array),
        (np.generic, _scalar),
        (np.dtype, _dtype_object),
        (np.random.Generator, _generator),
        (np.random.BitGenerator, _bit_generator),
        (np.random.RandomState, _random_state),
        (np.ufunc, _ufunc),
    ]
    return next((handler for base, handler in table if issubclass(kind, base)), None)
