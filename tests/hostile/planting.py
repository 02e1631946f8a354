"""Rows as an attacker makes them, and what must hold when a stash meets them."""

from __future__ import annotations

import json
import os
import pickle
import struct
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import compress, crc32

import pytest

from hashstash import HashStash
from hashstash.rows import SIGNED, codec_header, seal
from hashstash.serializers.hashstash_format.layout import pack

ENGINES = ["memory", "pairtree", "sqlite", "lmdb", "shm", "diskcache", "sqlitedict"]
GOOD: dict[Any, Any] = {
    "plain": {"a": [1, 2.5, None]},
    5: b"bytes",
    "long " * 50: ("a", {"tuple"}),
    "code": textwrap.dedent,
}
"""What is in a stash before something is planted; the last is signed."""

MODULE = "planted_module"
"""The name of a module that leaves a mark when it is imported."""


class Command:
    """Pickles as a command."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def codes(mark: str) -> dict[str, tuple[str, bytes]]:
    """Return codecs and payloads that make the folder ``mark`` when they are believed."""
    reduced = {"!reduce": [{"!import": ["posix", "mkdir"]}, {"!tuple": [mark]}]}
    imported = {"!import": [MODULE, "thing"]}
    as_json = {"py/reduce": [{"py/function": "posix.mkdir"}, {"py/tuple": [mark]}]}
    pickled = pickle.dumps(Command(mark))
    return {
        "a pickle": ("pickle", pickled),
        "a compressed pickle": ("pickle+zlib", compress(pickled)),
        "a pickle that imports": ("pickle", f"c{MODULE}\nthing\n.".encode()),
        "jsonpickle": ("jsonpickle", json.dumps(as_json).encode()),
        "jsonpickle that imports": (
            "jsonpickle",
            json.dumps({"py/object": f"{MODULE}.Thing"}).encode(),
        ),
        "our own code": ("hashstash", pack(reduced, [], code=True)),
        "our own import": ("hashstash", pack(imported, [], code=True)),
    }


def disguised(mark: str) -> dict[str, tuple[str, bytes]]:
    """Return the same where the first byte says that it is data."""
    ours = {name: one for name, one in codes(mark).items() if one[0] == "hashstash"}
    return {f"{name} as data": (codec, b"D" + data[1:]) for name, (codec, data) in ours.items()}


def unsigned(key: bytes, codec: str, payload: bytes, fields: bytes = b"") -> bytes:
    return seal(key, codec_header(codec), payload, fields)


def forged(key: bytes, codec: str, payload: bytes, mac: bytes) -> bytes:
    """Return a row that says it is signed."""
    return seal(key, codec_header(codec), payload, b"", lambda *_: mac)


def cut_in_its_mac(key: bytes, codec: str, payload: bytes) -> bytes:
    """Return a row that says it is signed and ends before the signature does."""
    return resealed(key, body_of(codec.encode(), payload[:20]), SIGNED)


def signed(stash: HashStash, key: bytes, codec: str, payload: bytes) -> bytes:
    """Return the row as its owner would have written it."""
    return seal(key, codec_header(codec), payload, b"", lambda *row: stash._keyring.mac(key, *row))


def body_of(codec: bytes, tail: bytes, length: int | None = None) -> bytes:
    """Return a row from its time on; ``length`` is what it says of its codec's."""
    return os.urandom(24) + bytes((len(codec) if length is None else length,)) + codec + tail


def headed(head: bytes) -> bytes:
    """Return a payload of our own that is marked as data, with a head of any content."""
    return b"D" + struct.pack("<Q", len(head)) + head


def resealed(key: bytes, body: bytes, flags: int, version: int = 1) -> bytes:
    """Return a row of any content whose checksum is right."""
    prefix = b"HS" + bytes((version, flags))
    return prefix + struct.pack("<I", crc32(body, crc32(key, crc32(prefix)))) + body


@dataclass
class Scene:
    """A stash of good items among which something is planted."""

    stash: HashStash
    mark: Path

    def key(self, key: Any) -> bytes:
        return self.stash.encode_key(key)

    def row(self, key: Any) -> bytes:
        row = self.stash._engine.get(self.key(key))
        assert row is not None
        return row

    def plant(self, key: Any, row: bytes) -> None:
        self.stash._engine.put(self.key(key), row)

    def ways_to_read(self, key: Any) -> Iterator[Callable[[], object]]:
        stash = self.stash
        yield lambda: stash[key]
        yield lambda: stash.get(key)
        yield lambda: stash.get_many(["plain", key])
        yield lambda: stash.pop(key)
        yield lambda: stash.setdefault(key, 1)
        yield lambda: stash.get_all(key)
        yield lambda: stash.get_all(key, with_metadata=True)
        yield lambda: list(stash.values())
        yield lambda: list(stash.items())
        yield lambda: list(stash.items(all_versions=True))
        yield stash.copy

    def refuses(self, key: Any, error: type[Exception], words: str | None = None) -> None:
        """Every way to read what is under ``key`` raises, and it does nothing else."""
        for act in self.ways_to_read(key):
            with pytest.raises(error, match=words):
                act()
        assert key in self.stash
        assert len(self.stash) == len(GOOD) + 1
        assert key in list(self.stash)
        found = self.stash.verify()
        assert [(one.key, one.stored_key) for one in found] == [(key, self.key(key))]
        self.has_all_else()

    def has_all_else(self) -> None:
        """All other items are there as they were, and nothing ran."""
        assert {key: self.stash[key] for key in GOOD} == GOOD
        assert self.stash.get_many(GOOD) == list(GOOD.values())
        self.is_untouched()

    def is_untouched(self) -> None:
        assert not self.mark.exists(), "what was planted has run"

    def sets_aside(self, key: Any) -> None:
        """Repairing moves what is under ``key``, byte by byte, and nothing else."""
        row = self.row(key)
        self.sets_aside_stored(self.key(key), row)
        assert key not in self.stash
        self.stash[key] = "new"
        assert self.stash.pop(key) == "new"

    def sets_aside_stored(self, stored: bytes, row: bytes) -> None:
        aside = self.stash._engine.sibling("damaged")
        aside.clear()
        assert [one.stored_key for one in self.stash.repair()] == [stored]
        (kept,) = dict(aside.items()).values()
        assert kept.endswith(stored + row)
        assert self.stash.verify() == []
        assert dict(self.stash.items()) == GOOD
        self.is_untouched()

    def leaves_alone(self, key: Any) -> None:
        """Repairing does not touch a row that is whole but refused."""
        row = self.row(key)
        assert self.stash.repair() == []
        assert self.row(key) == row
        self.is_untouched()
