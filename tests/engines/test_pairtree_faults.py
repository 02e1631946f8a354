"""The pairtree engine when the disk is full, read-only, out of reach, or someone hits Ctrl-C."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import hashstash.engines
from hashstash.engines import ETAG, Place
from hashstash.engines.pairtree import PairtreeEngine
from hashstash.errors import EngineError
from hashstash.testing.engine import make_row
from hashstash.testing.processes import Child
from hashstash.testing.samples import sealed_row


def at(folder: Path) -> PairtreeEngine:
    return PairtreeEngine(Place(str(folder / "stash"), "stash"))


def temps_of(engine: PairtreeEngine) -> list[str]:
    return os.listdir(Path(engine.location, ".tmp"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"may not mount a small disk here: {exc}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(disk: Path) -> None:
    engine = at(disk)
    rows = {b"key %d" % number: os.urandom(20_000) for number in range(20)}
    engine.put(b"old", b"as it was")
    stored = {b"old": b"as it was"}
    with pytest.raises(EngineError, match="No space left on device") as caught:
        for key, row in rows.items():
            engine.put(key, row)
            stored[key] = row
    key = next(key for key in rows if key not in stored)
    assert key.hex() in str(caught.value)
    assert engine.location in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(EngineError, match=b"old".hex()):
        engine.put(b"old", os.urandom(200_000))
    with pytest.raises(EngineError, match="compare_and_set failed"):
        engine.compare_and_set(b"old", b"", os.urandom(200_000))
    assert temps_of(engine) == []
    assert dict(engine.items()) == stored
    assert engine.delete(b"key 1")
    engine.put(b"old", b"new")
    assert engine.get(b"old") == b"new"
    engine.clear()
    engine.put_many(list(rows.items())[:8])


def test_read_only_disk(disk: Path) -> None:
    engine = at(disk)
    row = make_row()
    engine.put(b"key", row)
    (Path(engine.location) / ".tmp" / "left").write_bytes(b"by the dead")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    other = at(disk)
    assert other.get(b"key") == row
    assert other.get(b"other") is None
    assert other.contains(b"key")
    assert list(other.items()) == [(b"key", row)]
    assert other.count() == 1
    assert other.size_bytes() == len(row)
    assert other.compare_and_set(b"key", None, row) is False
    assert other.sibling("versions").count() == 0
    changes: list[Callable[[], object]] = [
        lambda: other.put(b"key", b"new"),
        lambda: other.delete(b"key"),
        lambda: other.compare_and_set(b"key", row[ETAG], b"new"),
        lambda: other.sibling("versions").put(b"key", b"new"),
        other.clear,
        other.sweep,
        other.destroy,
    ]
    for change in changes:
        with pytest.raises(EngineError, match="Read-only file system") as caught:
            change()
        assert engine.location in str(caught.value)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert list(other.items()) == [(b"key", row)]


def use_no_more_descriptors(engine: PairtreeEngine) -> list[str]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    messages = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for spare in range(3):
        for act in (
            lambda: engine.put(b"key", b"new"),
            lambda: engine.compare_and_set(b"key", b"", b"new"),
            lambda: engine.get(b"key"),
            lambda: list(engine.items()),
        ):
            try:
                act()
            except EngineError as exc:
                messages.append(f"{spare} {exc}")
        os.close(taken.pop())
    return messages


def test_no_more_descriptors(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"old")
    messages = Child("fork", use_no_more_descriptors, engine).result()
    assert len([message for message in messages if message.startswith("0 ")]) == 4
    assert all("Too many open files" in message for message in messages)
    assert all(engine.location in message for message in messages)
    assert engine.get(b"key") in (b"old", b"new")
    assert temps_of(engine) == []


def put_too_large(engine: PairtreeEngine) -> str:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    engine.put(b"small", b"row")
    with pytest.raises(EngineError) as caught:
        engine.put(b"key", b"x" * 20_000)
    assert temps_of(engine) == []
    return str(caught.value)


def test_a_file_too_large(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"old")
    message = Child("fork", put_too_large, engine).result()
    assert b"key".hex() in message
    assert "File too large" in message
    assert dict(engine.items()) == {b"key": b"old", b"small": b"row"}


def use_with_fewer_rights(folder: str) -> dict[str, object]:
    if os.geteuid() == 0:
        os.chdir(folder)  # the folders above may be closed to whom we become
        os.setgid(65534)
        os.setuid(65534)
        folder = "/proc/self/cwd"
    engine = at(Path(folder))
    outcomes: dict[str, object] = {}
    acts: dict[str, Callable[[], object]] = {
        "get": lambda: engine.get(b"key"),
        "contains": lambda: engine.contains(b"key"),
        "items": lambda: list(engine.items()),
        "count": engine.count,
        "size": engine.size_bytes,
        "put": lambda: engine.put(b"key", b"new"),
        "delete": lambda: engine.delete(b"key"),
        "clear": engine.clear,
    }
    for name, act in acts.items():
        try:
            outcomes[name] = act()
        except EngineError as exc:
            outcomes[name] = str(exc)
    return outcomes


def test_who_may_only_read(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    paths = [tmp_path, *tmp_path.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        outcomes = Child("fork", use_with_fewer_rights, str(tmp_path)).result()
    finally:
        for path in paths:
            path.chmod(0o700)
    for name in ("put", "delete", "clear"):
        message = str(outcomes.pop(name))
        assert "Permission denied" in message
        assert "data.db" in message
    assert outcomes == {
        "get": b"row", "contains": True, "items": [(b"key", b"row")], "count": 1, "size": 3
    }  # fmt: skip


def test_who_may_not_enter(tmp_path: Path) -> None:
    engine = at(tmp_path)
    engine.put(b"key", b"row")
    tmp_path.chmod(0o755)
    store = Path(engine.location)
    store.chmod(0)
    store.parent.chmod(0o755)
    try:
        outcomes = Child("fork", use_with_fewer_rights, str(tmp_path)).result()
    finally:
        store.chmod(0o700)
    assert len(outcomes) == 8
    for message in map(str, outcomes.values()):
        assert "Permission denied" in message
        assert "data.db" in message


ENGINES_FOLDER = os.path.dirname(hashstash.engines.__file__)


class Interruption:
    """Raises KeyboardInterrupt at the given step (a line or an opcode) inside the engine."""

    def __init__(self, step: int, opcodes: bool) -> None:
        self.left, self.opcodes = step, opcodes

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ENGINES_FOLDER):
            return None
        frame.f_trace_opcodes = self.opcodes
        if event == ("opcode" if self.opcodes else "line"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    def hits(self, act: Callable[[], object]) -> bool:
        """Run ``act``; report whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            act()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


