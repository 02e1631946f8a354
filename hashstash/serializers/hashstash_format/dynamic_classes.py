"""Classes without source, or that were changed since: rebuilt from their bases and attributes."""

from __future__ import annotations

import collections
import sys
from enum import EnumMeta
from types import GetSetDescriptorType, MemberDescriptorType, new_class
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .classes import identity_of, living, remember
from .refusal import ATTRIBUTE
from .spaces import claim
from .vocabulary import RULES, STEPS, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_AUTOMATIC = frozenset(
    {
        "__abstractmethods__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__dict__",
        "__module__",
        "__qualname__",
        "__slotnames__",
        "__weakref__",
        "_abc_impl",
    }
)
_AT_ONCE = ("__slots__", "__orig_bases__")
"""Attributes that are needed to make the class."""
_MADE_BY_ENUM = frozenset(
    {
        "__new_member__",
        "_all_bits_",
        "_boundary_",
        "_flag_mask_",
        "_hashable_values_",
        "_inverted_",
        "_member_map_",
        "_member_names_",
        "_member_type_",
        "_new_member_",
        "_order_",
        "_singles_mask_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_use_args_",
        "_value2member_map_",
        "_value_repr_",
    }
)

_unfinished: WeakSet[type] = WeakSet()


def dynamic_parts(_: Writer, value: type) -> Parts:
    """Return the parts of a class as it is now."""
    namespace = vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}
    start = [
        identity_of(value),
        claim(namespace, value.__qualname__, value),
        value.__module__,
        value.__qualname__,
        value.__name__,
    ]
    if isinstance(value, EnumMeta):
        keywords = {"boundary": value._boundary_} if hasattr(value, "_boundary_") else {}
        return "!enum-class", [*start, value.__bases__, keywords, _enum_body(value)]
    if _is_namedtuple(value):
        return "!namedtuple", [*start, *_namedtuple(value)]
    attributes = _attributes(value)
    now = {name: attributes.pop(name) for name in _AT_ONCE if name in attributes}
    abstract = getattr(value, "__abstractmethods__", None)
    return "!dynamic-class", [*start, type(value), value.__bases__, now, attributes, abstract]


def _attributes(value: type) -> dict[str, Any]:
    return {
        name: attribute
        for name, attribute in vars(value).items()
        if name not in _AUTOMATIC
        and not isinstance(attribute, GetSetDescriptorType | MemberDescriptorType)
    }


def _enum_body(value: EnumMeta) -> dict[str, Any]:
    every: dict[str, Any] = dict(value.__members__)
    members = {name: member._value_ for name, member in every.items()}
    others = {
        name: attribute
        for name, attribute in _attributes(value).items()
        if name not in _MADE_BY_ENUM
        and name not in members
        and getattr(attribute, "__module__", None) != "enum"
        and not getattr(attribute, "__qualname__", "").startswith(("Enum.", "Flag.", "object."))
    }
    return others | members


def _is_namedtuple(value: type) -> bool:
    maker = getattr(value.__new__, "__globals__", {}).get("__name__")
    return value.__bases__ == (tuple,) and maker == f"namedtuple_{value.__name__}"


def _namedtuple(value: Any) -> tuple[Any, Any, dict[str, Any]]:
    fields, defaults = value._fields, list(value._field_defaults.values())
    usual = vars(collections.namedtuple(value.__name__, fields))  # noqa: PYI024 - not a type here
    extras = {name: item for name, item in _attributes(value).items() if name not in usual}
    if value.__doc__ != usual["__doc__"]:
        extras["__doc__"] = value.__doc__
    return fields, defaults, extras


def _begin_dynamic(first: list[Any]) -> type:
    identity, home, module, qualname, name, metaclass, bases, now = first
    found = living(identity, home, qualname)
    if found is not None:
        return found
    made: type = metaclass(name, bases, {"__module__": module, "__qualname__": qualname, **now})
    return _begun(made, identity)


def _begin_enum(first: list[Any]) -> type:
    identity, home, module, qualname, name, bases, keywords, body = first
    found = living(identity, home, qualname)
    if found is not None:
        return found
    names = {"__module__": module, "__qualname__": qualname, **body}
    return _begun(new_class(name, bases, keywords, lambda space: _put(space, names)), identity)


def _put(space: dict[str, Any], names: dict[str, Any]) -> None:
    for name, value in names.items():
        space[name] = value  # noqa: PERF403 - update would go past what counts the members


def _begin_namedtuple(first: list[Any]) -> type:
    identity, home, module, qualname, name, fields, defaults = first
    found = living(identity, home, qualname)
    if found is not None:
        return found
    made = collections.namedtuple(name, fields, defaults=defaults, module=module)  # type: ignore[misc] # noqa: PYI024
    made.__qualname__ = qualname
    return _begun(made, identity)


def _begun(made: type, identity: str) -> type:
    _unfinished.add(made)
    remember(made, identity)
    return made


def _fill(value: type, children: list[Any]) -> None:
    attributes, *abstract = children or [{}]
    if value not in _unfinished:
        return  # it lives here already
    _unfinished.discard(value)
    for name, attribute in attributes.items():
        type.__setattr__(value, name, attribute)
    if abstract and abstract[0] is not None:
        value.__abstractmethods__ = abstract[0]  # type: ignore[attr-defined]


def _step(names: tuple[str, ...]) -> Any:
    steps = ("", "", ".__module__", ".__qualname__", ".__name__", *names)
    return lambda _, index: steps[index]


RULES["!dynamic-class"] = Rule(begin=_begin_dynamic, fill=_fill, first=8, code=True)
RULES["!enum-class"] = Rule(begin=_begin_enum, fill=_fill, first=8, code=True)
RULES["!namedtuple"] = Rule(begin=_begin_namedtuple, fill=_fill, first=7, code=True)
STEPS["!dynamic-class"] = _step(
    (".__class__", ".__bases__", ATTRIBUTE, ATTRIBUTE, ".__abstractmethods__")
)
STEPS["!enum-class"] = _step((".__bases__", ".__boundary__", ATTRIBUTE))
STEPS["!namedtuple"] = _step((".__fields__", "._field_defaults", ATTRIBUTE))
