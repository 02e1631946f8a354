"""What can be called and is neither a function of Python nor a class: methods, caches, wrappers."""

from __future__ import annotations

import functools
import sys
import types
import typing
from types import CellType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from .imports import import_node, is_importable
from .refusal import Refusal
from .vocabulary import PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_MISSING = object()


def builtin_parts(_: Writer, value: Any) -> Parts | Node:
    """Return the parts of a function or method that is written in C."""
    node = import_node(value)
    if node is not None:
        return node
    owner, name = getattr(value, "__self__", None), value.__name__
    node = _held(value, owner, name)
    if node is not None:
        return node
    if owner is None:
        owner = getattr(value, "__objclass__", None)
    if owner is None or isinstance(owner, ModuleType):
        raise Refusal(f"the function {name!r}, which no module has")
    if getattr(owner, name, _MISSING) != value:
        raise Refusal(f"a method that is not the {name!r} of its object")
    return "!attribute", [owner, name]


def _method(_: Writer, value: MethodType) -> Parts | Node:
    node = import_node(value)  # a class method
    if node is not None:
        return node
    owner, function = value.__self__, value.__func__
    name = getattr(function, "__name__", None)
    node = _held(value, owner, name)
    if node is not None:
        return node
    holder = owner if isinstance(owner, type) else type(owner)
    found = getattr(holder, name, None) if isinstance(name, str) else None
    if found is function or (isinstance(owner, type) and found == value):
        return "!attribute", [owner, name]
    return "!method", [function, owner]


def _held(value: object, owner: object, name: object) -> Node | None:
    """Return the node of a method that a module offers as a function, as ``random`` does."""
    module = sys.modules.get(type(owner).__module__)
    if module is None or not isinstance(name, str) or not is_importable(module):
        return None
    found = vars(module).get(name)
    same = type(found) is type(value) and found == value
    return {"!import": [module.__name__, name]} if same else None


def _make_method(children: list[Any]) -> MethodType:
    function, owner = children
    return MethodType(function, owner)


def _make_attribute(children: list[Any]) -> object:
    owner, name = children
    return getattr(owner, name)


def _lru_cache(_: Writer, value: Any) -> Parts | Node:
    node = import_node(value)
    if node is not None:
        return node
    settings = value.cache_parameters()
    own = ("__wrapped__", "cache_parameters")  # what the decorator sets
    extra = {name: item for name, item in vars(value).items() if name not in own}
    return "!lru_cache", [value.__wrapped__, settings["maxsize"], settings["typed"], extra]


def _make_lru_cache(children: list[Any]) -> object:
    function, maxsize, typed, extra = children
    wrapper = functools.lru_cache(maxsize, typed)(function)
    vars(wrapper).update({k: v for k, v in extra.items() if k not in vars(wrapper)})
    return wrapper


def _property(_: Writer, value: property) -> Parts:
    return "!property", [value.fget, value.fset, value.fdel, value.__doc__]


def _cached_property(_: Writer, value: functools.cached_property[Any]) -> Parts:
    return "!cached_property", [value.func, value.attrname]


def _make_cached_property(children: list[Any]) -> object:
    function, name = children
    found = functools.cached_property(function)
    if name is not None:
        found.__set_name__(object, name)
    return found


def _cell(_: Writer, value: CellType) -> Parts:
    try:
        return "!cell", [value.cell_contents]
    except ValueError:
        return "!cell", []


def _fill_cell(value: CellType, children: list[Any]) -> None:
    if children:
        (value.cell_contents,) = children


def _type_variable(_: Writer, value: typing.TypeVar) -> Parts | Node:
    node = import_node(value)
    if node is not None:
        return node
    keywords = {"covariant": value.__covariant__, "contravariant": value.__contravariant__}
    bound = {} if value.__bound__ is None else {"bound": value.__bound__}
    arguments = (value.__name__, *value.__constraints__)
    return "!call", [typing.TypeVar, arguments, {**keywords, **bound}, value.__module__]


def _new_type(_: Writer, value: typing.NewType) -> Parts | Node:
    node = import_node(value)
    if node is not None:
        return node
    arguments = (value.__name__, value.__supertype__)
    return "!call", [typing.NewType, arguments, {}, value.__module__]


def _make_call(children: list[Any]) -> Any:
    function, arguments, keywords, module = children
    found = function(*arguments, **keywords)
    found.__module__ = module
    return found


for _kind in (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
):
    PARTS[_kind] = builtin_parts
PARTS[MethodType] = _method
PARTS[type(functools.lru_cache(len))] = _lru_cache
PARTS[property] = _property
PARTS[staticmethod] = lambda _, value: ("!staticmethod", [value.__func__])
PARTS[classmethod] = lambda _, value: ("!classmethod", [value.__func__])
PARTS[functools.cached_property] = _cached_property
PARTS[CellType] = _cell
PARTS[typing.TypeVar] = _type_variable
PARTS[typing.NewType] = _new_type

RULES["!attribute"] = Rule(make=_make_attribute, code=True)
RULES["!method"] = Rule(make=_make_method, code=True)
RULES["!lru_cache"] = Rule(make=_make_lru_cache, code=True)
RULES["!property"] = Rule(make=lambda children: property(*children), code=True)
RULES["!staticmethod"] = Rule(make=lambda children: staticmethod(*children), code=True)
RULES["!classmethod"] = Rule(make=lambda children: classmethod(*children), code=True)
RULES["!cached_property"] = Rule(make=_make_cached_property, code=True)
RULES["!cell"] = Rule(begin=lambda _: CellType(), fill=_fill_cell, code=True)
RULES["!call"] = Rule(make=_make_call, code=True)
STEPS["!attribute"] = lambda _, index: (".__self__", ".__name__")[index]
STEPS["!method"] = lambda _, index: (".__func__", ".__self__")[index]
STEPS["!lru_cache"] = lambda _, index: (".__wrapped__", "", "", ".__dict__")[index]
STEPS["!property"] = lambda _, index: (".fget", ".fset", ".fdel", ".__doc__")[index]
STEPS["!cached_property"] = lambda _, index: (".func", ".attrname")[index]
STEPS["!cell"] = lambda *_: ".cell_contents"
STEPS["!call"] = lambda _, index: (".__class__", ".__args__", ".__args__", ".__module__")[index]
for _tag in ("!staticmethod", "!classmethod"):
    STEPS[_tag] = lambda *_: ".__func__"
