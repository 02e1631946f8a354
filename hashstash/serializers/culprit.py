"""Find the part of a value that a serializer cannot store, when it does not say which it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_MAX_DEPTH = 50


def find_culprit(value: object, fails: Callable[[object], bool]) -> tuple[str, object]:
    """Return the path to the innermost part that fails by itself, and that part.

    Args:
        value: the whole, which fails.
        fails: tells whether a part of it does.

    Example:
        >>> find_culprit({"a": [1, {2}]}, lambda part: part == 1 or not isinstance(part, int))
        ("value['a'][0]", 1)
    """
    path, seen = "value", {id(value)}
    for _ in range(_MAX_DEPTH):
        for step, part in _parts(value):
            if id(part) not in seen and fails(part):
                path, value = path + step, part
                seen.add(id(part))
                break
        else:
            break
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{short(key)}]", part
        for index, key in enumerate(value):
            yield f".keys()[{index}]", key
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield f"[{index}]", part
    elif isinstance(value, set | frozenset):
        for part in value:
            yield f"{{{short(part)}}}", part
    if not isinstance(value, type):
        for name, part in list(getattr(value, "__dict__", {}).items()):
            yield f".{name}", part
        for cls in type(value).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, name):
                    yield f".{name}", getattr(value, name)


def short(value: object) -> str:
    """Return the representation of a key, not longer than can be read."""
    try:
        text = repr(value)
    except Exception as exc:  # noqa: BLE001 - a broken __repr__ must not hide the path
        text = f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."
