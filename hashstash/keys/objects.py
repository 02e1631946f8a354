"""Keys of all other objects: enums, classes with fields, and what an object reduces to."""

from __future__ import annotations

import collections
import collections.abc
import copyreg
import enum
import functools
import io
import sys
import types
import typing
from typing import Any

from hashstash.origin import module_of

from .encode import Encoder, Handler, Steps, UnstableError, attributes
from .items import bytes_item, in_order, int_item, str_item
from .names import class_item, path_item

_BUILTIN_BASES = (
    int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, BaseException,
)  # fmt: skip


def _enum(value: enum.Enum, encoder: Encoder) -> Steps:
    kind = yield from class_item(type(value), encoder)
    return encoder.opaque("enum", kind, str_item(value.name))


def _flag(value: enum.Flag, encoder: Encoder) -> Steps:
    """Encode a flag by the names of its bits; how a combination is called depends on Python."""
    kind = yield from class_item(type(value), encoder)
    bits = {m.value: name for name, m in type(value).__members__.items() if name == m.name}
    single = {bit: name for bit, name in bits.items() if bit > 0 and not bit & (bit - 1)}
    number = value.value
    if number < 0:
        number &= functools.reduce(int.__or__, bits, 0)
    names = [str_item(name) for bit, name in single.items() if bit & number]
    rest = number & ~sum(single)
    return encoder.opaque("flag", kind, int_item(rest), in_order(names))


def _of_fields(names: tuple[str, ...], *more: str) -> Handler:
    """Return the handler of a class that declares its fields.

    Args:
        names: the fields. One that has no value is left out.
        more: further attributes, if they are set to anything.
    """

    def steps(value: object, encoder: Encoder) -> Steps:
        kind = yield from class_item(type(value), encoder)
        found = {n: getattr(value, n) for n in names if hasattr(value, n)}
        parts = [(yield from attributes(found))]
        for name in more:
            extra = getattr(value, name, None)
            if extra:
                parts.append(str_item(name))
                parts.append((yield extra))
        return encoder.opaque("fields", kind, *parts)

    return steps


def _fields_of(kind: type) -> Handler | None:
    own = vars(kind)
    if "__dataclass_fields__" in own and not issubclass(kind, _BUILTIN_BASES):
        from dataclasses import fields

        return _of_fields(tuple(f.name for f in fields(kind)))  # type: ignore[arg-type]
    if "__attrs_attrs__" in own and not issubclass(kind, _BUILTIN_BASES):
        return _of_fields(tuple(a.name for a in own["__attrs_attrs__"]))
    pydantic = sys.modules.get("pydantic")
    model = getattr(pydantic, "BaseModel", None)
    if model is not None and issubclass(kind, model) and hasattr(kind, "model_fields"):
        names = tuple(kind.model_fields)
        return _of_fields(names, "__pydantic_extra__", "__pydantic_private__")
    return None


def _set_subclass(value: Any, encoder: Encoder) -> Steps:
    kind = yield from class_item(type(value), encoder)
    base = frozenset if isinstance(value, frozenset) else set
    more = yield from attributes(getattr(value, "__dict__", {}))
    return encoder.opaque("set", kind, (yield base(value)), more)


def _iterator(value: object, _: Encoder) -> bytes:
    raise UnstableError(
        "because looking at its items would consume them",
        "Use a list or tuple of its items instead.",
    )


def _file(value: object, _: Encoder) -> bytes:
    raise UnstableError("because it is an open file", "Use its path, or what it contains, instead.")


def _bare_object(value: object, _: Encoder) -> bytes:
    raise UnstableError(
        "because nothing tells it from any other object()",
        "Use a string or an enum member as a marker instead.",
    )


def _memoryview(value: memoryview, encoder: Encoder) -> Steps:
    shape = yield tuple(value.shape or ())
    content = bytes_item(value.tobytes()) if value.itemsize == 1 else (yield value.tolist())
    return encoder.opaque("memoryview", str_item(value.format), shape, content)


def _array(value: Any, encoder: Encoder) -> bytes:
    code, size = value.typecode, value.itemsize
    if code in "uw":
        return encoder.opaque("array", str_item(code), str_item(value.tounicode()))
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return encoder.opaque("array", str_item(code), int_item(size), bytes_item(value.tobytes()))


def _pattern(value: Any, encoder: Encoder) -> Steps:
    return encoder.opaque("regex", (yield value.pattern), int_item(value.flags))


def _union(value: Any, encoder: Encoder) -> Steps:
    parts = []
    for part in typing.get_args(value):
        parts.append((yield part))  # noqa: PERF401 - a yield
    return encoder.opaque("union", in_order(parts))


