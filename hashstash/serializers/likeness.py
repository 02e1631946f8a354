"""Whether what was read back is like what was written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from .culprit import short

_TABLES = frozenset({"numpy", "pandas"})
_TOLD_BY_REPR = frozenset(
    {"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"}
)
_SCALARS = (str, bytes, int, float, complex, bool, type(None))


def unlike(value: object, other: object) -> str | None:
    """Return the path to the first part of ``value`` that differs in ``other``, or None.

    Parts differ in type or value; of objects, what is in their attributes counts.

    Example:
        >>> unlike({"a": [1, 2]}, {"a": [1, 2.0]})
        "value['a'][1]"
    """
    pending: list[tuple[str, Any, Any]] = [("value", value, other)]
    seen: set[tuple[int, int]] = set()
    while pending:
        path, one, two = pending.pop()
        if one is two or (id(one), id(two)) in seen:
            continue
        seen.add((id(one), id(two)))
        if type(one) is not type(two) or not _same_itself(one, two):
            return path
        parts, others = dict(_parts(one)), dict(_parts(two))
        lost = next((step for step in parts if step not in others), None)
        if lost is not None:
            return path + lost
        if len(parts) != len(others) or (not parts and not _equal(one, two)):
            return path
        pending.extend((path + step, part, others[step]) for step, part in parts.items())
    return None


def _same_itself(one: Any, two: Any) -> bool:
    """Tell whether two things of one type are the same but for their parts."""
    if isinstance(one, float | complex) or _module(one) in _TOLD_BY_REPR:
        return repr(one) == repr(two)
    if isinstance(one, _SCALARS):
        return bool(one == two)
    if isinstance(one, set | frozenset):
        return len(one) == len(two) and (one == two or not _all_scalars(one))
    root = _module(one)
    if root == "numpy" and hasattr(one, "dtype"):
        return bool(one.dtype == two.dtype and one.shape == two.shape and _equal_arrays(one, two))
    if root == "pandas" and hasattr(one, "equals"):
        return bool(one.equals(two))
    return True


def _equal(one: Any, two: Any) -> bool:
    """Compare two things that have no parts, if their type says how."""
    if isinstance(one, float | complex | set | frozenset) or _is_whole(one):
        return True  # compared already
    compare: object = type(one).__eq__
    return compare is object.__eq__ or bool(one == two)


def _module(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _is_whole(value: object) -> bool:
    """Tell whether a thing is compared at once, and not part by part."""
    return _module(value) in _TABLES or _module(value) in _TOLD_BY_REPR or isinstance(value, type)


def _all_scalars(values: Any) -> bool:
    return all(isinstance(value, _SCALARS) for value in values)


def _equal_arrays(one: Any, two: Any) -> bool:
    if one.dtype.hasobject:
        return unlike(one.tolist(), two.tolist()) is None
    return bool(one.tobytes() == two.tobytes())


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if _is_whole(value):
        return
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{type(key).__name__ if not isinstance(key, _SCALARS) else short(key)}]", part
    elif isinstance(value, list | tuple | deque):
        for index, part in enumerate(value):
            yield f"[{index}]", part
    elif isinstance(value, BaseException):
        yield ".args", value.args
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and not name.startswith("__"):
                yield f".{name}", getattr(value, name)
