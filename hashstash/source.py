"""The exact source text of a function or class, or None: never that of another one."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType
from typing import NamedTuple

_FUTURES = 0x1FE0000
"""The flags of ``from __future__``, which a notebook carries from cell to cell."""

_MARK = 1_000_000
"""Added to the line numbers of one node, to find the code that is compiled from it."""

_MAX_KNOWN = 4096

_REMEMBERED = "<hashstash "
"""How the file names begin whose text is in memory, and never changes."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = Function | ast.ClassDef | ast.Lambda


class _File(NamedTuple):
    """A text and how to compile it."""

    name: str
    text: str
    flags: int


_known: dict[tuple[str, bytes, CodeType], str] = {}


def source_of(obj: object) -> str | None:
    """Return the source of a function, method, lambda or class, or None if it cannot be had.

    The text is that of the one node that defines it, without the indentation around it: a
    lambda alone also when two share a line, a ``def`` without its decorators (they are other
    objects), a class with them. It is compiled and compared with the code at hand, so a file
    that has been edited since gives None, or the right text if only other parts of it changed.

    Args:
        obj: what to look for; anything else gives None.

    >>> import json
    >>> source_of(json.loads).splitlines()[0]
    'def loads(s, *, cls=None, object_hook=None, parse_float=None,'
    >>> source_of(len) is None
    True
    """
    if isinstance(obj, MethodType):
        obj = obj.__func__
    if isinstance(obj, FunctionType):
        return _function_source(obj)
    if isinstance(obj, type):
        return _class_source(obj)
    return None


def remember_source(text: str) -> str:
    """Keep ``text`` in memory as a source file; return the file name to compile it under.

    ``source_of``, tracebacks and ``inspect`` then find functions that are made from it, also if
    what is compiled is its syntax tree within another (in a function, for what it closes over).

    Args:
        text: what will be compiled.
    """
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    name = f"{_REMEMBERED}{digest}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    return name


def _function_source(function: FunctionType) -> str | None:
    code = function.__code__
    # Equal code may come from two lambdas of one line, which differ in their line tables.
    key = (code.co_filename, code.co_linetable, code)
    found = _known.get(key)
    if found is None:
        for file in _versions(code.co_filename, function.__globals__, code.co_flags & _FUTURES):
            found = _find_function(code, file)
            if found is not None:
                if len(_known) >= _MAX_KNOWN:
                    _known.clear()
                _known[key] = found
                break
    return found


def _versions(name: str, namespace: dict[str, object], flags: int) -> Iterator[_File]:
    """Yield the file as it was when it was first looked at, then as it is now if that differs."""
    before = "".join(linecache.getlines(name, namespace))
    if before:
        yield _File(name, before, flags)
    linecache.checkcache(name)
    now = "".join(linecache.getlines(name, namespace))
    if now and now != before:
        yield _File(name, now, flags)


@lru_cache(maxsize=2)
def _tree(file: _File) -> ast.Module | None:
    try:
        return ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=16)
def _codes(file: _File) -> dict[str, list[CodeType]]:
    """Compile a file; return all the code objects in it by name."""
    try:
        module = compile(file.text, file.name, "exec", file.flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, list[CodeType]] = {}
    for code in _within(module):
        found.setdefault(code.co_name, []).append(code)
    return found