@pytest.mark.parametrize("opcodes", [False, True], ids=["lines", "opcodes"])
@pytest.mark.parametrize("change", ["put", "new", "delete", "swap", "remove", "clear"])
def test_interrupted_anywhere(tmp_path: Path, change: str, opcodes: bool) -> None:
    """Whatever line or bytecode an interrupt hits: a whole row, no lock held, nothing left."""
    engine = at(tmp_path)
    step = 0
    while True:
        step += 1
        old, new = sealed_row(b"key"), sealed_row(b"key")
        engine.put(b"key", old)
        engine.put(b"other", b"row")
        acts: dict[str, Callable[[], object]] = {
            "put": partial(engine.put, b"key", new),
            "new": partial(engine.put, b"key", new),
            "delete": partial(engine.delete, b"key"),
            "swap": partial(engine.compare_and_set, b"key", old[ETAG], new),
            "remove": partial(engine.compare_and_set, b"key", old[ETAG], None),
            "clear": engine.clear,
        }
        outcomes: dict[str, set[bytes | None]]
        outcomes = {"put": {old, new}, "swap": {old, new}, "new": {None, new}}
        if change == "new":
            engine.delete(b"key")
        if step % 5 == 0:
            engine.close()
        if not Interruption(step, opcodes).hits(acts[change]):
            break
        after = at(tmp_path)
        found = after.get(b"key")
        assert found in outcomes.get(change, {old, None})
        assert temps_of(after) == []
        assert after.get(b"other") == (None if change == "clear" and found is None else b"row")
        assert set(after.keys()) == {key for key in (b"key", b"other") if after.get(key)}
        after.put(b"key", old)
        assert after.get(b"key") == old
    assert step > 20
    assert temps_of(engine) == []
