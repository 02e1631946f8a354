"""Plain values: nested dicts and lists of text, numbers, truth and None, as JSON text and no more.

They are looked at one whole level of nesting at a time, so that nearly all the work is done by
``set``, ``map`` and ``chain``; there is no step in Python for each element.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain
from math import isfinite
from typing import Any

from . import text
from .text import NotPlainError

SCALARS = frozenset({str, int, float, bool, type(None)})
PLAIN = SCALARS | {dict, list}
_PACKED = frozenset({int, float})

Levels = list[Collection[object]]
"""The elements of each level of nesting, from the outermost."""

PACK_FROM = 256
"""From this many on, numbers of one type are packed as a segment instead."""

_MAX_LEVELS = 100

SMALLEST, LARGEST = -(1 << 63), (1 << 64) - 1
"""The integers that JSON text may have: orjson writes and reads no others."""


def plain_text(value: object) -> bytes | None:
    """Return ``value`` as JSON text that reads back as it is, or None if it is not plain."""
    levels = _levels(value)
    if levels is None:
        return None
    if not text.HAS_ORJSON and not _keys_and_integers_fit(value, levels):
        return None
    try:
        written = text.dump(value)
    except NotPlainError:
        return None
    # orjson writes null for what is not finite; each null may also be a None.
    nulls = written.count(b"null")
    if nulls and nulls != _nones(levels) and not all(map(all_finite, levels)):
        return None
    return written


def _levels(value: Any) -> Levels | None:
    kind = type(value)
    if kind is dict:
        elements: Collection[object] = value.values()
    elif kind is list:
        elements = value
        if len(value) >= PACK_FROM and _looks_packed(value):
            return None
    elif kind in SCALARS:
        return [(value,)]
    else:
        return None
    kinds = set(map(type, elements))
    if kinds <= SCALARS:
        return [elements]
    return plain_levels(elements, kinds, {id(value)})


def plain_levels(elements: Collection[object], kinds: set[type], seen: set[int]) -> Levels | None:
    """Return the elements of each level of nesting, or None if not all of them are plain.

    Args:
        elements: the first level.
        kinds: their types.
        seen: is given the identities of all dicts and lists among them.
    """
    levels = [elements]
    while kinds <= PLAIN and len(levels) < _MAX_LEVELS:
        dicts = [e for e in elements if type(e) is dict] if dict in kinds else []
        lists = [e for e in elements if type(e) is list] if list in kinds else []
        known = len(seen) + len(dicts) + len(lists)
        seen.update(map(id, dicts))
        seen.update(map(id, lists))
        if len(seen) != known:
            return None  # one of them is there twice, and will have to be again
        if lists and max(map(len, lists)) >= PACK_FROM and any(map(_looks_packed, lists)):
            return None
        elements = list(chain.from_iterable(lists))
        if dicts:
            elements.extend(chain.from_iterable(map(dict.values, dicts)))
        levels.append(elements)
        kinds = set(map(type, elements))
        if kinds <= SCALARS:
            return levels
    return None


def _looks_packed(numbers: list[Any]) -> bool:
    """Tell whether these seem to be numbers of one type, which would be packed as a segment."""
    if len(numbers) < PACK_FROM:
        return False
    kind = type(numbers[0])
    return kind in _PACKED and type(numbers[-1]) is kind and type(numbers[PACK_FROM // 2]) is kind


def _nones(levels: Levels) -> int:
    return sum([list(level).count(None) for level in levels])


def all_finite(values: Iterable[object]) -> bool:
    """Tell whether no float among ``values`` is a NaN or an infinity."""
    return all(map(isfinite, [value for value in values if type(value) is float]))


def all_small(values: Iterable[object]) -> bool:
    """Tell whether all integers among ``values`` fit in 64 bits."""
    integers = [value for value in values if type(value) is int]
    return not integers or (min(integers) >= SMALLEST and max(integers) <= LARGEST)


def keys_of(levels: Iterable[Iterable[object]]) -> set[object]:
    """Return the keys of all dicts in ``levels``."""
    dicts = [element for element in chain.from_iterable(levels) if type(element) is dict]
    return set(chain.from_iterable(dicts))


def _keys_and_integers_fit(value: object, levels: Levels) -> bool:
    """Check what orjson would refuse and ``json`` writes as something else."""
    return all(map(all_small, levels)) and set(map(type, keys_of(((value,), *levels)))) <= {str}
