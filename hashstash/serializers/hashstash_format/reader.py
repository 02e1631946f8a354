"""Trees to values."""

from __future__ import annotations

from typing import Any

from hashstash.errors import CorruptRowError, UntrustedRowError

from .buffers import PACKED, unpack_numbers
from .vocabulary import DEFINED, REF, RULES, TUPLES, WHOLE, Node, Rule, load_for_tag

_CONTAINERS = frozenset({dict, list})


def corrupt(what: str) -> CorruptRowError:
    """Return the error for bytes that ``dumps`` does not write."""
    return CorruptRowError(f"The stored value is damaged: {what}", stage="hashstash")


class Reader:
    """Build a value from a tree, by recursion as deep as the tree.

    Args:
        segments: the bytes beside the head.
        code: whether the payload says that it needs code, and is trusted.
        trusted: whether it is trusted.
    """

    def __init__(self, segments: list[memoryview], *, code: bool, trusted: bool) -> None:
        self.code = code
        self.trusted = trusted
        self._segments: list[memoryview | None] = list(segments)
        self._defined: dict[int, object] = {}

    def segment(self, number: object) -> memoryview:
        """Return the segment of that number, once: so no payload multiplies what it is given."""
        if type(number) is not int or not 0 <= number < len(self._segments):
            raise corrupt(f"there is no segment {number!r}")
        found = self._segments[number]
        if found is None:
            raise corrupt(f"segment {number} is used twice")
        self._segments[number] = None
        return found

    def rule(self, tag: str) -> Rule:
        """Return the rule of a tag that may be used here."""
        rule = RULES.get(tag) or load_for_tag(tag)
        if rule is None:
            raise corrupt(f"unknown tag {tag[:40]!r}")
        if rule.code and not self.code:
            if self.trusted:
                raise corrupt(f"{tag!r} needs code, which the first byte denies")
            raise untrusted()
        return rule

    def children(self, args: dict[str, Any]) -> list[Any]:
        """Return the children of a node that has them all at once: packed or plain."""
        if len(args) != 1:
            raise corrupt("children with something else")
        ((tag, packed),) = args.items()
        if tag == WHOLE and type(packed) is list:
            return packed
        if tag == TUPLES:
            return tuples(packed)
        if tag not in PACKED:
            raise corrupt(f"{tag[:40]!r} where children should be")
        return unpack_numbers(self, tag, packed)

    def value(self, node: Node) -> Any:
        """Return the value of any node."""
        kind = type(node)
        if kind is dict:
            return self._dict(node)
        return self._list(node) if kind is list else node

    def _dict(self, node: dict[str, Any]) -> object:
        if 0 < len(node) < 3:
            tag = next(iter(node))
            if tag[:1] == "!":
                return self._tagged(tag, node)
        if _CONTAINERS.isdisjoint(map(type, node.values())):
            return node
        if DEFINED in node:
            self._defined[_number(node.pop(DEFINED))] = node
        for key, child in node.items():
            if type(child) is dict:
                node[key] = self._dict(child)
            elif type(child) is list:
                node[key] = self._list(child)
        return node

    def _list(self, node: list[Any]) -> list[Any]:
        if _CONTAINERS.isdisjoint(map(type, node)):
            return node
        first = node[0]
        if type(first) is dict and len(first) == 1 and DEFINED in first:
            del node[0]
            self._defined[_number(first[DEFINED])] = node
        for index, child in enumerate(node):
            if type(child) is dict:
                node[index] = self._dict(child)
            elif type(child) is list:
                node[index] = self._list(child)
        return node

    def _tagged(self, tag: str, node: dict[str, Any]) -> object:
        args = node[tag]
        if tag == REF:
            return self._defined[args]
        if tag == DEFINED:  # an empty dict
            node.clear()
            self._defined[_number(args)] = node
            return node
        rule = self.rule(tag)
        if rule.read is not None:
            value = rule.read(self, args)
        else:
            children = self._list(args) if type(args) is list else self.children(args)
            value = build(rule, children)
        if len(node) == 2:
            self._defined[_number(node[DEFINED])] = value
        return value


def tuples(rows: Any) -> list[Any]:
    """Return a list of tuples, each given as a list of scalars."""
    if type(rows) is not list or not set(map(type, rows)) <= {list}:
        raise corrupt("tuples that are not in a list of lists")
    return list(map(tuple, rows))


def build(rule: Rule, children: list[Any]) -> object:
    """Return what a rule makes of all its children."""
    if rule.make is not None:
        return rule.make(children)
    assert rule.begin is not None
    assert rule.fill is not None
    first = rule.first if type(rule.first) is int else rule.first(children)  # type: ignore[operator]
    value = rule.begin(children[:first])
    rule.fill(value, children[first:])
    return value


def _number(mark: object) -> int:
    if type(mark) is not list or len(mark) != 1 or type(mark[0]) is not int:
        raise corrupt("a mark without its number")
    return mark[0]


def untrusted() -> UntrustedRowError:
    """Return the error for a payload that needs code and is not trusted."""
    return UntrustedRowError(
        "The value needs code to be read back (a function, a class, or an object of one), and "
        "nothing shows that it was written by you: it was written by someone else, or the signing "
        "keys that it was written with are missing here.",
        stage="hashstash",
    )
