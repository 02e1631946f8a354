"""Values to trees, by recursion: the way for all that is neither cyclic nor deep."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain
from typing import Any, cast

from . import text
from .buffers import pack_numbers
from .plain import PACK_FROM, PLAIN, SCALARS, all_finite, all_small, keys_of, plain_levels
from .refusal import Refusal
from .scalars import encodable
from .vocabulary import (
    ATOMS,
    DEFINED,
    LIST,
    MAPPING,
    PARTS,
    REF,
    RULES,
    STEPS,
    TUPLES,
    WHOLE,
    Node,
    Parts,
    load_for_tag,
    load_for_type,
)

Buffer = bytes | memoryview

_MAX_DEPTH = 100
_WHOLE_FROM = 16
_MANY_KINDS = len(PLAIN)
_ALWAYS = frozenset({bool, type(None)})
_WITH_JSON = _ALWAYS | {str}
_WITH_ORJSON = _WITH_JSON | {int}
_TUPLES = {tuple}
_JSON = frozenset({LIST, MAPPING})
_TEXTS = frozenset({str})
_NUMBERS = ({int}, {float})


class NeedsGraphError(Exception):
    """A value leads back to itself, or is too deep for recursion."""


class SharedWholeError(Exception):
    """A value holds something twice, once within a large plain part."""


class Writer:
    """Take values apart.

    Args:
        careful: whether to look for text and integers that JSON cannot carry as they are.
            Without, the JSON encoder finds out.
    """

    def __init__(self, *, careful: bool) -> None:
        self.careful = careful
        self.code = False
        self.segments: list[Buffer] = []
        self.blamed = 0
        self.doubts: dict[type, object] = {}
        self.spaces: dict[int, Any] = {}
        # Types that a JSON encoder writes as they are; floats have to be looked at.
        self._scalars = _ALWAYS if careful else _WITH_ORJSON if text.HAS_ORJSON else _WITH_JSON
        self._kept: list[object] = []
        self._takers: dict[type, Callable[[Any, Any], Parts | Node]] = {}

    def segment(self, data: Buffer) -> int:
        """Add bytes beside the head; return their number."""
        self.segments.append(data)
        return len(self.segments) - 1

    def parts(self, value: Any) -> Parts | Node:
        """Return the parts of a value that is not an atom, or its finished node.

        Raises:
            Refusal: it cannot be stored.
        """
        kind = type(value)
        take_apart = PARTS.get(kind) or self._takers.get(kind)
        if take_apart is None:
            take_apart = self._takers[kind] = _find(kind)
        found: Any = take_apart(self, value)
        tag: str = found[0] if type(found) is tuple else next(iter(found))
        if tag not in _JSON:
            rule = RULES.get(tag) or load_for_tag(tag)
            assert rule is not None, tag
            if rule.code:
                self.code = True
        return found

    def flat(self, children: Collection[object], kinds: set[type], *, pack: bool) -> Node | None:
        """Return the node of children that are all JSON scalars, or None if they are not."""
        if pack and len(children) >= PACK_FROM and kinds in _NUMBERS:
            packed = pack_numbers(self, children, float if float in kinds else int)
            if packed is not None:
                return packed
        if not kinds <= self._scalars and not self._fit(children, kinds):
            return None
        return list(children)

    def _fit(self, children: Collection[object], kinds: set[type]) -> bool:
        return (
            (float not in kinds or all_finite(children))
            and (int not in kinds or int in self._scalars or all_small(children))
            and (str not in kinds or str in self._scalars or encodable(children))
        )


class TreeWriter(Writer):
    """Take a value apart into one tree.

    Args:
        careful: as for ``Writer``.
        whole: whether large plain parts are handed to the JSON encoder as they are.
    """

    def __init__(self, *, careful: bool, whole: bool = True) -> None:
        super().__init__(careful=careful)
        self._whole = whole
        self._in_whole: set[int] = set()
        self._nodes: dict[int, Node] = {}
        self._numbers: dict[int, int] = {}
        self._depth = 0

    def node(self, value: object) -> Node:
        """Return the node of any value.

        Raises:
            Refusal: a part of it cannot be stored.
            NeedsGraphError: it leads back to itself, or is too deep.
            SharedWholeError: a part of a large plain part is somewhere else, too.
        """
        kind = type(value)
        if kind in self._scalars:
            return value
        atom = ATOMS.get(kind)
        if atom is not None:
            node = atom(value)
            if node is not None:
                return node
        number = id(value)
        if number in self._nodes:
            return self._again(number)
        if number in self._in_whole:
            raise SharedWholeError
        return self._composite(value, number)

    def _composite(self, value: Any, number: int) -> Node:
        if self._depth >= _MAX_DEPTH:
            raise NeedsGraphError
        self._nodes[number] = None
        self._kept.append(value)
        found: Any = self.parts(value)
        if type(found) is tuple:
            self._depth += 1
            tag, children = found
            nodes = self._children(value, tag, children)
            self._depth -= 1
            if tag == MAPPING:
                found = dict(zip(value, nodes, strict=True)) if type(nodes) is list else nodes
            else:
                found = nodes if tag == LIST else {tag: nodes}
        self._nodes[number] = found
        return found

    def _children(self, value: object, tag: str, children: Collection[object]) -> Node:
        kinds = set(map(type, children))
        if kinds <= SCALARS:
            whole = self.flat(children, kinds, pack=tag != MAPPING)
        elif len(children) >= _WHOLE_FROM and self._whole and len(kinds) <= _MANY_KINDS:
            whole = self._whole_node(value, tag, children, kinds)
        else:
            whole = None
        if whole is not None:
            return whole
        scalars = self._scalars
        nodes: list[Node] = []
        try:
            for child in children:
                nodes.append(child if type(child) in scalars else self.node(child))  # noqa: PERF401 - counted where it fails
        except Refusal as refusal:
            refusal.steps.append(step(value, tag, len(nodes)))
            raise
        return nodes

    def _whole_node(
        self, value: object, tag: str, children: Collection[object], kinds: set[type]
    ) -> dict[str, Node] | None:
        """Return a node for many children that need no look at each, or None.

        They are plain, or tuples of scalars, and none is met anywhere else so far.
        """
        if kinds == _TUPLES and tag != MAPPING:
            return self._tuples(cast("Collection[tuple[object, ...]]", children))
        if not kinds <= PLAIN:
            return None
        seen: set[int] = set()
        levels = plain_levels(children, kinds, seen)
        if levels is None or not self._is_new(seen):
            return None
        keys = keys_of(levels)
        if not set(map(type, keys)) <= _TEXTS or (self.careful and not encodable(keys)):
            return None
        if not all(self._fit(level, set(map(type, level))) for level in levels):
            return None
        self._in_whole |= seen
        return {WHOLE: value if tag in (LIST, MAPPING) else list(children)}

    def _tuples(self, children: Collection[tuple[object, ...]]) -> dict[str, Node] | None:
        seen = set(map(id, children))
        elements = list(chain.from_iterable(children))
        kinds = set(map(type, elements))
        if len(seen) != len(children) or not kinds <= SCALARS or not self._fit(elements, kinds):
            return None
        if not self._is_new(seen):
            return None
        self._in_whole |= seen
        self._kept.append(children)
        return {TUPLES: list(children)}

    def _is_new(self, seen: set[int]) -> bool:
        return seen.isdisjoint(self._nodes) and seen.isdisjoint(self._in_whole)

    def _again(self, number: int) -> Node:
        """Refer to a value that was met before, and mark the node where that was."""
        node = self._nodes[number]
        if node is None:
            raise NeedsGraphError
        known = self._numbers.get(number)
        if known is None:
            known = self._numbers[number] = len(self._numbers)
            if type(node) is list:
                node.insert(0, {DEFINED: [known]})
            else:
                node[DEFINED] = [known]
        return {REF: known}


def step(value: object, tag: str, index: int) -> str:
    """Return how Python spells the way from a value to its child of that number."""
    spell = STEPS.get(tag)
    return f"[{index}]" if spell is None else spell(value, index)


def _find(kind: type) -> Callable[[Writer, Any], Parts | Node]:
    if load_for_type(kind):
        write = ATOMS.get(kind)
        return PARTS[kind] if write is None else lambda _, value: write(value)
    from .objects import writer_for  # whatever has no word of its own

    return writer_for(kind)
