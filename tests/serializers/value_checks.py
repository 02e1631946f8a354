"""What the tests of values have in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from hashstash.serializers.hashstash import HashstashSerializer
from hashstash.serializers.hashstash_format import classes
from hashstash.serializers.likeness import unlike

HASHSTASH = HashstashSerializer()


def round_trip(value: Any, serializer: HashstashSerializer = HASHSTASH) -> Any:
    """Return what comes back of a value, trusted only if it needs to be."""
    data = serializer.dumps(value)
    return serializer.loads(data, trusted=serializer.needs_trust(data))


def as_data(value: Any, serializer: HashstashSerializer = HASHSTASH) -> Any:
    """Return what comes back of a value that needs no trust."""
    data = serializer.dumps(value)
    assert not serializer.needs_trust(data)
    return serializer.loads(data, trusted=False)


def assert_same(value: Any, found: Any) -> None:
    """Compare types and contents all the way down."""
    assert type(found) is type(value)
    assert unlike(value, found) is None


def payload(tree: Any, *segments: bytes, marker: bytes = b"D") -> bytes:
    """Return the bytes of a tree and segments, whatever they are."""
    head = json.dumps([tree, [len(segment) for segment in segments]]).encode()
    return marker + len(head).to_bytes(8, "little") + head + b"".join(segments)


def forget(value: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what another process, which does not have the classes, would read."""
    data = HASHSTASH.dumps(value)
    with monkeypatch.context() as patch:
        patch.setattr(classes, "_living", weakref.WeakValueDictionary())
        return HASHSTASH.loads(data, trusted=True)


def run(script: Path, *arguments: object, python: str = sys.executable) -> str:
    """Return what a script prints."""
    done = subprocess.run(
        [python, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
