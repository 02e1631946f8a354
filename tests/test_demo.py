"""The demo: what it finds in a module, and that it proves what it says."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hashstash.demo.run as demo
from hashstash import HashStash
from hashstash.__main__ import main
from hashstash.demo.analysis import analyse
from hashstash.demo.library import library_files, library_root
from hashstash.demo.passes import go_over, shown
from hashstash.demo.report import findings, hardest_modules, labelled, table

SOURCE = b'''"""A module."""
import os, json.decoder
from collections.abc import Iterator
from . import sibling

class Cat:
    """A class."""

    def meow(self, loud=False):
        """A method."""
        if loud and self:
            return "MEOW"
        elif self:
            return "meow"
        elif os:
            return "mew"
        return ""

    def _private(self):
        def inner(x):
            for a in x:
                while a:
                    with a:
                        try:
                            pass
                        except ValueError:
                            return [y for y in x if y if x]
        return inner

async def plain():
    match os:
        case 1: pass
        case 2: pass
'''


def scope(name: str, line: int, lines: int, complexity: int, depth: int) -> dict[str, Any]:
    return {"name": name, "line": line, "lines": lines, "complexity": complexity, "depth": depth}


def test_a_module_is_measured() -> None:
    assert analyse(SOURCE) == {
        "lines": 33,
        "names": 12,
        "imports": ["collections", "json", "os"],
        "functions": 4,
        "classes": 1,
        "complexity": 1 + 5 + 1 + 7 + 3,
        "documentable": 4,  # module, Cat, meow, plain
        "documented": 3,
        "hardest": scope("Cat._private.inner", 20, 8, 7, 5),
        "longest": scope("Cat._private", 19, 10, 1, 1),
        "deepest": scope("Cat._private.inner", 20, 8, 7, 5),
    }


def test_results_are_plain_data() -> None:
    assert json.loads(json.dumps(analyse(SOURCE))) == analyse(SOURCE)


@pytest.mark.parametrize("source", [b"", b"\n", b"# only a comment"])
def test_modules_without_anything(source: bytes) -> None:
    found = analyse(source)
    assert found["complexity"] == 1
    assert found["hardest"] is None


@pytest.mark.parametrize("source", [b"print 1", b"\x00", b"# coding: klingon", b"x = '\xf6'"])
def test_what_is_not_python_is_said(source: bytes) -> None:
    assert analyse(source)["error"]


def test_deep_nesting_is_measured_not_recursed() -> None:
    deep = b"x = " + b"-" * 2000 + b"1"
    assert "error" in analyse(deep) or analyse(deep)["complexity"] == 1
    chain = b"def f(x):\n    if x == 0: pass\n" + b"".join(
        b"    elif x == %d: pass\n" % number for number in range(150)
    )
    hardest = analyse(chain)["hardest"]
    assert (hardest["complexity"], hardest["depth"]) == (152, 2)


def test_the_library_is_found_without_what_is_installed_beside_it() -> None:
    files = library_files(library_root())
    assert {"json/decoder.py", "os.py", "asyncio/events.py"} <= set(files)
    assert len(files) > 500
    assert not [path for path in files if "site-packages" in path or "dist-packages" in path]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    folder.joinpath("one.py").write_bytes(SOURCE)
    folder.joinpath("two.py").write_bytes(b"import os\n")
    folder.joinpath("broken.py").write_bytes(b"print 1\n")
    return folder


def test_only_what_changed_is_computed_again(library: Path, tmp_path: Path) -> None:
    stash = HashStash(tmp_path / "stash")
    paths = library_files(str(library))
    first = go_over(stash, str(library), paths)
    second = go_over(stash, str(library), paths)
    assert (first.computed, first.read) == (3, 0)
    assert (second.computed, second.read) == (0, 3)
    assert first.results == second.results
    library.joinpath("two.py").write_bytes(b"import re\n")
    third = go_over(stash, str(library), paths)
    assert (third.computed, third.read) == (1, 2)
    assert third.results["two.py"]["imports"] == ["re"]


@pytest.mark.parametrize("engine", ["pairtree", "sqlite", "lmdb", "memory"])
def test_the_demo_proves_that_nothing_was_computed_again(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--engine", engine, "--root", str(tmp_path), "--limit", "30"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "Proof: the second pass computed 0 results and read 30, all equal." in said.out
    assert "times faster" in said.out
    assert HashStash(tmp_path, demo.DBNAME, engine).path in said.out
    assert max(map(len, said.out.splitlines()[2:])) <= 100
    assert said.err == ""  # no progress where nobody looks


def test_an_earlier_run_is_kept_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--root", str(tmp_path), "--limit", "5"]
    assert main([*command, "--keep"]) == 0
    assert "times faster" in capsys.readouterr().out
    assert main([*command, "--keep"]) == 0
    assert "An earlier run had stashed 5 of 5 results" in capsys.readouterr().out
    assert main(command) == 0
    assert "times faster" in capsys.readouterr().out


def test_only_the_demos_own_stash_is_cleared(tmp_path: Path) -> None:
    mine = HashStash(tmp_path)
    mine["cat"] = "good"
    assert main(["demo", "--root", str(tmp_path), "--limit", "2"]) == 0
    assert mine["cat"] == "good"


class Forgetful(HashStash):
    """A stash that loses every second item."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) % 2:
            value = {**value, "lines": -1}
        super().__setitem__(key, value)
        if value["lines"] == -1 and self.loses:
            del self[key]

    loses = True


