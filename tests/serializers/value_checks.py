"""What the tests of values have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hashstash.serializers.hashstash import HashstashSerializer
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
