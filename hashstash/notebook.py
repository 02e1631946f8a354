"""How a stash looks in a notebook."""

from __future__ import annotations

from heapq import nlargest
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from .locations import shorten_home
from .rows import time_of

if TYPE_CHECKING:
    from .stash import HashStash

NEWEST = 5
MOST_ROWS = 10_000
"""With more entries than this, the newest of that many are shown: a repr must not take long."""


def html_of(stash: HashStash) -> str:
    """Return a small table: engine, entries, size and newest keys."""
    rows = ((time_of(row), stored, row) for stored, row in islice(stash._items(), MOST_ROWS))
    newest = [stash._codec.decode_key(stored, row) for _, stored, row in nlargest(NEWEST, rows)]
    entries = len(stash)
    label = "Newest keys" if entries <= MOST_ROWS else f"Newest of {MOST_ROWS:,} keys"
    keys = "<br>".join(f"<code>{escape(_short(key))}</code>" for key in newest) or "none"
    cells = {
        "Engine": escape(stash._settings.engine),
        "Path": f"<code>{escape(shorten_home(stash.path))}</code>",
        "Entries": f"{entries:,}",
        "Size": _size(stash.size_bytes()),
        label: keys,
    }
    lines = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{cell}</td></tr>'
        for name, cell in cells.items()
    )
    return f"<table><caption>{escape(stash._engine.title)}HashStash</caption>{lines}</table>"


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _size(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
