"""Every test session lives in folders of its own and leaves the user's alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["servers.fixtures", "stashes"]

FOLDERS = {
    "HOME": "home",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "HASHSTASH_ROOT": "stashes",
}
DEFAULTS = (
    *("ENGINE", "SERIALIZER", "COMPRESS", "B64", "SAFE", "KEYS", "DURABILITY"),
    *("REDIS_URL", "MONGO_URL", "S3_URL"),
)

# No deadline: the machine may be busy. No database: tests write below their tmp_path only.
settings.register_profile("hashstash", deadline=None, database=None)
settings.load_profile("hashstash")

_session = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Point every variable that says where a user's files are into a new folder."""
    folder = tempfile.mkdtemp(prefix="hashstash-tests-")
    config.stash[_session] = folder
    for variable, name in FOLDERS.items():
        path = Path(folder, name)
        path.mkdir()
        os.environ[variable] = str(path)
    for option in DEFAULTS:
        os.environ.pop(f"HASHSTASH_{option}", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's folder."""
    shutil.rmtree(config.stash[_session], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that take minutes, unless ``-m`` asks for them."""
    if "stress" in config.getoption("markexpr"):
        return
    stress = [item for item in items if item.get_closest_marker("stress")]
    if stress:
        config.hook.pytest_deselected(items=stress)
        items[:] = [item for item in items if item not in set(stress)]
