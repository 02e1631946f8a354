"""Bytes that are not plain JSON to values."""

from __future__ import annotations

from hashstash.errors import DecodeError, HashStashError

from . import buffers, containers, names, scalars  # noqa: F401 - they fill the vocabulary
from .graph_reader import GraphReader
from .layout import CODE, head_of, unpack
from .reader import Reader, corrupt, untrusted
from .text import MAX_DEPTH, BadTextError, depth_of
from .vocabulary import GRAPH

Buffer = bytes | memoryview


def decode(data: Buffer, *, trusted: bool) -> object:
    """Return the value that ``encode`` was given.

    Raises:
        UntrustedRowError: it needs code and is not trusted.
        CorruptRowError: the bytes are not what ``encode`` returns.
        DecodeError: what they need is not here.
    """
    code, flat = data[0] == CODE, False
    if code and not trusted:
        raise untrusted()
    try:
        tree, segments = unpack(data)
        flat = type(tree) is dict and GRAPH in tree and len(tree) == 1
        if flat:
            return GraphReader(segments, code=code, trusted=trusted).graph(tree[GRAPH])
        return Reader(segments, code=code, trusted=trusted).value(tree)
    except (HashStashError, MemoryError):
        raise
    except BadTextError as exc:
        raise corrupt(str(exc)) from exc
    except RecursionError as exc:
        if code:
            raise DecodeError(
                "The value cannot be built again: the code it needs recurses without end",
                stage="hashstash",
            ) from exc
        if flat or depth_of(head_of(data)) > MAX_DEPTH:
            raise corrupt("it is nested deeper than anything we write") from exc
        raise
    except Exception as exc:
        what = f"{type(exc).__name__}: {exc}"
        if code:
            raise DecodeError(
                f"The value cannot be built again by the code it needs: {what}", stage="hashstash"
            ) from exc
        raise corrupt(what) from exc