def _within(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _within(constant)


def _find_remembered(code: CodeType, file: _File) -> str | None:
    """Find code that was compiled within other code, from a text that cannot have changed."""
    tree = _tree(file)
    nodes = _functions_at(tree, code) if tree is not None else []
    if len(nodes) == 1:
        return _text(nodes[0], file)
    for index, node in enumerate(nodes):
        compiled = _compiled_from(index, code, file)
        if compiled is not None and _outline(compiled) == _outline(code):
            return _text(node, file)
    return None


def _outline(code: CodeType) -> tuple[object, ...]:
    """Return what does not depend on whether a name is global or closed over."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    # Before 3.11 the constants have the qualified names of inner functions among them.
    called = {each.co_name for each in inner}
    constants = [
        _constant(value)
        for value in code.co_consts
        if not isinstance(value, CodeType)
        and not (isinstance(value, str) and value.rpartition(".")[2] in called)
    ]
    return (
        code.co_name,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames),
        {*code.co_names, *code.co_freevars, *code.co_cellvars} - {*code.co_varnames},
        constants,
        {*_columns(code)} - {(None, None)},  # what looks closed-over names up has no place
        [_outline(each) for each in inner],
    )


def _find_function(code: CodeType, file: _File) -> str | None:
    if file.name.startswith(_REMEMBERED):
        return _find_remembered(code, file)
    alike = [other for other in _codes(file).get(code.co_name, ()) if same_code(other, code)]
    tree = _tree(file)
    if not alike or tree is None:
        return None
    # The nearest: the very same place, else the same line, else the first with equal code.
    first = min(
        alike,
        key=lambda c: (c.co_firstlineno != code.co_firstlineno, _columns(c) != _columns(code)),
    )
    nodes = _functions_at(tree, first)
    if len(nodes) == 1:
        return _text(nodes[0], file)
    best = None
    for index, node in enumerate(nodes):
        compiled = _compiled_from(index, first, file)
        if compiled is not None and same_code(compiled, code):
            if _columns(compiled) == _columns(first):
                return _text(node, file)
            best = best or node
    return _text(best, file) if best is not None else None


def _functions_at(tree: ast.Module, code: CodeType) -> list[Function | ast.Lambda]:
    """Return the nodes that begin on the code's line and have its name, in order."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, Function | ast.Lambda)
        and _first_line(node) == code.co_firstlineno
        and getattr(node, "name", "<lambda>") == code.co_name
    ]


def _first_line(node: Node) -> int:
    decorators = getattr(node, "decorator_list", ())
    return min((d.lineno for d in decorators), default=node.lineno)


def _compiled_from(index: int, code: CodeType, file: _File) -> CodeType | None:
    """Return the code that the ``index``-th node on the code's line is compiled to."""
    tree = ast.parse(file.text)
    node = _functions_at(tree, code)[index]
    ast.increment_lineno(node, _MARK)
    module = compile(tree, file.name, "exec", file.flags, dont_inherit=True)
    line = code.co_firstlineno + _MARK
    marked = (c for c in _within(module) if c.co_firstlineno == line and c.co_name == code.co_name)
    return next(marked, None)  # those nested in it come later


def _columns(code: CodeType) -> list[tuple[int | None, int | None]]:
    """Return from which column to which each instruction comes; empty before Python 3.11."""
    if sys.version_info < (3, 11):
        return []
    return [(start, end) for _, _, start, end in code.co_positions()]


def same_code(one: CodeType, two: CodeType) -> bool:
    """Tell whether both do the same under the same names, wherever they stand."""
    return one is two or _essence(one) == _essence(two)


def _essence(code: CodeType) -> tuple[object, ...]:
    return (
        code.co_name,
        code.co_code,
        code.co_flags,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        tuple(map(_constant, code.co_consts)),
        getattr(code, "co_exceptiontable", None),
    )


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return _essence(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    if isinstance(value, frozenset):
        return frozenset(map(_constant, value))
    return type(value), repr(value)  # keeps 1 from True and 0.0 from -0.0


def _text(node: Node, file: _File) -> str | None:
    """Return the node's own text, if it can be read back as the same node."""
    lines = file.text.split("\n")
    top = _first_line(node) if isinstance(node, ast.ClassDef) else node.lineno
    last = (node.end_lineno or node.lineno) - 1
    chosen = lines[top - 1 : last + 1]
    chosen[-1] = chosen[-1].encode()[: node.end_col_offset].decode(errors="replace")
    margin = chosen[0][: len(chosen[0]) - len(chosen[0].lstrip())]
    if isinstance(node, ast.Lambda):
        chosen[0] = lines[top - 1].encode()[node.col_offset :].decode(errors="replace")
        if top - 1 == last:
            length = (node.end_col_offset or 0) - node.col_offset
            chosen[0] = chosen[0].encode()[:length].decode(errors="replace")
    inside = _lines_inside_strings(node)
    text = "\n".join(
        line if number in inside else _without_margin(line, margin)
        for number, line in enumerate(chosen, top)
    )
    return text if _reads_as(text, node) else None


def _without_margin(line: str, margin: str) -> str:
    if line.startswith(margin):
        return line[len(margin) :]
    # Within brackets, and before a comment, a line may be indented less.
    return line.lstrip(" \t") if len(line) - len(line.lstrip(" \t")) < len(margin) else line


def _lines_inside_strings(node: Node) -> set[int]:
    """Return the lines whose indentation is part of a string."""
    found: set[int] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr) or (
            isinstance(part, ast.Constant) and isinstance(part.value, str | bytes)
        ):
            found.update(range(part.lineno + 1, (part.end_lineno or part.lineno) + 1))
    return found


