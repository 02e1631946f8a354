"""Which function it is, and which state of its code: what results are kept apart by."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Literal, NamedTuple

from hashstash.errors import ConfigurationError, UnstableKeyError
from hashstash.keys import stable_hash
from hashstash.origin import closure_of, globals_used, module_of, source_of

OnChange = Literal["body", "deps", "ignore"]
ON_CHANGE = ("body", "deps", "ignore")

_UNSAFE = re.compile(r"[^\w.<>-]", re.ASCII)
_LONGEST = 120
_parsing = threading.Lock()


class Callee(NamedTuple):
    """A callable taken apart: the function, and the arguments that it was bound to before.

    Attributes:
        function: what is called in the end.
        args: positional arguments that come first (``self``, those of a ``partial``).
        kwargs: keyword arguments that calls may override.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Identity(NamedTuple):
    """A function as results are kept apart by.

    Attributes:
        name: ``module.qualname``, as shown to people.
        place: the same as part of a ``dbname``, unique to this function.
        version: the state of its code.
    """

    name: str
    place: str
    version: str


def callee_of(function: Callable[..., Any]) -> Callee:
    """Return what a partial, a bound method or a callable object calls in the end.

    >>> callee_of(partial(int, "7", base=8))
    Callee(function=<class 'int'>, args=('7',), kwargs={'base': 8})
    """
    if isinstance(function, partial):
        inner = callee_of(function.func)
        return Callee(
            inner.function, (*inner.args, *function.args), {**inner.kwargs, **function.keywords}
        )
    if isinstance(function, MethodType):
        inner = callee_of(function.__func__)
        return Callee(inner.function, (*inner.args, function.__self__), inner.kwargs)
    if isinstance(function, FunctionType) or not callable(function):
        return _checked(function)
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method is what is called
    if isinstance(call, FunctionType):
        return Callee(call, (function,), {})
    return _checked(function)


def _checked(function: object) -> Callee:
    if not callable(function):
        raise TypeError(f"A {type(function).__name__} is not callable: {function!r}")
    return Callee(function, (), {})


def identity_of(
    function: Callable[..., Any], on_change: OnChange = "body", version: object = None
) -> Identity:
    """Return the identity of a function (of ``callee_of(...).function``).

    Args:
        function: a function, builtin or class.
        on_change: what makes earlier results stale: ``body``, a change of its own code, not
            counting comments, docstrings and formatting; ``deps``, also of functions of the
            same package that it calls; ``ignore``, nothing.
        version: stands for the state of the code instead; any object with a stable form.
    """
    if on_change not in ON_CHANGE:
        raise ConfigurationError(f"on_change is one of {', '.join(ON_CHANGE)}, not {on_change!r}")
    module = module_of(function)
    qualname = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if not isinstance(qualname, str):
        raise TypeError(f"{function!r} has no name to keep its results under")
    shown = getattr(function, "__module__", None) or module
    place = _UNSAFE.sub("_", f"{shown}.{qualname}")[-_LONGEST:]
    if place != f"{module}.{qualname}":  # a script's path, or letters that no folder takes
        place += f"-{stable_hash((module, qualname))[:12]}"
    if version is not None:
        state = stable_hash(("version", version))
    elif on_change == "ignore":
        state = stable_hash(("ignore", _captured_hash(function)))
    else:
        state = stable_hash((on_change, code_state(function, deps=on_change == "deps")))
    return Identity(f"{shown}.{qualname}", place, state[:20])


def code_state(function: Callable[..., Any], *, deps: bool = False) -> tuple[Any, ...]:
    """Return what tells two states of a function's code apart, as an object with a stable form.

    Args:
        function: any callable; what is not written in Python has one state.
        deps: whether the functions of the same package that it calls are included.
    """
    state = (_body(function), _captured_hash(function))
    if not deps:
        return state
    called = {id(other): other for other in _called(function, {id(function)})}
    bodies = [(module_of(f), f.__qualname__, _body(f), _captured_hash(f)) for f in called.values()]
    return (*state, sorted(bodies, key=stable_hash))


def code_token(
    function: Callable[..., Any], *, deps: bool = False, versioned: bool = False
) -> object:
    """Return what is equal as long as ``identity_of`` gives the same, and costs little.

    A function that closes over values may see others at any time, so they are in it.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(function, FunctionType):
        return code
    captured = _captured_hash(function) if function.__closure__ and not versioned else ""
    if not deps:
        return code, captured
    return code, captured, tuple(other.__code__ for other in _called(function, {id(function)}))


def _body(function: Callable[..., Any]) -> str | tuple[Any, ...]:
    """Return the syntax of a function without what does not change what it does."""
    source = source_of(function)
    if source is None:
        code = getattr(function, "__code__", None)
        return _compiled(code) if isinstance(code, CodeType) else "builtin"
    with _parsing:  # Python 3.11 miscounts its depth when threads parse at once
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body[0] = ast.Pass()
    return blake2b(ast.dump(tree).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _compiled(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_compiled(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return ("code", code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars)


def _captured(function: Callable[..., Any]) -> dict[str, object]:
    """Return what a function closes over or is bound to: another value is another function."""
    if isinstance(function, FunctionType):
        values = closure_of(function)
        return {name: value for name, value in values.items() if value is not function}
    owner = getattr(function, "__self__", None)  # of a method written in C
    return {} if owner is None or isinstance(owner, ModuleType) else {"__self__": owner}


def _captured_hash(function: Callable[..., Any]) -> str:
    captured = _captured(function)
    try:
        return stable_hash(captured) if captured else ""
    except UnstableKeyError as exc:
        raise UnstableKeyError(
            f"{function!r} closes over something that has no stable form ({exc}): pass it as an "
            "argument, make it a global, or say version=... for the function's code"
        ) from exc


def _called(function: Callable[..., Any], seen: set[int]) -> Iterator[FunctionType]:
    """Yield the functions of the same package that ``function`` refers to, and theirs."""
    if not isinstance(function, FunctionType):
        return
    package = module_of(function).partition(".")[0]
    for found in _referred(function):
        if isinstance(found, FunctionType) and id(found) not in seen:
            seen.add(id(found))
            if module_of(found).partition(".")[0] == package:
                yield found
                yield from _called(found, seen)


def _referred(function: FunctionType) -> Iterator[object]:
    """Yield the objects behind the global names of a function, one attribute deep."""
    names = set(_names(function.__code__))
    for value in globals_used(function).values():
        unwrapped = getattr(value, "__wrapped__", value)
        if isinstance(unwrapped, type):
            yield from (vars(unwrapped).values())
        elif isinstance(unwrapped, ModuleType):
            attributes = vars(unwrapped)
            yield from (attributes[name] for name in names if name in attributes)
        else:
            yield unwrapped


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
