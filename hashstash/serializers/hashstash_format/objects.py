"""Objects of any class, by what they reduce to: the protocol of ``copy`` and ``pickle``."""

from __future__ import annotations

import copyreg
import io
from collections.abc import Callable
from datetime import tzinfo
from enum import Enum
from sys import intern
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import (  # noqa: F401 - they fill the vocabulary
    callables,
    classes,
    dynamic_classes,
    functions,
    imports,
)
from .exceptions import exception_parts
from .imports import constant_node, named_node
from .refusal import ATTRIBUTE, Refusal
from .vocabulary import PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

Take = Callable[["Writer", Any], Parts | Node]
Reduction = tuple[Any, Any, Any, Any, Any, Any]

_chosen: WeakKeyDictionary[type, Take] = WeakKeyDictionary()
_SLOT_WRAPPER = type(object.__init__)
_PROTOCOL = 4
_REDUCERS = ("__reduce_ex__", "__reduce__", "__getstate__")


def writer_for(kind: type) -> Take:
    """Return the function that takes objects of this type apart."""
    found = _chosen.get(kind)
    if found is None:
        found = _chosen[kind] = _choose(kind)
    return found


def _choose(kind: type) -> Take:
    if kind in PARTS:  # since this module was imported
        return PARTS[kind]
    if issubclass(kind, type):
        return classes.class_parts
    if issubclass(kind, BaseException):
        return exception_parts
    if issubclass(kind, Enum):
        return _member
    if is_native_iterator(kind):
        return _refuse_iterator
    if kind.__module__ == "dataclasses":
        return _dataclass_part
    if issubclass(kind, tzinfo) and kind.__module__.partition(".")[0] == "pytz":
        from .pytz_zones import zone_parts

        return zone_parts
    return _ordinary if _is_ordinary(kind) else reduced


def _is_ordinary(kind: type) -> bool:
    """Tell whether all that objects of a class are is in their ``__dict__``."""
    return (
        all(held(kind, name) is held(object, name) for name in _REDUCERS)
        and held(kind, "__getnewargs__") is held(kind, "__getnewargs_ex__") is None
        and not copyreg._slotnames(kind)  # type: ignore[attr-defined]
        and kind.__basicsize__ == _Ordinary.__basicsize__
        and kind.__itemsize__ == 0
        and held(kind, "__dict__") is not None
        and all("__module__" in vars(base) for base in kind.__mro__[:-1])
    )


def held(kind: type, name: str) -> Any:
    """Return an attribute as a class or one of its bases holds it, without asking it for its value.

    Asked for, that of a mock makes another mock, and so on for ever.
    """
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


class _Ordinary:
    """The size of an object that has attributes and nothing else."""


def _ordinary(writer: Writer, value: object) -> Parts | Node:
    kind = type(value)
    if kind in copyreg.dispatch_table or id(value) == writer.blamed:
        return reduced(writer, value)
    writer.doubts.setdefault(kind, value)
    state = vars(value)
    if state:
        return "!object", [kind, state]
    return constant_node(value) or ("!object", [kind])


def _dataclass_part(writer: Writer, value: object) -> Parts | Node:
    """Return the marks of dataclasses as what they are: each is compared by identity."""
    return constant_node(value) or reduced(writer, value)


def is_native_iterator(kind: type) -> bool:
    """Tell whether ``next`` of this type is written in C: a generator, map, zip, file, ..."""
    if issubclass(kind, io.BytesIO | io.StringIO) or held(kind, "__iter__") is None:
        return False
    return type(held(kind, "__next__")) is _SLOT_WRAPPER


def _refuse_iterator(_: Writer, value: object) -> Parts:
    kind = type(value)
    what = "an open file" if isinstance(value, io.IOBase) else f"a {kind.__name__}"
    raise Refusal(
        f"{what} can be gone through once, and storing it would do that; store a list or bytes"
    )


def _member(writer: Writer, value: Enum) -> Parts | Node:
    kind, name = type(value), value._name_
    if name is not None and kind.__members__.get(name) is value:
        return "!member", [kind, name]
    try:
        by_value = kind(value.value) is value
    except (ValueError, TypeError):
        by_value = False
    return ("!member", [kind, None, value.value]) if by_value else reduced(writer, value)


def _make_member(children: list[Any]) -> object:
    kind, name, *value = children
    return kind(*value) if name is None else kind.__members__[name]


