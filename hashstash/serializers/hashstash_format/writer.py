"""Values to trees, by recursion: the way for all that is neither cyclic nor deep."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

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
    WHOLE,
    Node,
    Parts,
    load_for_tag,
    load_for_type,
)

Buffer = bytes | memoryview

_MAX_DEPTH = 100
_WHOLE_FROM = 16
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
        self._scalars = SCALARS - {float}
        if careful:
            self._scalars -= {int, str}
        elif not text.HAS_ORJSON:
            self._scalars -= {int}
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

    def flat(self, children: Collection[object], *, pack: bool = True) -> Node | None:
        """Return the node of children that are all JSON scalars, or None if they are not."""
        kinds = set(map(type, children))
        if not kinds <= SCALARS:
            return None
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
        flat = self.flat(children, pack=tag != MAPPING)
        if flat is not None:
            return flat
        if len(children) >= _WHOLE_FROM and self._is_whole(children):
            return {WHOLE: value if tag in (LIST, MAPPING) else list(children)}
        nodes: list[Node] = []
        try:
            for child in children:
                nodes.append(self.node(child))  # noqa: PERF401 - counted where it fails
        except Refusal as refusal:
            refusal.steps.append(step(value, tag, len(nodes)))
            raise
        return nodes

    def _is_whole(self, children: Collection[object]) -> bool:
        """Tell whether children are plain, and none of their parts is met anywhere else so far."""
        kinds = set(map(type, children))
        if not self._whole or not kinds <= PLAIN:
            return False
        seen: set[int] = set()
        levels = plain_levels(children, kinds, seen)
        if (
            levels is None
            or not seen.isdisjoint(self._nodes)
            or not seen.isdisjoint(self._in_whole)
        ):
            return False
        keys = keys_of(levels)
        if not set(map(type, keys)) <= _TEXTS or (self.careful and not encodable(keys)):
            return False
        if not all(self._fit(level, set(map(type, level))) for level in levels):
            return False
        self._in_whole |= seen
        return True

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
