"""What it costs to hash a key: tuples within tuples, shared or deep, can hang or crash Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import GenericAlias
from typing import Any

MAX_DEPTH = 5_000
"""Hashing is recursion in C without a check."""
MAX_WEIGHT = 20_000_000
"""How many elements hashing one key may visit: each as often as it is referred to."""

_NESTED = frozenset({tuple, frozenset, GenericAlias, slice})


def hashing_problem(keys: Iterable[object]) -> str | None:
    """Return why ``keys`` must not be hashed, or None if they may.

    >>> pair = ()
    >>> for _ in range(40):
    ...     pair = (pair, pair)
    >>> hashing_problem(["a", (1, (2, 3))]), hashing_problem([pair])
    (None, 'a key whose hash takes too long')
    """
    if _NESTED.isdisjoint(map(type, keys)):
        return None
    known: dict[int, tuple[int, int]] = {}
    for key in keys:
        depth, weight = _measure(key, known)
        if depth > MAX_DEPTH:
            return f"a key nested {depth} levels deep"
        if weight > MAX_WEIGHT:
            return "a key whose hash takes too long"
    return None


def _measure(key: object, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how deep a key is and how many elements its hash visits, without recursion."""
    stack = [key]
    while stack:
        value = stack[-1]
        if id(value) in known:
            stack.pop()
            continue
        inner = [part for part in _inner(value) if type(part) in _NESTED]
        missing = [part for part in inner if id(part) not in known]
        if missing:
            stack.extend(missing)
            continue
        measures = [known[id(part)] for part in inner]
        known[id(value)] = (
            1 + max((depth for depth, _ in measures), default=0),
            1 + len(inner) + sum(weight for _, weight in measures),
        )
        stack.pop()
    return known[id(key)]


def _inner(value: Any) -> Iterator[object]:
    kind = type(value)
    if kind is GenericAlias:
        yield from value.__args__
    elif kind is slice:
        yield from (value.start, value.stop, value.step)
    elif kind in _NESTED:
        yield from value
