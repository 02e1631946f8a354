"""``durability="system"``: the system was told to flush before a write returned, seen by strace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing

TRACED = """
import os, sys
from hashstash import HashStash
root, engine, durability, append = sys.argv[1:]
stash = HashStash(root, engine=engine, durability=durability, append_mode=bool(append))
stash["warm"] = "up"
def in_batch():
    with stash.batch():
        stash["b"] = 1
        stash["c"] = 2
    assert stash["c"] == 2
changes = {
    "insert": lambda: stash.__setitem__("k", 1),
    "overwrite": lambda: stash.__setitem__("k", 2),
    "sign": lambda: stash.__setitem__("code", os.getcwd),
    "setdefault": lambda: stash.setdefault("d", 1),
    "pop": lambda: stash.pop("d"),
    "delete": lambda: stash.__delitem__("k"),
    "update": lambda: stash.update({"x": 1, "y": 2}),
    "batch": in_batch,
    "delete_many": lambda: stash.delete_many(["x", "y"]),
    "clear": stash.clear,
}
for name, change in changes.items():
    os.write(2, f"begin {name}\\n".encode())
    change()
    os.write(2, f"end {name}\\n".encode())
"""
WATCHED = "fsync,fdatasync,msync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,write"
CHANGES = {"insert", "overwrite", "sign", "setdefault", "pop", "delete", "update", "batch",
           "delete_many", "clear"}  # fmt: skip


def traced(root: Path, engine: str, durability: str, *, append: bool) -> dict[str, list[str]]:
    """Return the calls to the system that each change made before it returned."""
    if shutil.which("strace") is None:
        missing(MissingDependencyError("strace is not installed: tracing", "dev"))
    program = [sys.executable, "-c", TRACED, str(root), engine, durability, "1" if append else ""]
    ran = subprocess.run(
        ["strace", "-f", "-y", "-e", f"trace={WATCHED}", *program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if ran.returncode and "ptrace" in ran.stderr:
        missing(MissingDependencyError("processes may not be traced here: tracing", "dev"))
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = re.findall(
        r'write\(2[^\n]*"begin (\w+)[^\n]*\n(.*?)write\(2[^\n]*"end \1', ran.stderr, re.DOTALL
    )
    calls = {name: text.splitlines() for name, text in found}
    assert calls.keys() == CHANGES
    return calls


def flushed(calls: list[str]) -> list[str]:
    """Return the paths that were flushed, in order."""
    pattern = re.compile(r"\b(?:fsync|fdatasync)\(\d+<([^>]*)>")
    return [found[1] for line in calls if (found := pattern.search(line))]


@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
@pytest.mark.parametrize("engine", ["pairtree", "sqlite", "lmdb"])
def test_system(tmp_path: Path, engine: str, append: bool) -> None:
    calls = traced(tmp_path / "root", engine, "system", append=append)
    store = tmp_path / "root" / "main" / engine / "data.db"
    for name, made in calls.items():
        paths = flushed(made)
        assert any(path.startswith(str(store)) for path in paths), (name, made)
        if engine == "pairtree":
            check_pairtree(name, made, store, append=append)


def check_pairtree(name: str, calls: list[str], store: Path, *, append: bool) -> None:
    """Each file is flushed before it gets its name, and the folder of the name after that."""
    renames = [n for n, line in enumerate(calls) if "rename" in line and " = 0" in line]
    removals = [n for n, line in enumerate(calls) if "unlink" in line and " = 0" in line]
    for number in renames:
        source, target = re.findall(r'"([^"]*)"', calls[number])
        if name != "clear":
            assert source in flushed(calls[:number]), (name, calls)
        folder = Path(target if name != "clear" else source).parent
        assert str(folder) in flushed(calls[number:]), (name, calls)
    if name in {"insert", "overwrite", "sign", "setdefault", "update", "batch"}:
        assert len(renames) >= (2 if name in {"update", "batch"} else 1)
    if name == "overwrite" and append:
        assert len(renames) == 2  # the version before, and the latest
    if name in {"pop", "delete", "delete_many"}:
        last = max(n for n in removals if str(store / "entries") in calls[n])
        (path,) = re.findall(r'"([^"]*)"', calls[last])
        assert str(Path(path).parent) in flushed(calls[last:]), (name, calls)


@pytest.mark.parametrize("engine", ["pairtree", "lmdb"])
def test_process(tmp_path: Path, engine: str) -> None:
    """The default pays for none of it; sqlite flushes the head of a new log alone."""
    calls = traced(tmp_path / "root", engine, "process", append=False)
    own = {name: [path for path in flushed(made) if "signing.key" not in path]
           for name, made in calls.items()}  # fmt: skip
    assert not any(own.values()), own