def reduced(writer: Writer, value: object) -> Parts | Node:
    """Return the parts of an object by what it reduces to."""
    if id(value) == writer.blamed:
        raise Refusal("")
    writer.doubts.setdefault(type(value), value)
    found = reduction(writer, value)
    if len(found) == 1:
        return named_node(value, found[0])
    function, arguments, *more = found
    while more and more[-1] is None:
        more.pop()
    if function is copyreg.__newobj__:  # type: ignore[attr-defined]
        kind, *rest = arguments
        if rest:
            return "!new", [kind, tuple(rest), *more]
        if len(more) == 1 and type(more[0]) is tuple and not hasattr(value, "__setstate__"):
            return "!slots", [kind, *more[0]]
        return "!object", [kind, *more]
    if function is copyreg.__newobj_ex__:  # type: ignore[attr-defined]
        return "!newex", [*arguments, *more]
    return "!reduce", [function, arguments, *more]


def reduction(_: Writer, value: object) -> Any:
    """Return what an object reduces to: a name, or six items from function to state setter.

    Raises:
        Refusal: it does not.
    """
    kind = type(value)
    reducer = copyreg.dispatch_table.get(kind)
    try:
        found: Any = value.__reduce_ex__(_PROTOCOL) if reducer is None else reducer(value)
        if type(found) is str:
            return (found,)
        function, arguments, state, items, pairs, setter = padded([*found], 6)
        if items is not None:
            items = list(items)
        if pairs is not None:
            listed = list(pairs)
            pairs = [key for key, _ in listed] + [item for _, item in listed]
    except Refusal:
        raise
    except RecursionError:
        raise
    except Exception as exc:
        raise Refusal(f"a {kind.__module__}.{kind.__qualname__} ({exc})") from exc
    return function, tuple(arguments), state, items, pairs, setter


def padded(items: list[Any], count: int) -> list[Any]:
    """Return ``items`` with None after them, ``count`` in all."""
    return items + [None] * (count - len(items))


def set_state(value: Any, state: Any) -> None:
    """Give an object the state that it had, as ``copy`` and ``pickle`` do."""
    setter = getattr(value, "__setstate__", None)
    if setter is not None:
        setter(state)
        return
    state, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    if state:
        attributes = vars(value)
        for name, attribute in state.items():
            attributes[intern(name) if type(name) is str else name] = attribute
    if slots:
        for name, attribute in slots.items():
            setattr(value, name, attribute)


def _fill(value: Any, children: list[Any]) -> None:
    state, items, pairs, setter = padded(children, 4)
    if items is not None:
        if hasattr(value, "extend"):
            value.extend(items)
        else:
            for item in items:
                value.append(item)
    if pairs is not None:
        middle = len(pairs) // 2
        for key, item in zip(pairs[:middle], pairs[middle:], strict=True):
            value[key] = item
    if state is not None:
        if setter is None:
            set_state(value, state)
        else:
            setter(value, state)


def _begin_object(first: list[Any]) -> object:
    (kind,) = first
    return _made(kind, kind.__new__(kind))


def _fill_slots(value: Any, children: list[Any]) -> None:
    set_state(value, tuple(children))


def _begin_new(first: list[Any]) -> object:
    kind, arguments = first
    return _made(kind, kind.__new__(kind, *arguments))


def _begin_newex(first: list[Any]) -> object:
    kind, arguments, keywords = first
    return _made(kind, kind.__new__(kind, *arguments, **keywords))


def _made(kind: type, value: object) -> object:
    if type(value) is not kind:
        raise TypeError(
            f"{kind.__qualname__}.__new__ makes a {type(value).__qualname__} of its own"
        )
    return value


def _begin_reduce(first: list[Any]) -> object:
    function, arguments = first
    return function(*arguments)


_REST = (ATTRIBUTE, "", ".items()", ".__reduce__()[5]")

RULES["!member"] = Rule(make=_make_member, code=True)
RULES["!object"] = Rule(begin=_begin_object, fill=_fill, first=1, code=True)
RULES["!slots"] = Rule(begin=_begin_object, fill=_fill_slots, first=1, code=True)
RULES["!new"] = Rule(begin=_begin_new, fill=_fill, first=2, code=True)
RULES["!newex"] = Rule(begin=_begin_newex, fill=_fill, first=3, code=True)
RULES["!reduce"] = Rule(begin=_begin_reduce, fill=_fill, first=2, code=True)
STEPS["!member"] = lambda _, index: (".__class__", ".name", ".value")[index]
STEPS["!object"] = lambda _, index: (".__class__", *_REST)[index]
STEPS["!slots"] = lambda _, index: (".__class__", ATTRIBUTE, ATTRIBUTE)[index]
STEPS["!new"] = lambda _, index: (".__class__", ".__getnewargs__()", *_REST)[index]
STEPS["!newex"] = lambda _, index: (
    ".__class__", ".__getnewargs_ex__()[0]", ".__getnewargs_ex__()[1]", *_REST,
)[index]  # fmt: skip
STEPS["!reduce"] = lambda _, index: (".__reduce__()[0]", ".__reduce__()[1]", *_REST)[index]
