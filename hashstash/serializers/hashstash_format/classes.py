"""Classes: by import where that leads back, otherwise rebuilt from source or from what they hold.

A class keeps its identity: in the process that wrote it, reading gives the class itself, and in
another one all values that were written with it share one class.
"""

from __future__ import annotations

import abc
from collections import Counter, OrderedDict, defaultdict, deque
from types import FunctionType
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

from .class_sources import Definition, added_later, assigned_in, define
from .compiled import class_maker
from .functions import fill_names
from .imports import import_node
from .spaces import claim, global_values, live, space_of
from .vocabulary import RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_MADE_FROM = 8
_PLAIN_METACLASSES = (type, abc.ABCMeta)
_DATA = frozenset(
    {str, int, float, bool, type(None), bytes, complex, list, dict, set, frozenset, tuple,
     Counter, OrderedDict, defaultdict, deque}
)  # fmt: skip

_identities: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_living: WeakValueDictionary[str, type] = WeakValueDictionary()
_definitions: WeakKeyDictionary[type, Definition | None] = WeakKeyDictionary()
_unfinished: WeakKeyDictionary[type, Definition] = WeakKeyDictionary()


def class_parts(writer: Writer, value: type) -> Parts | Node:
    """Return the parts of a class that is not builtin."""
    node = import_node(value)
    if node is not None:
        return node
    if value not in _definitions:
        _definitions[value] = define(value)
    definition = _definitions[value]
    if definition is None or added_later(value, definition.written):
        from .dynamic_classes import dynamic_parts

        return dynamic_parts(writer, value)
    return _defined_parts(writer, value, definition)


def identity_of(value: type) -> str:
    """Return a name for the class that no other has."""
    found = _identities.get(value)
    if found is None:
        found = uuid4().hex
        remember(value, found)
    return found


def remember(value: type, identity: str) -> None:
    """Let the class be found by its identity as long as it lives."""
    _identities[value] = identity
    _living[identity] = value


def living(identity: str, home: str, qualname: str) -> type | None:
    """Return the class of this identity, or the running program's own, or None."""
    found = _living.get(identity)
    if found is None:
        candidate = live(home, qualname)
        found = candidate if isinstance(candidate, type) else None
    return found


def _defined_parts(writer: Writer, value: type, definition: Definition) -> Parts:
    names = definition.namespace
    early, late = ([n for n in part if n in names] for part in (definition.early, definition.late))
    return "!class", [
        identity_of(value),
        claim(names, value.__qualname__, value),
        value.__qualname__,
        definition.text,
        definition.futures,
        " ".join(definition.cells),
        " ".join(early),
        space_of(writer, names),
        *definition.cells.values(),
        *global_values(names, early),
        _data(value),
        definition.modules,
        " ".join(late),
        *global_values(names, late),
    ]


def _data(value: type) -> dict[str, Any] | None:
    """Return the attributes that are data, and may have changed since the class was made."""
    if type(value) not in _PLAIN_METACLASSES:
        return None
    return {
        name: attribute
        for name, attribute in vars(value).items()
        if type(attribute) in _DATA and not name.startswith(("__", "_abc_"))
    } or None


def _early_end(nodes: list[Any]) -> int:
    return _MADE_FROM + len(nodes[5].split()) + len(nodes[6].split())


def _begin_class(first: list[Any]) -> type:
    identity, home, qualname, text, futures, free, names, namespace, *values = first
    found = living(identity, home, qualname)
    if found is not None:
        return found
    count = len(free.split())
    cells = dict(zip(free.split(), values[:count], strict=True))
    early = dict(zip(names.split(), values[count:], strict=True))
    namespace.update(early)
    code = class_maker(text, qualname, tuple(cells), futures)
    make = FunctionType(code, namespace, None, None, tuple(cells[n] for n in code.co_freevars))
    made = make()
    if not isinstance(made, type):
        raise TypeError(f"the source of {qualname!r} makes a {type(made).__name__}")
    _unfinished[made] = Definition(
        text, futures, namespace, cells, "", tuple(early), (), frozenset()
    )
    remember(made, identity)
    return made


def _fill_class(value: type, children: list[Any]) -> None:
    definition = _unfinished.pop(value, None)
    if definition is None:
        return  # it lives here already
    data, modules, late, *values = children
    for name, attribute in (data or {}).items():
        setattr(value, name, attribute)
    fill_names(definition.namespace, modules, late, values)
    _definitions[value] = definition._replace(
        modules=modules, late=tuple(late.split()), written=assigned_in(definition.text)
    )


def _step(value: type, index: int) -> str:
    definition = _definitions.get(value)
    if definition is None or index < _MADE_FROM:
        return ""
    index -= _MADE_FROM
    cells = list(definition.cells)
    if index < len(cells):
        return f".__closure__[{cells[index]!r}]"
    names = [*definition.early, None, None, None, *definition.late]
    name = names[index - len(cells)]
    return "" if name is None else f".__globals__[{name!r}]"


RULES["!class"] = Rule(begin=_begin_class, fill=_fill_class, first=_early_end, code=True)
STEPS["!class"] = _step
