"""Exceptions: arguments, attributes, notes, causes; without running their ``__init__``.

Tracebacks are not kept: they hold the frames of a process.
"""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from .names import EXCEPTIONS
from .refusal import ATTRIBUTE, Refusal
from .vocabulary import RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_BUILTIN = frozenset(EXCEPTIONS.values())
_NAMED = (AttributeError, NameError)


def exception_parts(writer: Writer, value: BaseException) -> Parts | Node:
    """Return the parts of an exception of any class."""
    kind = type(value)
    if _reduces_itself(kind):
        from .objects import reduction

        if id(value) == writer.blamed:
            raise Refusal("")
        writer.doubts.setdefault(kind, value)
        function, arguments, state, *more = reduction(writer, value)
        if any(item is not None for item in more):
            raise Refusal("an exception that is also a container")
        return "!raised", [function, arguments, *_causes(value), state]
    arguments, state = _contents(value)
    return "!exception", [kind, arguments, *_causes(value), state]


def _causes(value: BaseException) -> list[object]:
    return [value.__cause__, value.__context__, value.__suppress_context__]


def _reduces_itself(kind: type) -> bool:
    """Tell whether a class of a user says how its exceptions are copied."""
    return any(
        name in vars(cls)
        for cls in kind.__mro__
        if cls not in _BUILTIN and cls is not object
        for name in ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
    )


def _contents(value: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    base = _builtin_base(type(value))
    reduction: Any = base.__reduce__(value)
    _, arguments, *more = reduction
    state = dict(more[0]) if more and more[0] else {}
    if isinstance(value, _NAMED):
        # Before Python 3.12 their copies lose it.
        name = getattr(value, "name", None)
        if name is not None:
            state["name"] = name
    for cls in type(value).__mro__:
        if cls not in _BUILTIN:
            for slot, member in vars(cls).items():
                if isinstance(member, MemberDescriptorType) and hasattr(value, slot):
                    state[slot] = getattr(value, slot)
    return arguments, state


def _builtin_base(kind: type[BaseException]) -> type[BaseException]:
    return next(cls for cls in kind.__mro__ if cls in _BUILTIN)


def _begin_exception(first: list[Any]) -> BaseException:
    kind, arguments = first
    if not issubclass(kind, BaseException):
        raise TypeError(f"{kind!r} is not an exception")
    base = _builtin_base(kind)
    value: BaseException = base.__new__(kind, *arguments)
    base.__init__(value, *arguments)
    return value


def _fill_exception(value: BaseException, children: list[Any]) -> None:
    cause, context, suppress, state = children
    for name, attribute in state.items():
        member = getattr(type(value), name, None)
        if isinstance(member, MemberDescriptorType | GetSetDescriptorType) and name[:2] != "__":
            setattr(value, name, attribute)
        else:
            vars(value)[name] = attribute
    _set_causes(value, cause, context, suppress)


def _set_causes(value: BaseException, cause: Any, context: Any, suppress: bool) -> None:
    value.__cause__ = cause
    value.__context__ = context
    value.__suppress_context__ = suppress


def _begin_raised(first: list[Any]) -> BaseException:
    function, arguments = first
    value = function(*arguments)
    if not isinstance(value, BaseException):
        raise TypeError(f"{function!r} did not make an exception")
    return value


def _fill_raised(value: BaseException, children: list[Any]) -> None:
    from .objects import set_state

    cause, context, suppress, state = children
    if state is not None:
        set_state(value, state)
    _set_causes(value, cause, context, suppress)


def _step(_: object, index: int) -> str:
    return (
        ".__class__", ".args", ".__cause__", ".__context__", ".__suppress_context__", ATTRIBUTE,
    )[index]  # fmt: skip


RULES["!exception"] = Rule(begin=_begin_exception, fill=_fill_exception, first=2)
RULES["!raised"] = Rule(begin=_begin_raised, fill=_fill_raised, first=2, code=True)
STEPS["!exception"] = STEPS["!raised"] = _step
