"""Functions of Python: by import where that leads back, otherwise rebuilt from source or code."""

from __future__ import annotations

import importlib.util
import marshal
import sys
from importlib import import_module
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from hashstash.errors import DecodeError
from hashstash.origin import source_of

from .compiled import FUTURES, function_code, recompiles
from .imports import import_node
from .refusal import ATTRIBUTE
from .spaces import (
    cells_by_name,
    claim,
    global_values,
    is_rebuilt,
    live,
    names_used,
    space_of,
    submodules,
)
from .vocabulary import PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_PYTHON = f"{sys.implementation.cache_tag} {importlib.util.MAGIC_NUMBER.hex()}"

_texts: WeakKeyDictionary[CodeType, str] = WeakKeyDictionary()
"""The source of functions that were rebuilt here."""

_MADE_FROM = 9
_NAMES = ("__name__", "__doc__", "__module__")


def _function(writer: Writer, value: FunctionType) -> Parts | Node:
    node = import_node(value)
    return _definition(writer, value) if node is None else node


def _definition(writer: Writer, value: FunctionType) -> Parts:
    code = value.__code__
    space = space_of(writer, value.__globals__)
    text = text_of(value)
    used = names_used(value)
    return "!function", [
        value.__qualname__,
        claim(value.__globals__, value.__qualname__, value),
        getattr(code, "co_qualname", value.__qualname__),
        text,
        None if text is not None else marshal.dumps(code),
        _PYTHON,
        " ".join(code.co_freevars),
        code.co_flags & FUTURES,
        space,
        *(value.__closure__ or ()),
        value.__defaults__,
        value.__kwdefaults__,
        _annotations(value),
        vars(value) or None,
        _renamed(value),
        submodules(used, code),
        " ".join(used),
        *global_values(value.__globals__, used),
    ]


def text_of(function: FunctionType) -> str | None:
    """Return the source of a function, if that compiles to the function's code by itself."""
    code = function.__code__
    known = _texts.get(code)
    if known is not None:
        return known
    text = source_of(function)
    qualname = getattr(code, "co_qualname", function.__qualname__)
    return text if text is not None and recompiles(text, qualname, function) else None


def _annotations(function: FunctionType) -> dict[str, Any] | None:
    try:
        return function.__annotations__ or None
    except Exception:  # noqa: BLE001 - from Python 3.14 on they run code that may fail; none then
        return None


def _names_from_code(code: CodeType, namespace: dict[str, Any]) -> dict[str, Any]:
    """Return what a function made of ``code`` is called before anybody renames it."""
    cells = tuple(CellType() for _ in code.co_freevars)
    function = FunctionType(code, namespace, None, None, cells)
    return {name: getattr(function, name) for name in _NAMES}


def _renamed(function: FunctionType) -> dict[str, Any] | None:
    own = _names_from_code(function.__code__, function.__globals__)
    changed = {
        name: getattr(function, name) for name in own if getattr(function, name) != own[name]
    }
    return changed or None


def _cells_end(nodes: list[Any]) -> int:
    return _MADE_FROM + len(nodes[6].split())


def _begin_function(first: list[Any]) -> FunctionType:
    qualname, home, compiled_as, text, blob, python, free, futures, namespace, *cells = first
    found = live(home, qualname)
    if isinstance(found, FunctionType) and text is not None and text_of(found) == text:
        return found
    names = tuple(free.split())
    code = (
        _unmarshalled(blob, python, qualname)
        if text is None
        else function_code(text, compiled_as, names, futures, frozenset())
    )
    by_name = dict(zip(names, cells, strict=True))
    closure = tuple(by_name[name] for name in code.co_freevars)
    function = FunctionType(code, namespace, None, None, closure)
    function.__qualname__ = qualname
    if text is not None:
        _texts[code] = text
    return function


def _unmarshalled(blob: bytes, python: str, qualname: str) -> CodeType:
    if python != _PYTHON:
        raise DecodeError(
            f"The function {qualname!r} was stored as code of {python.partition(' ')[0]}, because "
            f"its source could not be found, and this is {_PYTHON.partition(' ')[0]}. Read it with "
            "that Python, or store it again from a file.",
            stage="hashstash",
        )
    code = marshal.loads(blob)  # noqa: S302 - only where the row is trusted
    if not isinstance(code, CodeType):
        raise TypeError("not the code of a function")
    return code


def _fill_function(function: FunctionType, children: list[Any]) -> None:
    defaults, kwdefaults, annotations, attributes, renamed, modules, names, *values = children
    if not is_rebuilt(function.__globals__):
        return  # the program's own
    function.__defaults__ = defaults
    function.__kwdefaults__ = kwdefaults
    function.__annotations__ = annotations or {}
    vars(function).update(attributes or {})
    for name, value in (renamed or {}).items():
        setattr(function, name, value)
    fill_names(function.__globals__, modules, names, values)


def fill_names(namespace: dict[str, Any], modules: str, names: str, values: list[Any]) -> None:
    """Put global names into a namespace, after importing the submodules that they lead to."""
    for module in modules.split():
        import_module(module)
    namespace.update(zip(names.split(), values, strict=True))


def _step(value: FunctionType, index: int) -> str:
    cells = list(cells_by_name(value))
    if index < _MADE_FROM:
        return ""
    if index < _MADE_FROM + len(cells):
        return f".__closure__[{cells[index - _MADE_FROM]!r}]"
    index -= _MADE_FROM + len(cells)
    fixed = (".__defaults__", ".__kwdefaults__", ".__annotations__", ATTRIBUTE, "", "", "")
    if index < len(fixed):
        return fixed[index]
    return f".__globals__[{list(names_used(value))[index - len(fixed)]!r}]"


PARTS[FunctionType] = _function
RULES["!function"] = Rule(begin=_begin_function, fill=_fill_function, first=_cells_end, code=True)
STEPS["!function"] = _step