@pytest.mark.parametrize(
    ("loses", "said"), [(True, "computed 1 results"), (False, "1 results differ, first")]
)
def test_a_stash_that_loses_or_changes_results_fails_the_demo(
    loses: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "HashStash", Forgetful)
    monkeypatch.setattr(Forgetful, "loses", loses)
    assert main(["demo", "--root", str(tmp_path), "--limit", "2"]) == demo.FAILED
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Proof" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "lmbd"], "Did you mean 'lmdb'?"),
        (["--engine", "pairtree", "--root", ""], "root_dir"),
    ],
)
def test_what_cannot_run_says_why(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == demo.CANNOT_RUN
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "url", "start"),
    [
        ("redis", "redis://127.0.0.1:1/0", "redis-server --appendonly yes"),
        ("mongo", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100", "docker run"),
        ("s3", "", "versitygw --port"),
    ],
)
def test_without_a_server_it_says_how_to_start_one(
    engine: str,
    url: str,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"HASHSTASH_{engine.upper()}_URL", url)
    assert main(["demo", "--engine", engine]) == demo.CANNOT_RUN
    said = capsys.readouterr().err
    assert "The demo cannot run: " in said
    assert start in said
    assert f"HASHSTASH_{engine.upper()}_URL=" in said


@pytest.mark.parametrize("engine", ["redis", "mongo", "s3"])
def test_the_demo_on_a_server(
    engine: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"HASHSTASH_{engine.upper()}_URL", request.getfixturevalue(f"{engine}_url"))
    command = ["demo", "--engine", engine, "--root", str(tmp_path), "--limit", "10"]
    assert main(command) == 0
    assert "Proof: the second pass computed 0 results and read 10" in capsys.readouterr().out
    HashStash(tmp_path, demo.DBNAME, engine)._engine.destroy()


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    monkeypatch.delitem(sys.modules, "hashstash.engines.lmdb", raising=False)
    from hashstash.engines import ENGINES

    monkeypatch.setattr(ENGINES, "_loaded", {})
    assert main(["demo", "--engine", "lmdb", "--root", str(tmp_path)]) == demo.CANNOT_RUN
    assert "pip install 'hashstash[lmdb]'" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_limits_are_numbers_of_modules(number: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--limit", number])


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "demo" in capsys.readouterr().out


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hashstash", "demo", "--root", str(tmp_path), "--limit", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Proof: the second pass computed 0 results and read 3" in done.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("installed", [True, False])
def test_progress_is_shown_on_a_terminal(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    paths, terminal, pipe = [f"{number}.py" for number in range(25)], Terminal(), io.StringIO()
    assert list(shown(paths, "First pass", terminal)) == paths
    assert "First pass" in terminal.getvalue()
    assert list(shown(paths, "First pass", pipe)) == paths
    assert pipe.getvalue() == ""


def test_long_names_do_not_widen_a_table() -> None:
    text = table(["module", "lines"], [["x" * 200, "1"], ["short", "22"]])
    assert max(map(len, text.splitlines())) <= 100
    assert "..." in text
    assert max(map(len, labelled([("label", "x" * 200)]).splitlines())) == 100


def test_a_report_of_nothing_is_no_error() -> None:
    results = {"broken.py": {"lines": 3, "error": "invalid syntax", "seconds": 0.1}}
    assert "hardest modules" in hardest_modules(results)
    assert dict(findings(results)) == {
        "All modules": "3 lines, 0 functions, 0 classes",
        "Not Python now": "1 files, such as broken",
    }


def test_options_have_defaults() -> None:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    assert vars(parser.parse_args([])) == {
        "engine": None,
        "root": "demo",
        "limit": None,
        "keep": False,
    }