def _mapping_proxy(value: types.MappingProxyType[Any, Any], encoder: Encoder) -> Steps:
    return encoder.opaque("mappingproxy", (yield dict(value)))


_HANDLERS: dict[type, Handler] = {
    object: _bare_object,
    memoryview: _memoryview,
    types.UnionType: _union,
    type(typing.Optional[int]): _union,  # noqa: UP045 - the other kind of union is meant
    types.MappingProxyType: _mapping_proxy,
}


def handler_for(kind: type) -> Handler:
    """Return what encodes instances of exactly ``kind``."""
    found = _HANDLERS.get(kind)
    if found is not None:
        return found
    if issubclass(kind, enum.Enum):
        return _flag if issubclass(kind, enum.Flag) else _enum
    if kind is getattr(sys.modules.get("re"), "Pattern", None):
        return _pattern
    if kind is getattr(sys.modules.get("array"), "array", None):
        return _array
    if issubclass(kind, io.IOBase):
        return _file
    if issubclass(kind, collections.abc.Iterator | collections.abc.AsyncIterator):
        return _iterator
    if issubclass(kind, set | frozenset) and kind.__reduce__ in (
        set.__reduce__,
        frozenset.__reduce__,
    ):
        return _set_subclass
    return _fields_of(kind) or _reducing(kind)


# -- what an object reduces to -----------------------------------------------------------------


def _reducing(kind: type) -> Handler:
    """Return the handler that encodes what ``copy`` and ``pickle`` would make a copy from."""
    hidden = frozenset(
        name
        for base in kind.__mro__
        for name, member in vars(base).items()
        if isinstance(member, functools.cached_property)
    )
    ordered = issubclass(kind, collections.OrderedDict)

    def steps(value: object, encoder: Encoder) -> Steps:
        reduced = _reduce(value)
        if isinstance(reduced, str):
            return _global(value, reduced, encoder)
        maker, arguments, state, items, pairs, setter = (*reduced, *[None] * 4)[:6]
        parts = [*(yield from _made_by(maker, arguments, encoder))]
        if hidden:
            state = _without(hidden, state)
        if state is not None and not (type(state) is dict and not state):
            parts.append(str_item("state"))
            is_dict = type(state) is dict
            parts.append((yield from attributes(state)) if is_dict else (yield state))
        if items is not None:
            parts.append(str_item("items"))
            parts.append((yield list(items)))
        if pairs is not None:
            parts.append(str_item("pairs"))
            parts.append((yield list(pairs) if ordered else dict(pairs)))
        if setter is not None:
            parts.append(str_item("setter"))
            parts.append((yield setter))
        data = encoder.opaque("object", *parts)
        _refuse_address(value, data)
        return data

    return steps


def _reduce(value: object) -> str | tuple[Any, ...]:
    reducer = copyreg.dispatch_table.get(type(value))
    if isinstance(value, BaseException):
        reducer = None  # libraries register their own for every exception there is: tblib
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except Exception as exc:
        raise UnstableError(f"because it cannot be taken apart: {exc}") from exc
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and 2 <= len(reduced) <= 6):
        return reduced
    raise UnstableError(f"because it reduces to {reduced!r}, which makes no object")


def _made_by(
    maker: Any, arguments: tuple[Any, ...], encoder: Encoder
) -> typing.Generator[object, bytes, list[bytes]]:
    """Encode the callable that would make the copy, and its arguments."""
    if maker in (copyreg.__newobj__, copyreg.__newobj_ex__):  # type: ignore[attr-defined]
        maker, *arguments_left = arguments
        return [(yield from class_item(maker, encoder)), (yield tuple(arguments_left))]
    if isinstance(maker, type):
        name = yield from class_item(maker, encoder)
    else:
        path = path_item(maker, encoder)
        name = (yield maker) if path is None else path
    return [name, str_item("call"), (yield arguments)]


def _without(hidden: frozenset[str], state: object) -> object:
    """Drop what cached properties have left among the attributes."""
    if isinstance(state, dict):
        return {name: part for name, part in state.items() if name not in hidden}
    if isinstance(state, tuple):
        return tuple(_without(hidden, part) for part in state)
    return state


def _global(value: object, name: str, encoder: Encoder) -> bytes:
    """Encode an object that says it is a global, if that name leads to it."""
    module = getattr(value, "__module__", None) or "builtins"
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise UnstableError(f"because it says it is {module}.{name}, which is another object")
    return encoder.opaque("global", str_item(module_of(value) or module), str_item(name))


def _refuse_address(value: object, data: bytes) -> None:
    """Refuse a form that holds the address of the object, which is new in every process."""
    address = id(value)
    if f"0x{address:x}".encode() in data or int_item(address) in data:
        raise UnstableError("because what it is made of includes its address in memory")
