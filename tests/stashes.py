"""Fixtures: stashes on each engine of this machine's own that needs no foreign library's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hashstash import HashStash

ENGINES = ["memory", "pairtree", "sqlite", "lmdb"]
MakeStash = Callable[..., HashStash]


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStash]:
    """Return what makes stashes below the test's folder, all of one engine; removed at the end."""
    made: list[HashStash] = []

    def build(root: str = "root", **settings: Any) -> HashStash:
        made.append(HashStash(tmp_path / root, **{"engine": request.param, **settings}))
        return made[-1]

    yield build
    for stash in made:
        stash._engine.destroy()


@pytest.fixture
def stash(make: MakeStash) -> HashStash:
    """Return an empty stash."""
    return make()
