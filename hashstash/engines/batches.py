"""Rows in batches that are bounded in number and in bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BATCH_BYTES = 16 << 20
"""How many bytes of rows a bulk operation holds in memory at a time."""


def batches(items: Iterable[tuple[bytes, bytes]], rows: int) -> Iterator[dict[bytes, bytes]]:
    """Yield ``items`` in dicts of at most ``rows`` rows, in which the last of equal keys stays.

    >>> list(batches([(b"a", b"1"), (b"a", b"2"), (b"b", b"3")], rows=2))
    [{b'a': b'2', b'b': b'3'}]
    """
    batch: dict[bytes, bytes] = {}
    size = 0
    for key, row in items:
        batch[key] = row
        size += len(row)
        if len(batch) >= rows or size >= BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
