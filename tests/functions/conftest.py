from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hashstash import HashStash

MakeStash = Callable[..., HashStash]


@pytest.fixture(params=["memory", "pairtree", "sqlite", "lmdb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStash]:
    made: list[HashStash] = []

    def build(root: str = "root", **settings: Any) -> HashStash:
        made.append(HashStash(tmp_path / root, **{"engine": request.param, **settings}))
        return made[-1]

    yield build
    for stash in made:
        stash._engine.destroy()


@pytest.fixture
def stash(make: MakeStash) -> HashStash:
    return make()
