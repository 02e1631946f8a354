"""Fixtures: a stash with good items on every engine that needs no server."""

from __future__ import annotations

import glob
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import HashStash
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing

from .planting import ENGINES, GOOD, MODULE, Scene


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStash]:
    """Return what makes stashes of one engine below the test's folder; removed at the end."""
    made: list[HashStash] = []
    own = secrets.token_hex(8)  # the shm engine knows a place by its name alone

    def build(dbname: str = "main", **settings: Any) -> HashStash:
        try:
            stash = HashStash(tmp_path / own, dbname, **{"engine": request.param, **settings})
        except MissingDependencyError as exc:
            missing(exc)
        made.append(stash)
        return stash

    yield build
    for stash in made:
        stash._engine.destroy()
    for left in glob.glob(f"/dev/shm/hashstash-*/{own}*"):  # results of functions
        shutil.rmtree(left)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where what is planted leaves a mark if it runs; importing the module leaves it too."""
    mark, folder = tmp_path / "mark", tmp_path / "modules"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(
        f"import os\nos.mkdir({str(mark)!r})\ndef thing(): pass\nclass Thing: pass\n"
    )
    monkeypatch.syspath_prepend(folder)
    yield mark
    sys.modules.pop(MODULE, None)


@pytest.fixture
def scene(make: MakeStash, mark: Path) -> Scene:
    """Return a stash with good items."""
    stash = make()
    stash.update(GOOD)
    return Scene(stash, mark)
