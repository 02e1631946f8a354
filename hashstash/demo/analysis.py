"""What can be said about one Python module from its source alone."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (
    *DEFINITIONS,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    getattr(ast, "TryStar", ast.Try),  # Python 3.11
    ast.Match,
)
# Where a path through a function divides in two, as McCabe counts.
BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
    ast.comprehension,
)


@dataclass
class Scope:
    """A function or module under measurement.

    Attributes:
        name: its dotted name within the module; empty for the module itself.
        line: where it begins.
        lines: how many lines it has.
        complexity: one more than its branches; those of functions inside it are theirs.
        depth: how many blocks its deepest statement is in.
    """

    name: str
    line: int
    lines: int
    complexity: int = 1
    depth: int = 0


@dataclass
class Walk:
    """What one walk over a syntax tree finds."""

    scopes: list[Scope] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    classes: int = 0
    documentable: int = 0
    documented: int = 0


def analyse(source: bytes) -> dict[str, Any]:
    r"""Return what there is to say about a module, as plain data.

    Args:
        source: the module's file as it is; a coding cookie is respected.

    Example:
        >>> found = analyse(b"import os\n\ndef f(x):\n    return 1 if x else 2\n")
        >>> found["lines"], found["imports"], found["functions"], found["complexity"]
        (4, ['os'], 1, 3)
        >>> found["hardest"]
        {'name': 'f', 'line': 3, 'lines': 2, 'complexity': 2, 'depth': 1}
        >>> analyse(b"def")["error"]
        'invalid syntax'
    """
    lines = source.count(b"\n") + (not source.endswith(b"\n") and bool(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the module's escapes and comparisons
            tree = ast.parse(source)
    except SyntaxError as exc:
        return {"lines": lines, "error": exc.msg}
    except (ValueError, RecursionError) as exc:
        return {"lines": lines, "error": str(exc)}
    walk = _walk(tree, lines)
    module, *functions = walk.scopes
    return {
        "lines": lines,
        "names": len(walk.names),
        "imports": sorted(walk.imports),
        "functions": len(functions),
        "classes": walk.classes,
        "complexity": module.complexity + sum(scope.complexity for scope in functions),
        "documentable": walk.documentable,
        "documented": walk.documented,
        "hardest": _top(functions, "complexity"),
        "longest": _top(functions, "lines"),
        "deepest": _top(functions, "depth"),
    }


def _top(functions: list[Scope], measure: str) -> dict[str, Any] | None:
    best = max(functions, key=lambda scope: getattr(scope, measure), default=None)
    return None if best is None else dict(vars(best))


def _walk(tree: ast.Module, lines: int) -> Walk:
    """Visit every node once, with the function it belongs to and the blocks around it.

    A stack and no recursion: generated code nests deeper than Python recurses.
    """
    walk = Walk()
    module = Scope("", 1, lines)
    walk.scopes.append(module)
    _count_docstring(walk, tree, public=True)
    stack: list[tuple[ast.AST, Scope, str, int]] = [(tree, module, "", 0)]
    while stack:
        node, scope, prefix, depth = stack.pop()
        if isinstance(node, DEFINITIONS):
            prefix = f"{prefix}{node.name}"
            scope = _enter(walk, node, scope, prefix)
            depth = 0 if isinstance(node, FUNCTIONS) else depth
            prefix += "."
        elif isinstance(node, BRANCHES):
            scope.complexity += 1 + len(getattr(node, "ifs", ()))
        elif isinstance(node, ast.BoolOp):
            scope.complexity += len(node.values) - 1
        else:
            _count_names(walk, node)
        scope.depth = max(scope.depth, depth)
        inside = depth + isinstance(node, BLOCKS)
        for child in _children(node):
            chained = isinstance(node, ast.If) and node.orelse == [child]
            is_elif = chained and isinstance(child, ast.If)
            stack.append((child, scope, prefix, depth if is_elif else inside))
    return walk


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item


def _enter(walk: Walk, node: Definition, scope: Scope, name: str) -> Scope:
    """Count a definition; return the scope that its body belongs to."""
    walk.names.add(node.name)
    # What is inside a function nobody outside can call.
    _count_docstring(walk, node, public=not scope.name and not node.name.startswith("_"))
    if isinstance(node, ast.ClassDef):
        walk.classes += 1
        return scope
    last = node.end_lineno or node.lineno
    entered = Scope(name, node.lineno, last - node.lineno + 1)
    walk.scopes.append(entered)
    return entered


def _count_docstring(walk: Walk, node: Definition | ast.Module, *, public: bool) -> None:
    if public:
        walk.documentable += 1
        walk.documented += ast.get_docstring(node, clean=False) is not None


def _count_names(walk: Walk, node: ast.AST) -> None:
    if isinstance(node, ast.Name):
        walk.names.add(node.id)
    elif isinstance(node, ast.Attribute):
        walk.names.add(node.attr)
    elif isinstance(node, ast.arg):
        walk.names.add(node.arg)
    elif isinstance(node, ast.Import):
        walk.imports.update(alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        walk.imports.add(node.module.partition(".")[0])