def _reads_as(text: str, node: Node) -> bool:
    wrapped = f"({text}\n)" if isinstance(node, ast.Lambda) else text
    try:
        (statement,) = ast.parse(wrapped).body
        found = statement.value if isinstance(statement, ast.Expr) else statement
        return _dump(found) == _dump(node)
    except (SyntaxError, ValueError, RecursionError):
        return False


def _dump(node: ast.AST) -> str:
    if isinstance(node, Function):
        node = copy(node)
        node.decorator_list = []
    return ast.dump(node)


def _class_source(cls: type) -> str | None:
    texts = set()
    for name in _files_of(cls):
        module = sys.modules.get(cls.__module__)
        for file in _versions(name, vars(module) if module else {}, 0):
            tree = _tree(file)
            for node in _classes_called(cls.__qualname__, tree) if tree else ():
                if _made_from(cls, node, file):
                    texts.add(_text(node, file))
            if texts:
                return texts.pop() if len(texts) == 1 else None
    return None


def _files_of(cls: type) -> list[str]:
    """Return where the class may have been defined: its methods' files, then its module's."""
    names = [f.__code__.co_filename for f in _own_functions(cls).values()]
    names.append(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
    return [name for name in dict.fromkeys(names) if name]


def _own_functions(cls: type) -> dict[str, FunctionType]:
    """Return the functions written in the class's body that it still has as methods."""
    found = {}
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if isinstance(function, FunctionType) and (
            function.__qualname__ == f"{cls.__qualname__}.{function.__name__}"
        ):
            found[name] = function
    return found


def _classes_called(qualname: str, tree: ast.AST, prefix: str = "") -> Iterator[ast.ClassDef]:
    for node in ast.iter_child_nodes(tree):
        inner = prefix
        if isinstance(node, ast.ClassDef):
            if prefix + node.name == qualname:
                yield node
            inner = f"{prefix}{node.name}."
        elif isinstance(node, Function):
            inner = f"{prefix}{node.name}.<locals>."
        if not inner or qualname.startswith(inner):
            yield from _classes_called(qualname, node, inner)


def _made_from(cls: type, node: ast.ClassDef, file: _File) -> bool:
    """Tell whether the class as it is now is what the node makes."""
    lines = {node.lineno, _first_line(node)}
    members = vars(cls)
    if members.get("__firstlineno__", node.lineno) not in lines:
        return False  # Python 3.13 tells
    bodies = [c for c in _codes(file).get(node.name, ()) if c.co_firstlineno in lines]
    written = [c for body in bodies for c in body.co_consts if isinstance(c, CodeType)]
    functions = _own_functions(cls)
    if not all(
        any(same_code(c, f.__code__) for c in written)
        for f in functions.values()
        if f.__code__.co_filename == file.name
    ):
        return False
    for part in node.body:
        if isinstance(part, Function) and not part.decorator_list:
            name = _mangled(part.name, cls.__name__)
            if name not in functions:
                return False
        elif isinstance(part, ast.Assign | ast.AnnAssign) and not _still_holds(part, cls):
            return False
    return True


def _mangled(name: str, owner: str) -> str:
    private = name.startswith("__") and not name.endswith("__") and owner.strip("_")
    return f"_{owner.lstrip('_')}{name}" if private else name


def _still_holds(part: ast.Assign | ast.AnnAssign, cls: type) -> bool:
    """Tell whether an attribute that is set to a constant in the body still has that value."""
    target = part.target if isinstance(part, ast.AnnAssign) else part.targets[0]
    if not isinstance(part.value, ast.Constant) or not isinstance(target, ast.Name):
        return True
    value = vars(cls).get(_mangled(target.id, cls.__name__), part.value.value)
    return type(value) is not type(part.value.value) or value == part.value.value
