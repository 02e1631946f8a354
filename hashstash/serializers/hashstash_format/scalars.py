"""Numbers and text that JSON cannot carry as they are, and the constants of the language."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .plain import LARGEST, SMALLEST
from .refusal import Refusal
from .vocabulary import ATOMS, PARTS, RULES, STEPS, Node, Parts, Rule

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_CONSTANTS = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}
_SPECIAL = frozenset({"nan", "inf", "-inf"})
_NAN = struct.pack("<d", math.nan)
_REGEX_FLAGS = 0x17E  # all but DEBUG, which prints when it is compiled


def int_node(value: int) -> Node:
    """Return the node of an integer of any size."""
    return value if SMALLEST <= value <= LARGEST else {"!int": f"{value:x}"}


def float_node(value: float) -> Node:
    """Return the node of any float, a NaN with its bits."""
    if math.isfinite(value):
        return value
    if value == value:  # noqa: PLR0124 - true for infinities
        return {"!float": "inf" if value > 0 else "-inf"}
    bits = struct.pack("<d", value)
    return {"!float": "nan" if bits == _NAN else bits.hex()}


def str_node(value: str) -> Node:
    """Return the node of any text, also with lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"!str": value.encode("utf-8", "surrogatepass").hex()}
    return value


def encodable(values: Collection[object]) -> bool:
    """Tell whether no text among ``values`` has lone surrogates."""
    try:
        "\n".join([value for value in values if type(value) is str]).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_float(node: Node) -> float:
    """Return the float of a node that ``float_node`` returned."""
    if type(node) is dict:
        return _read_float(node["!float"])
    if type(node) is not float:
        raise TypeError(f"{node!r} is not a float")
    return node


def _read_float(args: str) -> float:
    if args in _SPECIAL:
        return float(args)  # a new one: two NaN are two keys of a dict
    found: float = struct.unpack("<d", bytes.fromhex(args))[0]
    return found


def _range(_: Writer, value: range) -> Parts:
    return "!range", (value.start, value.stop, value.step)


def _make_range(children: list[Any]) -> range:
    start, stop, step = children
    return range(start, stop, step)


def _slice(_: Writer, value: Any) -> Parts:
    return "!slice", (value.start, value.stop, value.step)


def _make_slice(children: list[Any]) -> object:
    start, stop, step = children
    return slice(start, stop, step)


def _pattern(_: Writer, value: re.Pattern[Any]) -> Parts:
    if value.flags & ~_REGEX_FLAGS:
        raise Refusal("a regular expression compiled with re.DEBUG")
    return "!regex", (value.pattern, value.flags)


def _make_pattern(children: list[Any]) -> object:
    pattern, flags = children
    if type(pattern) not in (str, bytes) or type(flags) is not int or flags & ~_REGEX_FLAGS:
        raise TypeError("not a regular expression")
    try:
        return re.compile(pattern, flags)
    except RecursionError as exc:
        raise ValueError("a regular expression that is nested too deep") from exc


def _match(_: Writer, value: re.Match[str]) -> Parts:
    raise Refusal("a match of a regular expression; store its groups() or span()")


def _read_constant(_: Reader, name: str) -> object:
    return _CONSTANTS[name]


ATOMS[int] = int_node
ATOMS[float] = float_node
ATOMS[str] = str_node
ATOMS[complex] = lambda value: {"!complex": [float_node(value.real), float_node(value.imag)]}
ATOMS[type(Ellipsis)] = lambda _: {"!constant": "Ellipsis"}
ATOMS[type(NotImplemented)] = lambda _: {"!constant": "NotImplemented"}
PARTS[range] = _range
PARTS[slice] = _slice
PARTS[re.Pattern] = _pattern
PARTS[re.Match] = _match
RULES["!int"] = Rule(read=lambda _, args: int(args, 16))
RULES["!float"] = Rule(read=lambda _, args: _read_float(args))
RULES["!str"] = Rule(read=lambda _, args: bytes.fromhex(args).decode("utf-8", "surrogatepass"))
RULES["!complex"] = Rule(read=lambda _, args: complex(*map(read_float, args)))
RULES["!constant"] = Rule(read=_read_constant)
RULES["!range"] = Rule(make=_make_range)
RULES["!slice"] = Rule(make=_make_slice)
RULES["!regex"] = Rule(make=_make_pattern)
for _tag in ("!range", "!slice"):
    STEPS[_tag] = lambda _, index: (".start", ".stop", ".step")[index]
STEPS["!regex"] = lambda _, index: (".pattern", ".flags")[index]
