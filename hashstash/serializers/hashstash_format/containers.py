"""Containers of the standard library: what they hold, in the order in which they hold it."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from .refusal import ATTRIBUTE, Refusal
from .scalars import encodable
from .vocabulary import DEFINED, LIST, MAPPING, PARTS, RULES, STEPS, WHOLE, Node, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_TEXTS = frozenset({str})


def _list(_: Writer, value: list[Any]) -> Parts:
    return LIST, value


def _dict(writer: Writer, value: dict[Any, Any]) -> Parts:
    if value:
        if set(map(type, value)) != _TEXTS or next(iter(value))[:1] == "!" or DEFINED in value:
            return "!dict", [*value, *value.values()]
        if writer.careful and not encodable(value):
            return "!dict", [*value, *value.values()]
    return MAPPING, value.values()


def _key_or_value(value: Any, index: int) -> str:
    keys = list(value)
    return f"[{short(keys[index - len(keys)])}]" if index >= len(keys) else f".keys()[{index}]"


def short(value: object) -> str:
    """Return the representation of a key, not longer than can be read."""
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001 - a broken __repr__ must not hide the path
        text = f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def halves(children: list[Any]) -> zip[tuple[Any, Any]]:
    """Return the pairs of a list that has all the keys before all the values."""
    middle = len(children) // 2
    return zip(children[:middle], children[middle:], strict=True)


def _fill_mapping(value: dict[Any, Any], children: list[Any]) -> None:
    for key, child in halves(children):
        value[key] = child  # noqa: PERF403 - not update: Counter's adds


def _make_proxy(children: list[Any]) -> object:
    (mapping,) = children
    if not hasattr(type(mapping), "keys"):
        raise TypeError("a mapping proxy of something else")
    return MappingProxyType(mapping)


def _default_dict(_: Writer, value: defaultdict[Any, Any]) -> Parts:
    return "!defaultdict", [value.default_factory, *value, *value.values()]


def _begin_default_dict(first: list[Any]) -> object:
    (factory,) = first
    return defaultdict(factory)


def _default_step(value: Any, index: int) -> str:
    return _key_or_value(value, index - 1) if index else ".default_factory"


def _deque(_: Writer, value: deque[Any]) -> Parts:
    return "!deque", [value.maxlen, *value]


def _begin_deque(first: list[Any]) -> deque[Any]:
    (maxlen,) = first
    return deque(maxlen=maxlen)


def _fill_chain(value: ChainMap[Any, Any], children: list[Any]) -> None:
    value.maps[:] = children


def _namespace(_: Writer, value: SimpleNamespace) -> Parts:
    return "!namespace", [vars(value)]


def _fill_namespace(value: SimpleNamespace, children: list[Any]) -> None:
    (names,) = children
    vars(value).update(names)


def _refuse_view(_: Writer, value: object) -> Parts:
    raise Refusal(f"a {type(value).__name__} is a view of a dict; store a list of it")


def _step_in_set(value: Any, index: int) -> str:
    return f"{{{short(list(value)[index])}}}"


def _mapping_step(value: Any, index: int) -> str:
    return f"[{short(list(value)[index])}]"


def _collection(tag: str) -> Callable[[Writer, Any], Parts]:
    return lambda _, value: (tag, value)


def _mapping(tag: str) -> Callable[[Writer, Any], Parts | Node]:
    def parts(writer: Writer, value: Any) -> Parts | Node:
        if vars(value):
            return _with_attributes(writer, value)
        return tag, [*value, *value.values()]

    return parts


def _chain(writer: Writer, value: ChainMap[Any, Any]) -> Parts | Node:
    return ("!ChainMap", value.maps) if len(vars(value)) == 1 else _with_attributes(writer, value)


def _with_attributes(writer: Writer, value: object) -> Parts | Node:
    """Return the parts of a container that somebody has given attributes."""
    from .objects import reduced

    return reduced(writer, value)


PARTS[list] = _list
PARTS[dict] = _dict
PARTS[tuple] = _collection("!tuple")
PARTS[set] = _collection("!set")
PARTS[frozenset] = _collection("!frozenset")
PARTS[deque] = _deque
PARTS[OrderedDict] = _mapping("!OrderedDict")
PARTS[Counter] = _mapping("!Counter")
PARTS[defaultdict] = _default_dict
PARTS[ChainMap] = _chain
PARTS[MappingProxyType] = lambda _, value: ("!mappingproxy", [value.copy()])
PARTS[SimpleNamespace] = _namespace
_view: object
for _view in ({}.keys(), {}.values(), {}.items(), OrderedDict().keys(), OrderedDict().values(),
              OrderedDict().items()):  # fmt: skip
    PARTS[type(_view)] = _refuse_view

RULES[WHOLE] = Rule(read=lambda _, args: args)
RULES["!tuple"] = Rule(make=tuple)
RULES["!frozenset"] = Rule(make=frozenset)
RULES["!set"] = Rule(begin=lambda _: set(), fill=set.update, hashes=True)
RULES["!dict"] = Rule(begin=lambda _: {}, fill=_fill_mapping, hashes=True)
RULES["!OrderedDict"] = Rule(begin=lambda _: OrderedDict(), fill=_fill_mapping, hashes=True)
RULES["!Counter"] = Rule(begin=lambda _: Counter(), fill=_fill_mapping, hashes=True)
RULES["!defaultdict"] = Rule(begin=_begin_default_dict, fill=_fill_mapping, first=1, hashes=True)
RULES["!deque"] = Rule(begin=_begin_deque, fill=deque.extend, first=1)
RULES["!ChainMap"] = Rule(begin=lambda _: ChainMap(), fill=_fill_chain)
RULES["!mappingproxy"] = Rule(make=_make_proxy)
RULES["!namespace"] = Rule(begin=lambda _: SimpleNamespace(), fill=_fill_namespace)

STEPS[MAPPING] = _mapping_step
for _tag in ("!dict", "!OrderedDict", "!Counter"):
    STEPS[_tag] = _key_or_value
STEPS["!defaultdict"] = _default_step
STEPS["!deque"] = lambda _, index: f"[{index - 1}]" if index else ".maxlen"
STEPS["!ChainMap"] = lambda _, index: f".maps[{index}]"
STEPS["!mappingproxy"] = lambda *_: ""
STEPS["!namespace"] = lambda *_: ATTRIBUTE
for _tag in ("!set", "!frozenset"):
    STEPS[_tag] = _step_in_set
