"""The bytes of a value that is not plain: a marker, the head and the segments beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import text
from .text import BadTextError

Buffer = bytes | memoryview

DATA, CODE = 0x44, 0x43
"""The first byte: ``D`` data beside plain JSON, ``C`` code is needed. Plain text has neither."""

_HEAD = 9


def pack(tree: object, segments: Sequence[Buffer], *, code: bool) -> bytes:
    """Return the bytes of a tree and of the segments that it refers to by number.

    Raises:
        NotPlainError: the tree holds what JSON text cannot carry.
    """
    head = text.dump([tree, [len(segment) for segment in segments]])
    start = (b"C" if code else b"D") + len(head).to_bytes(8, "little")
    return b"".join((start, head, *segments))


def head_of(data: Buffer) -> memoryview:
    """Return the JSON text of the head."""
    view = memoryview(data)
    return view[_HEAD : _HEAD + int.from_bytes(view[1:_HEAD], "little")]


def unpack(data: Buffer) -> tuple[Any, list[memoryview]]:
    """Return the tree and the segments of what ``pack`` returned.

    Raises:
        BadTextError: the bytes are not of this form.
    """
    view = memoryview(data)
    end = _HEAD + int.from_bytes(view[1:_HEAD], "little")
    if len(view) < _HEAD or end > len(view):
        raise BadTextError("the head is longer than all there is")
    head = text.load(view[_HEAD:end])
    if type(head) is not list or len(head) != 2 or type(head[1]) is not list:
        raise BadTextError("the head is not a tree and the sizes of its segments")
    segments = []
    for size in head[1]:
        if type(size) is not int or not 0 <= size <= len(view) - end:
            raise BadTextError("a segment is longer than all there is")
        segments.append(view[end : end + size])
        end += size
    if end != len(view):
        raise BadTextError("there is more than the segments")
    return head[0], segments
