"""Trees of numbered entries to values, without recursion."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from hashstash.errors import CorruptRowError

from .reader import Reader, corrupt
from .vocabulary import REF, Node, Rule

Steps = Generator[int, Any, Any]
"""Yields the number of each entry that it needs, is sent the value, and returns its own."""

_NOTHING = object()


class GraphReader(Reader):
    """Build a value from entries that refer to each other by number."""

    def __init__(self, segments: list[memoryview], *, code: bool, trusted: bool) -> None:
        super().__init__(segments, code=code, trusted=trusted)
        self._entries: list[Node] = []
        self._entered: dict[int, int] = {}
        self._open: set[int] = set()
        self._late: list[Callable[[], None]] = []

    def graph(self, entries: object) -> object:
        """Return the value of the first entry."""
        if type(entries) is not list or not entries:
            raise corrupt("a graph without entries")
        self._entries = entries
        root = self._run(self._load(0))
        for fill in self._late:
            fill()
        return root

    def _run(self, steps: Steps) -> object:
        stack, sent = [steps], None
        while True:
            try:
                place = stack[-1].send(sent)
            except StopIteration as done:
                stack.pop()
                sent = done.value
                if not stack:
                    return sent
            else:
                stack.append(self._load(place))
                sent = None

    def _load(self, place: int) -> Steps:
        if type(place) is not int or not 0 <= place < len(self._entries):
            raise corrupt(f"there is no entry {place!r}")
        # What is made from its parts may be met again in one of them; then it is made there.
        self._entered[place] = times = self._entered.get(place, 0) + 1
        if times > 2:
            raise corrupt(f"entry {place} is needed to make itself")
        node = self._entries[place]
        if type(node) is list:
            return (yield from self._load_list(place, node))
        if type(node) is not dict:
            raise corrupt(f"entry {place} is not a list or an object")
        tag = next(iter(node), "")
        if len(node) != 1 or tag[:1] != "!":
            return (yield from self._load_mapping(place, node))
        rule = self.rule(tag)
        if rule.read is not None:
            self._defined[place] = value = rule.read(self, node[tag])
            return value
        return (yield from self._load_parts(place, rule, node[tag]))

    def _load_list(self, place: int, nodes: list[Node]) -> Steps:
        value: list[object] = []
        self._defined[place] = value
        value.extend((yield from self._load_children(nodes)))
        return value

    def _load_mapping(self, place: int, node: dict[str, Node]) -> Steps:
        value: dict[str, object] = {}
        self._defined[place] = value
        children = yield from self._load_children(list(node.values()))
        value.update(zip(node, children, strict=True))
        return value

    def _load_parts(self, place: int, rule: Rule, nodes: Node) -> Steps:
        if type(nodes) is not list:
            nodes = self.children(nodes)
        first = len(nodes)
        if rule.begin is not None:
            first = rule.first if isinstance(rule.first, int) else rule.first(nodes)
        children = yield from self._load_children(nodes[:first])
        value = self._defined.get(place, _NOTHING)
        if value is not _NOTHING:
            return value
        if rule.begin is None:
            assert rule.make is not None
            self._defined[place] = value = rule.make(children)
            return value
        self._defined[place] = value = rule.begin(children)
        self._open.add(place)
        rest = yield from self._load_children(nodes[first:])
        self._fill(rule, value, rest, nodes)
        self._open.discard(place)
        return value

    def _fill(self, rule: Rule, value: object, children: list[Any], nodes: list[Node]) -> None:
        assert rule.fill is not None
        fill = rule.fill
        if rule.hashes:
            # What is not complete may have no hash yet.
            if not self._open.isdisjoint(n[REF] for n in nodes if type(n) is dict and REF in n):
                self._late.append(lambda: fill(value, children))
                return
            try:
                fill(value, children)
            except CorruptRowError:
                raise
            except Exception:  # noqa: BLE001 - it is tried again when all is complete
                self._late.append(lambda: fill(value, children))
        else:
            fill(value, children)

    def _load_children(self, nodes: list[Node]) -> Steps:
        children = []
        for node in nodes:
            kind = type(node)
            if kind is dict and REF in node:
                place = node[REF]
                found = self._defined.get(place, _NOTHING)
                children.append((yield place) if found is _NOTHING else found)
            elif kind is dict or kind is list:
                children.append(self.value(node))
            else:
                children.append(node)
        return children
