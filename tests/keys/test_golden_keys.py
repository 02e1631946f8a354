"""Keys are frozen: what is stored today must be found by every later version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL, call

import golden
import pytest
from golden_expressions import EXPRESSIONS

import hashstash

FROZEN = golden.frozen()
ROOT = Path(hashstash.__file__).parents[1]


def other_pythons() -> list[str]:
    """Find one interpreter of each other version, on the path or beside this one."""
    found = []
    for minor in range(10, 20):
        name = f"python3.{minor}"
        beside = map(str, Path(sys.base_prefix).parent.glob(f"*/bin/{name}"))
        for python in filter(None, (*beside, shutil.which(name))):
            # A version manager's shim may be there without the version.
            if minor != sys.version_info[1] and not call([python, "-c", ""], stderr=DEVNULL):
                found.append(python)
                break
    return found


def hashes_in(python: str, group: str, seed: int) -> dict[str, str]:
    done = subprocess.run(
        [python, str(Path(golden.__file__)), group],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("group", sorted(EXPRESSIONS))
def test_keys_are_what_they_were(group: str) -> None:
    for package in golden.MODULES[group].split():
        pytest.importorskip(package)
    assert golden.hashes(group, list(FROZEN[group])) == FROZEN[group]


def test_every_expression_is_frozen() -> None:
    assert {group: set(known) for group, known in FROZEN.items()} == {
        group: set(known) for group, known in EXPRESSIONS.items()
    }
    alike: dict[str, list[str]] = {}
    for text, frozen in FROZEN["stdlib"].items():
        alike.setdefault(frozen, []).append(text)
    assert [texts for texts in alike.values() if len(texts) > 1] == [
        ["float('nan')", "-float('nan')"],
        ["s.Color.RED", "s.Color.CRIMSON"],
        ["typing.Optional[int]", "int | None"],
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_keys_are_the_same_in_every_process(seed: int) -> None:
    assert hashes_in(sys.executable, "stdlib", seed) == FROZEN["stdlib"]


def test_keys_are_the_same_in_other_python_versions() -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no other Python is installed")
    for seed, python in enumerate(pythons):
        assert hashes_in(python, "stdlib", seed) == FROZEN["stdlib"], python
