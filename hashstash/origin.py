"""Where a function or class comes from: its module, its import path, and what it refers to."""

from __future__ import annotations

import dis
import os
import re
import sys
import types
from functools import lru_cache
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType

from .source import remember_source, source_of

__all__ = [
    "INTERACTIVE",
    "MAIN_FILE",
    "MAIN_NAME",
    "closure_of",
    "globals_used",
    "import_path",
    "main_identity",
    "module_of",
    "remember_source",
    "source_of",
]

INTERACTIVE = "<interactive>"
"""The identity of a ``__main__`` that has neither file nor name: a prompt, ``-c``, a pipe."""

MAIN_FILE, MAIN_NAME = "__hashstash_file__", "__hashstash_name__"
"""Where ``__main__`` keeps its file and name while they are hidden from new processes."""

_NAMELESS = ("builtins", "numpy", "scipy.special")
_MAIN_NAMES = frozenset({"__main__", "__mp_main__"})
_SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def main_identity() -> str:
    """Return a stable name for the program that is running as ``__main__``.

    That is, in this order: the module's dotted name under ``python -m``; the real absolute
    path of the script; the path of the notebook, where the notebook tells it; otherwise
    ``"<interactive>"``. A worker process that was spawned by the program has the same identity.
    """
    main = sys.modules.get("__main__")
    if main is None:
        return INTERACTIVE
    names = vars(main)
    spec = names.get("__spec__")
    name = getattr(spec, "name", None) or names.get(MAIN_NAME)
    if isinstance(name, str) and name not in _MAIN_NAMES:
        return name
    file = names.get("__file__") or names.get(MAIN_FILE)
    if isinstance(file, str) and not file.startswith("<"):
        return _real_path(file)
    for told in (
        names.get("__vsc_ipynb_file__"),
        names.get("__session__"),
        os.environ.get("JPY_SESSION_NAME"),
    ):
        # Some front ends hand out an identifier that is new in every session.
        if isinstance(told, str) and told.endswith(".ipynb") and not _SESSION_ID.search(told):
            return _real_path(told) if os.path.isabs(told) else told
    return INTERACTIVE


@lru_cache(maxsize=64)
def _real_path(path: str) -> str:
    return os.path.realpath(path)


def module_of(obj: object) -> str:
    """Return the name of the module that defines ``obj``, ``__main__`` resolved.

    An empty string stands for an object that has no module.

    Args:
        obj: a function, a method, a class or anything else with a ``__module__``.

    >>> import collections
    >>> module_of(collections.OrderedDict), module_of(len), module_of(str.upper)
    ('collections', 'builtins', 'builtins')
    """
    name = _defining_module(obj)
    return main_identity() if name in _MAIN_NAMES else name


def _defining_module(obj: object) -> str:
    name = getattr(obj, "__module__", None)
    if isinstance(name, str):
        return name
    owner = getattr(obj, "__objclass__", None)  # a method of a C type
    if owner is None:
        owner = getattr(obj, "__self__", None)
    if isinstance(owner, ModuleType):
        return owner.__name__
    if isinstance(owner, type):
        return owner.__module__
    return ""


def import_path(obj: object) -> tuple[str, str] | None:
    """Return the module and qualified name under which another process can import ``obj``.

    None if there is no such path: it leads elsewhere or nowhere, through ``__main__``, or
    through a module that was made by hand. Nothing is imported to find out.

    Args:
        obj: a function, a method or a class.

    >>> import json
    >>> import_path(json.dumps), import_path(str.upper), import_path(lambda: 1)
    (('json', 'dumps'), ('builtins', 'str.upper'), None)
    """
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if not isinstance(name, str) or "<" in name:
        return None
    module = _defining_module(obj)
    if not module:
        # Static methods of C types, and before numpy 2.2 its functions, do not name theirs.
        module = next((m for m in _NAMELESS if _leads_to(m, name, obj)), "")
    if _leads_to(module, name, obj):
        return module, name
    if module == "builtins" and isinstance(obj, type):
        return _types_path(obj)
    return None


def _leads_to(module: str, qualname: str, obj: object) -> bool:
    found: object = sys.modules.get(module)
    if module in _MAIN_NAMES or not isinstance(found, ModuleType) or not _importable(found, module):
        return False
    for part in qualname.split("."):
        if isinstance(found, ModuleType):
            found = vars(found).get(part, found)  # getattr might import a lazy submodule
            if isinstance(found, ModuleType):
                return False
        else:
            found = getattr(found, part, None)
    return found is obj or _same_class_method(found, obj)


def _same_class_method(found: object, obj: object) -> bool:
    """Tell whether both are the same class method, which is a new object on every access."""
    if type(found) is not type(obj) or not isinstance(found, MethodType | BuiltinFunctionType):
        return False
    owner = found.__self__
    return isinstance(owner, type) and owner is getattr(obj, "__self__", None) and found == obj


def _importable(module: ModuleType, name: str) -> bool:
    if getattr(module, "__spec__", None) is not None:
        return True
    # Extension modules may carry submodules that exist once their parent is imported.
    parent, _, child = name.rpartition(".")
    above = sys.modules.get(parent)
    loader = getattr(getattr(above, "__spec__", None), "loader", None)
    return type(loader).__name__ == "ExtensionFileLoader" and getattr(above, child, None) is module


def _types_path(obj: type) -> tuple[str, str] | None:
    """Find a type such as ``NoneType`` which says that it is a builtin and is not."""
    for name in sorted(types.__all__):
        if getattr(types, name) is obj:
            return "types", name
    return None


def closure_of(function: FunctionType) -> dict[str, object]:
    """Return what ``function`` closes over: name to value; cells still empty are left out."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    # An empty cell is equal to a new one, and to no other.
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}


def globals_used(function: FunctionType) -> dict[str, object]:
    """Return the module globals that ``function`` and the functions within it refer to.

    Only names that exist now are in it; builtins are not.
    """
    namespace = function.__globals__
    return {name: namespace[name] for name in _global_names(function.__code__) if name in namespace}


@lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for instruction in dis.get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        if operation in {"LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"} or (
            # The body of a class: its names may be globals, and each begins with this one.
            operation == "LOAD_NAME" and name != "__name__"
        ):
            found[name] = None
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(dict.fromkeys(_global_names(constant)))
    return tuple(found)
