"""The names that functions and classes look up in their module, kept apart from any real module.

Functions of one module that are stored in one value share these names when they are read.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from hashstash.origin import INTERACTIVE, globals_used, main_identity

from .compiled import attribute_names
from .imports import is_importable
from .plain import SCALARS
from .vocabulary import PARTS, RULES, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_HOME = "__hashstash_home__"
"""The name under which a rebuilt namespace keeps the program that it comes from."""
_HAVE_NAMES = (type, FunctionType, BuiltinFunctionType, ModuleType)


class Space:
    """Stands for the global names of one module while a value is written."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.name = namespace.get("__name__")
        self.home = home_of(namespace)


def space_of(writer: Writer, namespace: dict[str, Any]) -> Space:
    """Return what stands for ``namespace`` in this value, always the same."""
    found = writer.spaces.get(id(namespace))
    if found is None:
        found = writer.spaces[id(namespace)] = Space(namespace)
    return found


class GlobalName:
    """Stands for an object that an importable module holds under a name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def global_values(namespace: dict[str, Any], names: Iterable[str]) -> list[Any]:
    """Return what stands for the globals of these names.

    An object that an importable module holds is that of the module in every process; what is
    immutable is itself, and what can be imported by its own name needs no other.
    """
    module = sys.modules.get(str(namespace.get("__name__")))
    if module is None or vars(module) is not namespace or not is_importable(module):
        return [namespace[name] for name in names]
    return [
        namespace[name]
        if type(namespace[name]) in SCALARS or isinstance(namespace[name], _HAVE_NAMES)
        else GlobalName(module.__name__, name)
        for name in names
    ]


def home_of(namespace: dict[str, Any]) -> str:
    """Return the identity of the program whose ``__main__`` this is, or an empty string."""
    if _HOME in namespace:
        return str(namespace[_HOME])
    main = sys.modules.get("__main__")
    return main_identity() if main is not None and vars(main) is namespace else ""


def claim(namespace: dict[str, Any], qualname: str, value: object) -> str:
    """Return the program that has ``value`` under its name, or an empty string.

    Reading it there gives what the program has by then, as reading an import does. Sessions at a
    prompt have nothing in common.
    """
    home = home_of(namespace)
    if home == INTERACTIVE or (home == main_identity() and live(home, qualname) is not value):
        return ""
    return home


def is_rebuilt(namespace: dict[str, Any]) -> bool:
    """Tell whether a namespace was made here rather than by a module."""
    return _HOME in namespace


def live(home: str, qualname: str) -> object:
    """Return what the running program calls ``qualname``, if it is the one called ``home``."""
    if not home or "<" in qualname or home != main_identity():
        return None
    found: object = sys.modules.get("__main__")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _make_space(children: list[Any]) -> dict[str, Any]:
    name, home = children
    return {"__name__": name, "__builtins__": builtins, _HOME: home}


def submodules(values: dict[str, Any], code: CodeType) -> str:
    """Return the names of the submodules that code reaches through packages among ``values``.

    ``import xml`` alone does not bring ``xml.dom``; whoever uses that has imported it elsewhere.
    """
    attributes = sorted(attribute_names(code))
    found: dict[str, None] = {}
    pending = [v.__name__ for v in values.values() if isinstance(v, ModuleType)]
    while pending:
        package = pending.pop()
        for attribute in attributes:
            name = f"{package}.{attribute}"
            module = sys.modules.get(name)
            if module is not None and name not in found and module.__spec__ is not None:
                found[name] = None
                pending.append(name)
    return " ".join(found)


def names_used(function: FunctionType) -> dict[str, Any]:
    """Return the module globals that a function refers to, but for what its code sets itself."""
    used = globals_used(function)
    used.pop("__annotations__", None)
    used.pop("__builtins__", None)
    return used


def names_used_by(code: CodeType, namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the global names that code and the code within it refer to."""
    cells = tuple(CellType() for _ in code.co_freevars)
    return names_used(FunctionType(code, namespace, None, None, cells))


def cells_by_name(function: FunctionType) -> dict[str, Any]:
    """Return the cells that a function closes over."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _space_parts(_: Writer, value: Space) -> Parts:
    return "!space", [value.name, value.home]


def _name_node(_: Writer, value: GlobalName) -> Node:
    return {"!import": [value.module, value.name]}


PARTS[Space] = _space_parts
PARTS[GlobalName] = _name_node
RULES["!space"] = Rule(make=_make_space, code=True)
