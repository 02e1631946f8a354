"""Keys of functions, methods, classes, modules and code.

A function is its name and source, with the values it was made with: defaults and closure. A
class that can be imported is its import path; any other, its bases and source too.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

from hashstash.origin import closure_of, import_path, main_identity, module_of, source_of

from .encode import Encoder, Handler, Steps, UnstableError, attributes
from .items import bytes_item, int_item, str_item
from .names import class_item, name_item, path_item

_NAMEDTUPLE = ("_fields", "_field_defaults")
_NOT_CONTENT = {
    "__abstractmethods__",
    "__annotate__",
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__slots__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}
"""What a class has in its namespace besides what was written in its body."""


def _function(value: types.FunctionType, encoder: Encoder) -> Steps:
    name = encoder.opaque("name", str_item(module_of(value)), str_item(_qualname(value)))
    text = source_of(value)
    body = str_item(text) if text is not None else (yield value.__code__)
    defaults = yield value.__defaults__ or None
    keywords = yield value.__kwdefaults__ or None
    closure = yield from _closure(value, encoder)
    return encoder.opaque("function", name, body, defaults, keywords, closure)


def _qualname(value: types.FunctionType) -> str:
    """Return the qualified name, without comprehensions: since 3.12 they are not in it."""
    name = value.__qualname__
    for comprehension in ("<listcomp>.", "<setcomp>.", "<dictcomp>."):
        name = name.replace(comprehension, "")
    return name


def _closure(value: types.FunctionType, encoder: Encoder, *, but: str = "") -> Steps:
    importable = import_path(value) is not None
    cells = []
    for name, content in sorted(closure_of(value).items()):
        if name == but:
            continue
        cells.append(str_item(name))
        try:
            cells.append((yield content))
        except UnstableError:
            # Its import path says which function it is; a lock in a decorator adds nothing.
            if not importable:
                raise
            cells.append(name_item(type(content), encoder))
    return encoder.opaque("closure", *cells)


def _code(value: types.CodeType, encoder: Encoder) -> Steps:
    """Encode what code does, not where it stands. Another Python has other code for it."""
    version = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
    names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
    counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    constants = yield value.co_consts
    return encoder.opaque(
        "code",
        str_item(version),
        str_item(value.co_name),
        bytes_item(value.co_code),
        bytes_item(getattr(value, "co_exceptiontable", b"")),
        (yield names),
        (yield counts),
        constants,
    )


def _method(value: types.MethodType, encoder: Encoder) -> Steps:
    function = yield value.__func__
    return encoder.opaque("method", function, (yield value.__self__))


def builtin(value: Any, encoder: Encoder) -> bytes | Steps:
    """Encode a function that is written in C: by import path, or by its object and name."""
    path = path_item(value, encoder)
    return encoder.opaque("builtin", path) if path is not None else _builtin_method(value, encoder)


def _builtin_method(value: Any, encoder: Encoder) -> Steps:
    # A bound method of a C type has both; what it is bound to says more.
    owner = value.__self__ if hasattr(value, "__self__") else value.__objclass__
    if isinstance(owner, types.ModuleType):
        raise UnstableError(
            f"because {value.__name__!r} cannot be imported from {module_of(value)!r}"
        )
    name = str_item(value.__name__)
    return encoder.opaque("builtin method", name, (yield owner))


def _partial(value: functools.partial[object], encoder: Encoder) -> Steps:
    function = yield value.func
    arguments = yield value.args
    keywords = yield dict(value.keywords)
    return encoder.opaque("partial", function, arguments, keywords)


def _cached(value: Any, encoder: Encoder) -> Steps:
    parameters = yield value.cache_parameters()
    return encoder.opaque("lru_cache", (yield value.__wrapped__), parameters)


def _module(value: types.ModuleType, encoder: Encoder) -> bytes:
    name = value.__name__
    if name in ("__main__", "__mp_main__"):
        name = main_identity()
    return encoder.opaque("module", str_item(name))


def _made_of(kind: str, *names: str) -> Handler:
    def steps(value: object, encoder: Encoder) -> Steps:
        parts = []
        for name in names:
            parts.append((yield getattr(value, name)))  # noqa: PERF401 - a yield
        return encoder.opaque(kind, *parts)

    return steps


def _class(value: type, encoder: Encoder) -> bytes | Steps:
    path = path_item(value, encoder)
    return encoder.opaque("class", path) if path is not None else _own_class(value, encoder)


def _own_class(value: type, encoder: Encoder) -> Steps:
    """Encode a class that no import brings back, by what it is made of."""
    meta = yield from class_item(type(value), encoder)
    bases = yield tuple(base for base in value.__bases__ if base is not object)
    text = source_of(value)
    if text is not None:
        content = str_item(text)
    elif issubclass(value, tuple) and hasattr(value, _NAMEDTUPLE[0]):  # a namedtuple
        content = yield tuple(getattr(value, name) for name in _NAMEDTUPLE)
    else:
        content = yield from attributes(_content(value))
    closures = []
    for name, member in sorted(vars(value).items()):
        if isinstance(member, types.FunctionType) and member.__closure__:
            closures.append(str_item(name))
            closures.append((yield from _closure(member, encoder, but="__class__")))
    return encoder.opaque("class", name_item(value, encoder), meta, bases, content, *closures)


def _content(value: type) -> dict[str, object]:
    slots = types.GetSetDescriptorType | types.MemberDescriptorType
    return {
        name: member
        for name, member in vars(value).items()
        if name not in _NOT_CONTENT and not isinstance(member, slots)
    }


def _cell(value: types.CellType, encoder: Encoder) -> Steps:
    if value == types.CellType():
        return encoder.opaque("cell", int_item(0))
    return encoder.opaque("cell", (yield value.cell_contents))


_HANDLERS: dict[type, Handler] = {
    types.FunctionType: _function,
    types.CodeType: _code,
    types.MethodType: _method,
    types.BuiltinFunctionType: builtin,
    types.MethodDescriptorType: builtin,
    types.WrapperDescriptorType: builtin,
    types.ClassMethodDescriptorType: _builtin_method,
    types.MethodWrapperType: _builtin_method,
    types.ModuleType: _module,
    types.CellType: _cell,
    functools.partial: _partial,
    type(functools.lru_cache(len)): _cached,
    functools.cached_property: _made_of("cached_property", "func"),
    staticmethod: _made_of("staticmethod", "__func__"),
    classmethod: _made_of("classmethod", "__func__"),
    property: _made_of("property", "fget", "fset", "fdel"),
}


def handler_for(kind: type) -> Handler | None:
    """Return what encodes instances of exactly ``kind``, or None if it is not of these."""
    if issubclass(kind, type):
        return _class
    if issubclass(kind, types.ModuleType):
        return _module
    return _HANDLERS.get(kind)
