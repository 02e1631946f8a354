from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hashstash import ConfigurationError, MissingDependencyError, UnknownNameError
from hashstash.encoders import ENCODERS
from hashstash.engines import ENGINES
from hashstash.registry import Registry
from hashstash.serializers import SERIALIZERS


def registry() -> Registry[object]:
    return Registry("thing", "hashstash.things", {"ordered": "collections:OrderedDict"})


def test_a_name_leads_to_its_class() -> None:
    from collections import OrderedDict

    things = registry()
    assert things.load("ordered") is OrderedDict
    assert list(things) == ["ordered"]
    assert "ordered" in things
    assert "other" not in things


def test_an_unknown_name_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown thing 'orderd'\. Did you mean 'ordered'"):
        registry().load("orderd")
    with pytest.raises(UnknownNameError, match="Known: ordered"):
        registry().load("zzz")
    with pytest.raises(TypeError, match="by name"):
        registry().load(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by name"):
        registry().load(["ordered"])  # type: ignore[arg-type]


def test_a_taken_name_is_refused() -> None:
    things = registry()
    things.register("mine", "collections:Counter")
    things.register("mine", "collections:Counter")
    with pytest.raises(ConfigurationError, match="taken"):
        things.register("ordered", "collections:Counter")


def test_a_missing_package_is_an_error_with_the_install_line() -> None:
    things: Registry[object] = Registry("engine", "x", {"redis": "a_package_not_there:X"})
    with pytest.raises(MissingDependencyError, match=r"pip install 'hashstash\[redis\]'"):
        things.load("redis")


def test_a_bug_of_ours_is_not_taken_for_a_missing_package() -> None:
    things: Registry[object] = Registry("engine", "x", {"broken": "hashstash.not_there:X"})
    with pytest.raises(ModuleNotFoundError, match="not_there") as caught:
        things.load("broken")
    assert not isinstance(caught.value, MissingDependencyError)


@pytest.mark.parametrize("known", [ENGINES, SERIALIZERS, ENCODERS], ids=lambda one: one.kind)
def test_name_file_and_class_agree(known: Registry[object]) -> None:
    for name, path in known._paths.items():
        module, _, attribute = path.partition(":")
        assert module == f"hashstash.{known.kind}s.{name}"
        assert attribute == f"{name.capitalize()}{known.kind.capitalize()}"


def test_other_packages_add_names_by_entry_points(tmp_path: Path) -> None:
    (tmp_path / "their_package.py").write_text(
        "from hashstash.engines.memory import MemoryEngine\n"
        "class TheirEngine(MemoryEngine):\n    name, title = 'theirs', 'Theirs'\n"
    )
    info = tmp_path / "their_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_package\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[hashstash.engines]\ntheirs = their_package:TheirEngine\n"
    )
    code = (
        "from hashstash import HashStash\n"
        "stash = HashStash('x', engine='theirs')\n"
        "stash['a'] = 1\n"
        "print(stash, stash['a'])\n"
        "try: HashStash('x', engine='theirz')\n"
        "except ValueError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "TheirsHashStash(memory://x/main) 1",
        "Unknown engine 'theirz'. Did you mean 'theirs'?",
    ]
