"""Values to trees, without recursion: the way for what is cyclic or deep.

The tree is a list of entries, the value first. Each entry is the node of one list, dict or other
part, in which its own parts are references to other entries.
"""

from __future__ import annotations

from collections.abc import Collection

from .plain import SCALARS
from .refusal import Refusal
from .vocabulary import ATOMS, GRAPH, LIST, MAPPING, REF, Node
from .writer import Writer, step

_MAX_DEPTH = 100_000


class GraphWriter(Writer):
    """Take a value apart into numbered entries."""

    def __init__(self) -> None:
        super().__init__(careful=True)
        self._places: dict[int, int] = {}
        self._from: list[tuple[int, str, int]] = []
        self._depths: list[int] = []

    def graph(self, value: object) -> Node:
        """Return the entries of ``value`` and of all its parts.

        Raises:
            Refusal: a part of it cannot be stored.
        """
        self._enter(value, (0, LIST, 0))
        entries = []
        for place, part in enumerate(self._kept):  # grows meanwhile
            try:
                entries.append(self._entry(part, place))
            except Refusal as refusal:
                self._retrace(place, refusal)
                raise
        return {GRAPH: entries}

    def _enter(self, value: object, source: tuple[int, str, int]) -> int:
        place = self._places[id(value)] = len(self._kept)
        depth = self._depths[source[0]] + 1 if place else 0
        if depth > _MAX_DEPTH:
            raise Refusal(f"it is nested more than {_MAX_DEPTH} levels deep, or without end")
        self._kept.append(value)
        self._from.append(source)
        self._depths.append(depth)
        return place

    def _entry(self, value: object, place: int) -> Node:
        found = self.parts(value)
        if type(found) is not tuple:
            return found
        tag, children = found
        nodes = self._children(place, tag, children)
        if tag == MAPPING:
            return dict(zip(value, nodes, strict=True))  # type: ignore[call-overload]
        return nodes if tag == LIST else {tag: nodes}

    def _children(self, place: int, tag: str, children: Collection[object]) -> Node:
        kinds = set(map(type, children))
        if kinds <= SCALARS:
            flat = self.flat(children, kinds, pack=tag != MAPPING)
            if flat is not None:
                return flat
        return [self._child(child, (place, tag, index)) for index, child in enumerate(children)]

    def _child(self, value: object, source: tuple[int, str, int]) -> Node:
        kind = type(value)
        if kind in self._scalars:
            return value
        atom = ATOMS.get(kind)
        if atom is not None:
            node = atom(value)
            if node is not None:
                return node
        place = self._places.get(id(value))
        return {REF: self._enter(value, source) if place is None else place}

    def _retrace(self, place: int, refusal: Refusal) -> None:
        while place:
            place, tag, index = self._from[place]
            refusal.steps.append(step(self._kept[place], tag, index))
