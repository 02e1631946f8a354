"""What is published: a wheel that works alone, in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: object, **options: str | Path | dict[str, str]) -> str:
    """Return what ``command`` prints; fail with all it said unless it succeeds."""
    done = subprocess.run(  # type: ignore[call-overload]
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel)
    assert [line.split()[0] for line in run(*pip, "list").splitlines()[2:]] == ["hashstash"]
    return python


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "hashstash").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == source
    assert {"hashstash/py.typed", "hashstash/demo/run.py", "hashstash/__main__.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_needs_nothing(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    required = fields.get_all("Requires-Dist", [])
    assert [line for line in required if "extra ==" not in line] == []
    assert fields["License-Expression"] == "MIT"


def test_the_demo_runs_from_the_wheel_alone(python: Path, tmp_path: Path) -> None:
    for command in ([python, "-m", "hashstash"], [python.parent / "hashstash"]):
        said = run(*command, "demo", "--limit", "40", "--root", "my_demo", cwd=tmp_path)
        assert "Proof: the second pass computed 0 results and read 40" in said
    installed = run(sys.executable, "-m", "pip", "--python", python, "list").split()[-1]
    said = run(python, "-m", "hashstash", "--version", cwd=tmp_path)
    assert said == f"hashstash {installed}\n"


def test_missing_extras_are_named(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-m", "hashstash", "demo", "--engine", "lmdb"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'hashstash[lmdb]'" in done.stderr


def test_the_source_archive_can_be_built_and_tested(tmp_path: Path) -> None:
    run(
        sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT
    )  # fmt: skip
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"conftest.py", "tests/test_packaging.py", "pyproject.toml", "CHANGELOG.md"} <= names


IMPORT = """
import sys
before = set(sys.modules)
import hashstash
print(*sorted(set(sys.modules) - before))
"""


def test_importing_loads_nothing_that_is_not_needed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    loaded = run(sys.executable, "-c", IMPORT, cwd=tmp_path, env=environment).split()
    packages = {name.partition(".")[0] for name in loaded}
    assert "hashstash" in packages
    assert packages - set(sys.stdlib_module_names) == {"hashstash"}
    slow = {"asyncio", "importlib.metadata", "multiprocessing", "sqlite3", "unittest"}
    assert slow.isdisjoint(loaded)
    engines = {name for name in loaded if name.startswith("hashstash.engines.")}
    assert engines <= {"hashstash.engines.base"}
