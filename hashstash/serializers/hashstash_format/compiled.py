"""The code of a single function or class from its own source text, without running anything.

The text is that of one node. It is compiled inside a function whose arguments are the names that
the code closes over, and inside a class of the right name where private names are to be mangled.
Only the code object in the middle is used.
"""

from __future__ import annotations

import ast
import sys
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from hashstash.source import remember_source, same_code

_OUTER, _INNER, _ITSELF = "__hashstash_outer__", "__hashstash_inner__", "__hashstash_itself__"
_NESTED = 0x10
FUTURES = 0x1FE0000
"""The flags of code that say which ``from __future__`` it was compiled with."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@lru_cache(maxsize=512)
def function_code(
    text: str, qualname: str, free: tuple[str, ...], futures: int, imported: frozenset[str]
) -> CodeType:
    """Return the code of a function or lambda.

    Args:
        text: the source of its node, without decorators.
        qualname: its qualified name.
        free: the names that it closes over.
        futures: compiler flags.
        imported: the global names that its module imports: their methods are called otherwise.

    Raises:
        SyntaxError: the text is not the source of a function for this Python.
    """
    text = f"({text}\n)" if text.startswith("lambda") else text
    (statement,) = ast.parse(text).body
    node = statement.value if isinstance(statement, ast.Expr) else statement
    if not isinstance(node, _Function | ast.Lambda):
        raise SyntaxError("not a function")  # noqa: TRY004 - as any other bad source
    name = _strip(node)
    owner = _owner(qualname)
    names = free if owner is None else tuple(name for name in free if name != "__class__")
    body = statement if owner is None else _class(owner, statement)
    imports = [ast.Import([ast.alias(name)]) for name in sorted(imported)]
    code = _only_code(_compiled([*imports, _function(_OUTER, names, [body])], text, futures))
    if owner is not None:
        code = _only_code(code)
    code = _only_code(code).replace(co_name=name)
    prefix = f"{_OUTER}.<locals>." if owner is None else f"{_OUTER}.<locals>.{owner}."
    return _requalified(code, prefix + (_ITSELF if name != "<lambda>" else name), qualname)


def recompiles(text: str, qualname: str, function: FunctionType) -> bool:
    """Tell whether ``text`` compiles to the code of ``function`` by itself."""
    code = function.__code__
    names = [name for name in attribute_names(code) if name in function.__globals__]
    elsewhere = {name for name in names if _is_from_elsewhere(function.__globals__, name)}
    for imported in (frozenset(elsewhere), frozenset(names), frozenset[str]()):
        try:
            found = function_code(
                text, qualname, code.co_freevars, code.co_flags & FUTURES, imported
            )
        except (SyntaxError, ValueError, RecursionError, IndexError):
            return False
        flags = (found.co_flags & ~_NESTED) | (code.co_flags & _NESTED)
        if same_code(found.replace(co_flags=flags), code):
            return True
    return False


def _is_from_elsewhere(namespace: dict[str, Any], name: str) -> bool:
    value = namespace[name]
    home = getattr(value, "__module__", None)
    return isinstance(value, ModuleType) or home != namespace.get("__name__")


def attribute_names(code: CodeType) -> set[str]:
    """Return the names of globals and attributes in code and the code within it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= attribute_names(constant)
    return found


@lru_cache(maxsize=512)
def class_maker(text: str, qualname: str, free: tuple[str, ...], futures: int) -> CodeType:
    """Return the code of a function without arguments that executes a class statement.

    Args:
        text: the source of the class, with its decorators.
        qualname: its qualified name.
        free: the names that it closes over, as it does then.
        futures: compiler flags.

    Raises:
        SyntaxError: the text is not the source of a class for this Python.
    """
    (node,) = ast.parse(text).body
    if not isinstance(node, ast.ClassDef):
        raise SyntaxError("not a class")  # noqa: TRY004 - as any other bad source
    *_, around, itself = "", *qualname.split(".")
    statement: ast.stmt = node
    found: ast.expr = ast.Name(itself, ast.Load())
    prefix = f"{_OUTER}.<locals>.{_INNER}.<locals>."
    first: list[ast.stmt] = []
    if not around:
        first, prefix = [ast.Global([itself])], ""
    elif around != "<locals>":
        statement, prefix = _class(around, node), f"{prefix}{around}."
        found = ast.Attribute(ast.Name(around, ast.Load()), itself, ast.Load())
    inner = _function(_INNER, (), [*first, statement, ast.Return(found)])
    code = _only_code(_only_code(_compiled([_function(_OUTER, free, [inner])], text, futures)))
    return _requalified(code, prefix + itself, qualname)


def _strip(node: _Function | ast.Lambda) -> str:
    """Remove what is evaluated where a function is defined, and is kept as a value.

    Also its name, which is not among those it looks up around it; return that.
    """
    arguments = node.args
    arguments.defaults = []
    arguments.kw_defaults = [None] * len(arguments.kwonlyargs)
    if isinstance(node, ast.Lambda):
        return "<lambda>"
    name, node.name = node.name, _ITSELF
    node.decorator_list = []
    node.returns = None
    if sys.version_info >= (3, 12):
        node.type_params = []
    for argument in (
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ):
        if argument is not None:
            argument.annotation = None
    return name


def _owner(qualname: str) -> str | None:
    """Return the name of the innermost class in whose body the function stands."""
    parts = qualname.split(".")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] != "<locals>" and parts[index + 1] != "<locals>":
            return parts[index] if parts[index].isidentifier() else None
    return None


def _function(name: str, arguments: tuple[str, ...], body: list[ast.stmt]) -> ast.FunctionDef:
    (node,) = ast.parse(f"def {name}({', '.join(arguments)}): pass").body
    assert isinstance(node, ast.FunctionDef)
    node.body = body
    return node


def _class(name: str, body: ast.stmt) -> ast.ClassDef:
    (node,) = ast.parse(f"class {name}: pass").body
    assert isinstance(node, ast.ClassDef)
    node.body = [body]
    return node


def _compiled(body: list[ast.stmt], text: str, futures: int) -> CodeType:
    module = ast.fix_missing_locations(ast.Module(body, []))
    code: CodeType = compile(module, remember_source(text), "exec", futures, dont_inherit=True)
    return code


def _only_code(code: CodeType) -> CodeType:
    found = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found[0]


def _requalified(code: CodeType, prefix: str, within: str) -> CodeType:
    """Return ``code`` with qualified names as they are where the source really stands.

    They are in the code of classes, and before Python 3.11 of whatever makes a function.
    """

    def renamed(constant: object) -> object:
        if isinstance(constant, CodeType):
            return _requalified(constant, prefix, within)
        if type(constant) is str and constant.startswith(prefix):
            return within + constant[len(prefix) :]
        return constant

    changed = code.replace(co_consts=tuple(map(renamed, code.co_consts)))
    if sys.version_info >= (3, 11):
        changed = changed.replace(co_qualname=renamed(code.co_qualname))  # type: ignore[arg-type]
    return changed
