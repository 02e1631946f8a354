"""Whether a class can be made again by executing its source, and what that needs."""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import symtable
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from hashstash.origin import source_of

from .compiled import FUTURES, class_maker
from .spaces import cells_by_name, names_used_by, submodules

_OPTIMIZED = 0x1
_MARKERS = ("ClassVar", "InitVar", "KW_ONLY")


class Definition(NamedTuple):
    """How a class is made from its source."""

    text: str
    futures: int
    namespace: dict[str, Any]
    cells: dict[str, Any]
    modules: str
    early: tuple[str, ...]
    """The global names that executing the class statement needs."""
    late: tuple[str, ...]
    """The global names that only its methods need."""
    written: frozenset[str]
    """The names that its body assigns."""


def define(value: type) -> Definition | None:
    """Return how to make a class from its source, or None if that would not give the same."""
    text = source_of(value)
    if text is None:
        return None
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.ClassDef)
    written = assigned_in(text)
    functions = list(_written_functions(value, node))
    namespace = functions[0].__globals__ if functions else _module_names(value)
    if namespace is None or _has_text_markers(value) or added_later(value, written):
        return None
    cells: dict[str, Any] = {}
    for function in functions:
        cells.update(cells_by_name(function))
    cells.pop("__class__", None)
    futures = functions[0].__code__.co_flags & FUTURES if functions else _futures(namespace)
    gone = _enclosing_locals(value, namespace) - cells.keys()
    if not _early_names(node, futures).isdisjoint(gone | {value.__name__}):
        return None  # it was made of what was around it then
    try:
        maker = class_maker(text, value.__qualname__, tuple(cells), futures)
    except SyntaxError:  # a name that is not local where nothing is known of it
        return None
    used = names_used_by(maker, namespace)
    if used.get(value.__name__) is value:
        del used[value.__name__]  # the class statement sets it
    needed = names_used_by(_without_functions(maker), namespace)
    early = tuple(name for name in needed if name != value.__name__)
    late = tuple(name for name in used if name not in early)
    modules = submodules(used, maker)
    return Definition(text, futures, namespace, cells, modules, early, late, written)


def assigned_in(text: str) -> frozenset[str]:
    """Return the names that the body of a class assigns."""
    found: set[str] = set()
    (cls,) = ast.parse(text).body
    pending = list(ast.iter_child_nodes(cls))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            pending.extend(ast.iter_child_nodes(node))
    return frozenset(_mangled(name, cls) for name in found)


def _mangled(name: str, cls: ast.stmt) -> str:
    """Return what a private name is called in the class that it is private to."""
    owner = getattr(cls, "name", "").lstrip("_")
    private = name.startswith("__") and not name.endswith("__") and owner
    return f"_{owner}{name}" if private else name


def _written_functions(value: type, node: ast.ClassDef) -> Iterator[FunctionType]:
    """Yield the functions that the class's source defines, without those a decorator made."""
    names = {
        n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for member in vars(value).values():
        for function in _functions_of(member):
            if (
                function.__name__ in names
                and function.__globals__.get("__name__") == value.__module__
                and function.__code__.co_filename != "<string>"
            ):
                yield function


def _functions_of(member: object) -> Iterator[FunctionType]:
    found: list[object]
    if isinstance(member, staticmethod | classmethod):
        found = [member.__func__]
    elif isinstance(member, property):
        found = [member.fget, member.fset, member.fdel]
    elif isinstance(member, functools.cached_property):
        found = [member.func]
    else:
        found = [member]
    for function in found:
        if isinstance(function, FunctionType):
            yield function


def _module_names(value: type) -> dict[str, Any] | None:
    module = sys.modules.get(value.__module__)
    return None if module is None else vars(module)


def _has_text_markers(value: type) -> bool:
    """Tell whether dataclasses would look up an annotation in the module, by name."""
    return any(
        type(annotation) is str and any(marker in annotation for marker in _MARKERS)
        for annotation in vars(value).get("__annotations__", {}).values()
    )


def added_later(value: type, written: frozenset[str]) -> bool:
    """Tell whether the class has functions that somebody gave it after it was made."""
    return any(
        name not in written
        and isinstance(member, FunctionType)
        and member.__globals__.get("__name__") == value.__module__
        and not member.__code__.co_filename.startswith(("<string>", "<attrs"))
        for name, member in vars(value).items()
    )


def _futures(namespace: dict[str, Any]) -> int:
    feature = namespace.get("annotations")
    return feature.compiler_flag if isinstance(feature, __future__._Feature) else 0


def _without_functions(code: CodeType) -> CodeType:
    """Return ``code`` without that of the functions in it, which do not run when it does."""

    def kept(constant: object) -> object:
        if not isinstance(constant, CodeType):
            return constant
        runs = not constant.co_flags & _OPTIMIZED or constant.co_name.startswith("<")
        return _without_functions(constant) if runs else None

    return code.replace(co_consts=tuple(map(kept, code.co_consts)))


class _EarlyNames(ast.NodeVisitor):
    """Collect the names that executing a class statement looks up, but for those in functions.

    Args:
        lazy: whether annotations are not evaluated then.
    """

    def __init__(self, *, lazy: bool) -> None:
        self.lazy = lazy
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not self.lazy:
            self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None and not self.lazy:
            self.visit(node.annotation)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.visit(node.args)
        if node.returns is not None and not self.lazy:
            self.visit(node.returns)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)  # type: ignore[arg-type]


def _early_names(node: ast.ClassDef, futures: int) -> set[str]:
    lazy = bool(futures & __future__.annotations.compiler_flag) or sys.version_info >= (3, 14)
    visitor = _EarlyNames(lazy=lazy)
    visitor.visit(node)
    return visitor.names


def _enclosing_locals(value: type, namespace: dict[str, Any]) -> set[str]:
    """Return the names that are local to the functions and classes around a class."""
    *around, _ = value.__qualname__.split(".")
    if not around:
        return set()
    found: set[str] = set()
    for file in _files(value):
        text = "".join(linecache.getlines(file, namespace))
        tables = [symtable.symtable(text, file, "exec")]
        for part in around:
            if part == "<locals>":
                continue
            tables = [t for table in tables for t in table.get_children() if t.get_name() == part]
            for table in tables:
                found.update(s.get_name() for s in table.get_symbols() if s.is_local())
    found.discard(value.__name__)
    return found


def _files(value: type) -> set[str]:
    module = sys.modules.get(value.__module__)
    names = {f.__code__.co_filename for m in vars(value).values() for f in _functions_of(m)}
    names.add(getattr(module, "__file__", None) or "")
    return {name for name in names if linecache.getlines(name)}
