"""Values that are not plain to bytes."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from hashstash.errors import HashStashError, SerializationError

from . import buffers, containers, names, scalars  # noqa: F401 - they fill the vocabulary
from .decode import decode
from .graph_writer import GraphWriter
from .layout import pack
from .refusal import Refusal
from .text import NotPlainError
from .writer import NeedsGraphError, SharedWholeError, TreeWriter, Writer

_proved: WeakSet[type] = WeakSet()
"""Classes of which an object has been read back."""


def encode(value: object) -> bytes:
    """Return ``value`` as a head and segments.

    Raises:
        SerializationError: a part of it cannot be stored.
    """
    try:
        payload, writer = _written(value)
    except Refusal as refusal:
        raise refusal.error() from refusal.__cause__
    except (NotPlainError, RecursionError) as exc:
        raise SerializationError(f"value cannot be stored: {exc}") from exc
    unproved = {kind: sample for kind, sample in writer.doubts.items() if kind not in _proved}
    if unproved:
        _prove(value, payload, unproved)
        _proved.update(unproved)
    return payload


def _written(value: object, blamed: int = 0) -> tuple[bytes, Writer]:
    careful, whole = False, True
    for _ in range(3):
        tree_writer = TreeWriter(careful=careful, whole=whole)
        tree_writer.blamed = blamed
        try:
            tree = tree_writer.node(value)
            return pack(tree, tree_writer.segments, code=tree_writer.code), tree_writer
        except NotPlainError:
            careful = True
        except SharedWholeError:
            whole = False
        except (NeedsGraphError, RecursionError):
            break
    writer = GraphWriter()
    writer.blamed = blamed
    tree = writer.graph(value)
    return pack(tree, writer.segments, code=writer.code), writer


def _prove(value: object, payload: bytes, unproved: dict[type, Any]) -> None:
    """Read back what holds objects of classes that have never been read back.

    What an object reduces to need not be what its class takes.
    """
    error = _failure(value, payload)
    if error is None:
        return
    for sample in reversed(unproved.values()):
        own = _failure(sample, _written(sample)[0])
        if own is not None:
            reason = f"a {type(sample).__qualname__} that cannot be read back ({own})"
            try:
                _written(value, id(sample))
            except Refusal as refusal:
                refusal.reason = reason
                raise refusal.error() from error
    raise SerializationError(f"value cannot be stored: it cannot be read back ({error})") from error


def _failure(value: object, payload: bytes) -> Exception | None:
    try:
        found = decode(payload, trusted=True)
    except HashStashError as exc:
        return exc
    if type(found) is not type(value):
        return TypeError(f"it comes back as a {type(found).__qualname__}")
    return None
