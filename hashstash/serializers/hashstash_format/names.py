"""Builtin types and functions as values, from a fixed list, and types made of types.

Nothing here can be called by reading. What is not in the list goes by import, which needs trust.
"""

from __future__ import annotations

import builtins
import collections
import functools
import operator
import types
from types import BuiltinFunctionType, GenericAlias, UnionType
from typing import TYPE_CHECKING, Any

from .vocabulary import PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_TYPE_NAMES = """
    bool bytearray bytes classmethod complex dict enumerate filter float frozenset int list map
    memoryview object property range reversed set slice staticmethod str super tuple type zip
"""
_FUNCTION_NAMES = """
    abs all any ascii bin callable chr divmod format hash hex id isinstance issubclass iter len max
    min next oct ord pow repr round sorted sum
"""

EXCEPTIONS: dict[str, type[BaseException]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__name__ == name
}
"""The exceptions that are builtin."""

TYPES: dict[str, type] = {
    **{name: getattr(builtins, name) for name in _TYPE_NAMES.split()},
    **EXCEPTIONS,
    "NoneType": type(None),
    "ellipsis": type(Ellipsis),
    "NotImplementedType": type(NotImplemented),
    "function": types.FunctionType,
    "builtin_function_or_method": BuiltinFunctionType,
    "method": types.MethodType,
    "module": types.ModuleType,
    "mappingproxy": types.MappingProxyType,
    "SimpleNamespace": types.SimpleNamespace,
    "ChainMap": collections.ChainMap,
    "Counter": collections.Counter,
    "OrderedDict": collections.OrderedDict,
    "defaultdict": collections.defaultdict,
    "deque": collections.deque,
}
_FUNCTIONS = {name: getattr(builtins, name) for name in _FUNCTION_NAMES.split()}
_NAME_OF_TYPE = {kind: name for name, kind in TYPES.items()}
_NAME_OF_FUNCTION = {function: name for name, function in _FUNCTIONS.items()}


def _type(writer: Writer, value: type) -> Parts | Node:
    name = _NAME_OF_TYPE.get(value)
    if name is not None:
        return {"!type": name}
    from .classes import class_parts

    return class_parts(writer, value)


def _function(writer: Writer, value: BuiltinFunctionType) -> Parts | Node:
    name = _NAME_OF_FUNCTION.get(value)
    if name is not None:
        return {"!builtin": name}
    from .callables import builtin_parts

    return builtin_parts(writer, value)


def _read_type(_: Reader, name: str) -> type:
    found = TYPES.get(name)
    if found is None:
        raise ValueError(f"no type is called {name!r}")
    return found


def _read_function(_: Reader, name: str) -> object:
    return _FUNCTIONS[name]


def _alias(_: Writer, value: GenericAlias) -> Parts:
    unpacked = getattr(value, "__unpacked__", False)
    return ("!unpacked" if unpacked else "!alias"), (value.__origin__, *value.__args__)


def _make_alias(children: list[Any]) -> GenericAlias:
    origin, *args = children
    if not isinstance(origin, type):
        raise TypeError(f"{origin!r} is not a type")
    return GenericAlias(origin, tuple(args))


def _make_union(children: list[Any]) -> object:
    found = functools.reduce(operator.or_, children)
    if not isinstance(found, UnionType):
        raise TypeError("a union of something else than types")
    return found


PARTS[type] = _type
PARTS[BuiltinFunctionType] = _function
PARTS[GenericAlias] = _alias
PARTS[UnionType] = lambda _, value: ("!union", value.__args__)
RULES["!type"] = Rule(read=_read_type)
RULES["!builtin"] = Rule(read=_read_function)
RULES["!alias"] = Rule(make=_make_alias)
RULES["!unpacked"] = Rule(make=lambda children: next(iter(_make_alias(children))))
RULES["!union"] = Rule(make=_make_union)
for _tag in ("!alias", "!unpacked"):
    STEPS[_tag] = lambda _, index: f".__args__[{index - 1}]" if index else ".__origin__"
STEPS["!union"] = lambda _, index: f".__args__[{index}]"
