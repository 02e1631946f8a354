"""The shm engine: the contract, and what only it does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hashstash.engines import Place, shm
from hashstash.errors import ConfigurationError, EngineError
from hashstash.testing.engine import EngineContract

needs_memory = pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm here")


@needs_memory
class TestShmEngine(EngineContract):
    engine_name = "shm"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the file system in memory."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(shm, "MEMORY", str(folder))
    return folder


def engine_named(name: str, tmp_path: Path) -> shm.ShmEngine:
    return shm.ShmEngine(Place(str(tmp_path / "unused"), name))


def test_one_name_is_one_store_whatever_the_root(memory: Path, tmp_path: Path) -> None:
    one = shm.ShmEngine(Place(str(tmp_path / "a"), "root/main"))
    two = shm.ShmEngine(Place(str(tmp_path / "b"), "root/main"))
    one.put(b"k", b"row")
    assert two.get(b"k") == b"row"
    assert engine_named("root/other", tmp_path).get(b"k") is None
    assert one.location.startswith(str(memory))
    assert not (tmp_path / "a").exists()
    two.destroy()
    assert not Path(one.location).exists()
    assert one.get(b"k") is None


def test_another_process_shares_the_rows(memory: Path, tmp_path: Path) -> None:
    engine = engine_named("root/main", tmp_path)
    engine.put(b"k", b"row")
    program = (
        "import sys, hashstash.engines.shm as shm; from hashstash.engines import Place\n"
        "shm.MEMORY = sys.argv[1]\n"
        "engine = shm.ShmEngine(Place('/nowhere', 'root/main'))\n"
        "assert engine.get(b'k') == b'row'\n"
        "engine.put(b'k', b'changed')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(memory)], check=True, timeout=60)
    assert engine.get(b"k") == b"changed"
    engine.destroy()


def test_what_a_killed_process_left_is_readable(memory: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, hashstash.engines.shm as shm\n"
        "from hashstash.engines import Place\n"
        "shm.MEMORY = sys.argv[1]\n"
        "engine = shm.ShmEngine(Place('/nowhere', 'root/main'))\n"
        "engine.put(b'k', b'row')\n"
        "with engine.transaction():\n"
        "    engine.put(b'k', b'never committed')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(memory)], check=False, timeout=60)
    engine = engine_named("root/main", tmp_path)
    assert engine.get(b"k") == b"row"
    engine.put(b"k", b"again")
    engine.destroy()


def test_files_are_private(memory: Path, tmp_path: Path) -> None:
    engine = engine_named("root/main", tmp_path)
    engine.put(b"k", b"row")
    for each in memory.rglob("*"):
        allowed = 0o700 if each.is_dir() else 0o600
        assert stat.S_IMODE(each.stat().st_mode) & ~allowed == 0, each
    engine.destroy()


def test_another_users_folder_is_refused(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    (memory / f"hashstash-{owner + 1}").mkdir(0o700)  # as if somebody else had made it first
    engine = engine_named("root/main", tmp_path)
    with pytest.raises(EngineError, match="belongs to another user"):
        engine.put(b"k", b"row")
    with pytest.raises(EngineError, match="belongs to another user"):
        engine.get(b"k")
    with pytest.raises(EngineError, match="belongs to another user"), engine.transaction():
        pass


def test_a_link_is_refused(memory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    (memory / f"hashstash-{os.geteuid()}").symlink_to(elsewhere)
    with pytest.raises(EngineError, match="is not a folder"):
        engine_named("root/main", tmp_path).put(b"k", b"row")
    assert not list(elsewhere.iterdir())


def test_an_open_folder_is_refused(memory: Path, tmp_path: Path) -> None:
    folder = memory / f"hashstash-{os.geteuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(EngineError, match="chmod 700"):
        engine_named("root/main", tmp_path).put(b"k", b"row")


def test_a_system_without_such_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "MEMORY", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="choose 'memory' for one process"):
        engine_named("root/main", tmp_path)


def test_names_never_meet(tmp_path: Path) -> None:
    long = "x" * 400
    names = ["", ".", "..", "a/b", "a%2Fb", "a.b", "a b", "é", "e\u0301", "=", "\0", "\ud800"]
    names += [long, long + "y", long[:200], long[:199], "../../etc", "A", "a"]
    files = [shm.file_name(name) for name in names]
    assert len(set(files)) == len(names)
    for each in files:
        assert 0 < len(each) <= 200
        assert not {"/", "\0", "."} & set(each)
