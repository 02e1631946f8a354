"""Containers of the standard library: what they hold, in the order in which they hold it."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from hashstash.serializers.culprit import short

from .hashing import hashing_problem
from .reader import corrupt, tuples
from .refusal import ATTRIBUTE, Refusal
from .scalars import encodable
from .vocabulary import DEFINED, LIST, MAPPING, PARTS, RULES, STEPS, TUPLES, WHOLE, Parts, Rule

if TYPE_CHECKING:
    from .writer import Writer

_TEXTS = frozenset({str})


def _list(_: Writer, value: list[Any]) -> Parts:
    return LIST, value


def _dict(writer: Writer, value: dict[Any, Any]) -> Parts:
    if value:
        if set(map(type, value)) != _TEXTS or next(iter(value))[:1] == "!" or DEFINED in value:
            return "!dict", _pairs(value)
        if writer.careful and not encodable(value):
            return "!dict", _pairs(value)
    return MAPPING, value.values()


def _pairs(value: Any) -> list[Any]:
    _refuse_costly(value)
    return [*value, *value.values()]


def _refuse_costly(keys: Collection[object]) -> None:
    problem = hashing_problem(keys)
    if problem is not None:
        raise Refusal(problem)


def _key_or_value(value: Any, index: int) -> str:
    keys = list(value)
    return f"[{short(keys[index - len(keys)])}]" if index >= len(keys) else f".keys()[{index}]"


def halves(children: list[Any]) -> zip[tuple[Any, Any]]:
    """Return the pairs of a list that has all the keys before all the values."""
    middle = len(children) // 2
    return zip(children[:middle], children[middle:], strict=True)


def _fill_mapping(value: dict[Any, Any], children: list[Any]) -> None:
    keys = children[: len(children) // 2]
    _check_keys(keys)
    for key, child in halves(children):
        value[key] = child  # noqa: PERF403 - not update: Counter's adds
    _check_count(value, keys)


def _fill_set(value: set[Any], children: list[Any]) -> None:
    _check_keys(children)
    value.update(children)
    _check_count(value, children)


def _make_frozenset(children: list[Any]) -> frozenset[Any]:
    _check_keys(children)
    value = frozenset(children)
    _check_count(value, children)
    return value


def _check_keys(keys: list[Any]) -> None:
    problem = hashing_problem(keys)
    if problem is not None:
        raise corrupt(problem)


def _check_count(value: Collection[Any], keys: list[Any]) -> None:
    if len(value) != len(keys):
        raise corrupt("two keys have become one")


def _make_proxy(children: list[Any]) -> object:
    (mapping,) = children
    if not hasattr(type(mapping), "keys"):
        raise TypeError("a mapping proxy of something else")
    return MappingProxyType(mapping)


def _default_dict(_: Writer, value: defaultdict[Any, Any]) -> Parts:
    return "!defaultdict", [value.default_factory, *_pairs(value)]


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


def _tuple(_: Writer, value: tuple[Any, ...]) -> Parts:
    return "!tuple", value


def _set(_: Writer, value: set[Any]) -> Parts:
    _refuse_costly(value)
    return "!set", value


def _frozenset(_: Writer, value: frozenset[Any]) -> Parts:
    _refuse_costly(value)
    return "!frozenset", value


def _mapping(tag: str) -> Callable[[Writer, Any], Parts]:
    def parts(_: Writer, value: Any) -> Parts:
        if vars(value):
            return "!reduce", [type(value), (), vars(value), None, _pairs(value)]
        return tag, _pairs(value)

    return parts


def _chain(_: Writer, value: ChainMap[Any, Any]) -> Parts:
    if len(vars(value)) == 1:
        return "!ChainMap", value.maps
    attributes = {name: part for name, part in vars(value).items() if name != "maps"}
    return "!reduce", [ChainMap, tuple(value.maps), attributes]


PARTS[list] = _list
PARTS[dict] = _dict
PARTS[tuple] = _tuple
PARTS[set] = _set
PARTS[frozenset] = _frozenset
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
RULES[TUPLES] = Rule(read=lambda _, args: tuples(args))
RULES["!tuple"] = Rule(make=tuple)
RULES["!frozenset"] = Rule(make=_make_frozenset)
RULES["!set"] = Rule(begin=lambda _: set(), fill=_fill_set, hashes=True)
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
