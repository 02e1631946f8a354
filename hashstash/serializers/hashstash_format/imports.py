"""What another process finds by importing it: modules, classes, functions, constants."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hashstash.errors import DecodeError
from hashstash.origin import import_path

from .refusal import Refusal
from .vocabulary import PARTS, RULES, Node, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_MAIN_NAMES = frozenset({"__main__", "__mp_main__"})


def import_node(value: object) -> Node | None:
    """Return the node of what can be imported, or None if ``value`` cannot."""
    path = import_path(value)
    return None if path is None else {"!import": list(path)}


def named_node(value: object, name: str) -> Node:
    """Return the node of an object which says that it is a global of this name.

    Raises:
        Refusal: no importable module has it under this name.
    """
    node = import_node(value)
    if node is not None:
        return node
    claimed = getattr(value, "__module__", None)
    modules = [claimed] if isinstance(claimed, str) else list(sys.modules)
    for module in [*modules, type(value).__module__]:
        found: Any = sys.modules.get(module)
        if module in _MAIN_NAMES or getattr(found, "__spec__", None) is None:
            continue
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value:
            return {"!import": [module, name]}
    raise Refusal(f"a {type(value).__name__} that calls itself {name!r}, which no module has")


def _read_import(_: Reader, args: list[str]) -> object:
    module, name = args
    found: Any = _imported(module)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as exc:
            raise DecodeError(
                f"The value needs {module}.{name}, which is no longer there", stage="hashstash"
            ) from exc
    return found


def _imported(module: str) -> ModuleType:
    try:
        return sys.modules.get(module) or import_module(module)
    except ImportError as exc:
        raise DecodeError(
            f"The value needs the module {module!r}, which cannot be imported here ({exc}); "
            "install it, or add its folder to sys.path",
            stage="hashstash",
        ) from exc


def is_importable(module: ModuleType) -> bool:
    """Tell whether another process can import a module under its name."""
    name = module.__name__
    found = sys.modules.get(name) is module and name not in _MAIN_NAMES
    return found and getattr(module, "__spec__", None) is not None


def constant_node(value: object) -> Node | None:
    """Return the node of an object that the module of its class holds, or None."""
    module = sys.modules.get(type(value).__module__)
    if module is not None and is_importable(module):
        for name, held in vars(module).items():
            if held is value:
                return {"!import": [module.__name__, name]}
    return None


def _module(_: Writer, value: ModuleType) -> Node:
    if not is_importable(value):
        raise Refusal(f"the module {value.__name__!r}, which another process cannot import")
    return {"!module": value.__name__}


PARTS[ModuleType] = _module
RULES["!module"] = Rule(read=lambda _, name: _imported(name), code=True)
RULES["!import"] = Rule(read=_read_import, code=True)
