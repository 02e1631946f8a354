"""The diskcache engine: the contract, what planted caches do to it, and the library's own view."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import diskcache
import pytest

from hashstash.engines import Place
from hashstash.engines.diskcache import DiskcacheEngine
from hashstash.errors import ConfigurationError, CorruptRowError, EngineError, UntrustedRowError
from hashstash.testing.engine import EngineContract
from hashstash.testing.samples import sealed_row


class TestDiskcacheEngine(EngineContract):
    engine_name = "diskcache"

    def leftovers(self, engine: Any) -> list[str]:
        assert engine.count() >= 0
        engine.close()
        known = {"cache.db", "cache.db-wal", "cache.db-shm"}
        return [file for _, _, files in os.walk(engine.place.folder) for file in {*files} - known]


@pytest.fixture
def engine(tmp_path: Path) -> DiskcacheEngine:
    return DiskcacheEngine(Place(str(tmp_path / "stash"), "stash"))


def plant(engine: DiskcacheEngine, statement: str, *parameters: object) -> None:
    """Do to a closed cache what somebody else could do."""
    engine.close()
    connection = sqlite3.connect(Path(engine.location, "cache.db"))
    connection.execute(statement, parameters)
    connection.commit()
    connection.close()


class Command:
    """Unpickles by running a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.path}'",)


INSERT = "INSERT INTO Cache (key, raw, mode, filename, value) VALUES (?, ?, ?, ?, ?)"


def test_planted_pickles_are_not_loaded(engine: DiskcacheEngine, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bomb = pickle.dumps(Command(ran))
    engine.put(b"good", b"row")
    plant(engine, INSERT, b"key", 1, 4, None, bomb)
    plant(engine, INSERT, bomb, 0, 1, None, b"row")
    plant(engine, INSERT, b"good", 0, 4, None, bomb)
    plant(engine, INSERT, "text", 1, 4, None, bomb)
    with pytest.raises(UntrustedRowError, match="is a pickle that HashStash did not write"):
        engine.get(b"key")
    with pytest.raises(UntrustedRowError, match="existing="):
        engine.contains(b"key")
    with pytest.raises(UntrustedRowError):
        list(engine.items())
    with pytest.raises(UntrustedRowError):
        engine.compare_and_set(b"key", None, b"row")
    assert list(engine.keys()) == [b"good", b"key"]
    assert engine.count() == 2
    assert engine.size_bytes() > 0
    assert engine.get(bomb) is None
    assert engine.get(b"text") is None
    engine.put(b"key", b"mine")
    assert dict(engine.items()) == {b"good": b"row", b"key": b"mine"}
    plant(engine, "UPDATE Cache SET mode = 4, value = ? WHERE raw = 1", bomb)
    assert engine.delete(b"key") is True
    engine.clear()
    assert engine.count() == 0
    engine.destroy()
    assert not ran.exists()


def test_the_planted_pickle_would_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with diskcache.Cache(tmp_path / "cache") as cache:
        cache["key"] = Command(ran)
        assert cache["key"] == 0
    assert ran.exists()


@pytest.mark.parametrize("mode", [2, 3, 4])
def test_files_named_by_rows_are_left_alone(
    engine: DiskcacheEngine, tmp_path: Path, mode: int
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(pickle.dumps("secret"))
    engine.put(b"good", b"row")
    for number, name in enumerate(["../../secret", str(secret), "cache.db"] * 2):
        plant(engine, INSERT, b"key %d" % number, 1, mode, name, None)
    for number in range(6):
        with pytest.raises((CorruptRowError, UntrustedRowError)):
            engine.get(b"key %d" % number)
    for number in range(3):
        engine.put(b"key %d" % number, b"row")
    assert engine.delete(b"key 3") is True
    assert engine.get(b"good") == b"row"
    engine.clear()
    assert secret.exists()
    assert engine.count() == 0


def test_rows_that_are_no_bytes(engine: DiskcacheEngine) -> None:
    engine.put(b"good", b"row")
    for number, value in enumerate(["text", 1, 1.5, None]):
        plant(engine, INSERT, b"key %d" % number, 1, 1, None, value)
        with pytest.raises(CorruptRowError, match="no row of HashStash"):
            engine.get(b"key %d" % number)
    plant(engine, INSERT, b"odd", 1, "mode", None, b"row")
    with pytest.raises(CorruptRowError, match="'mode'"):
        engine.get(b"odd")
    for key in ("text", 1, 1.5, None):
        plant(engine, INSERT, key, 1, 1, None, b"row")
    assert sorted(engine.keys()) == [b"good", b"key 0", b"key 1", b"key 2", b"key 3", b"odd"]
    assert engine.count() == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_directory", "/nowhere"),
        ("_disk", "text"),
        ("disk__directory", "/nowhere"),
        ("disk_fetch", 1),
        ("close", 1),
        ("get", 1),
        ("set", 1),
        ("_sql", 1),
        ("connection", 1),
        ("_txn_id", 1),
        ("sqlite_writable_schema", 1),
        ("sqlite_journal_mode", "delete"),
        ("sqlite_x; DROP TABLE Cache; --", 1),
        ("statistics", 1),
        ("tag_index", 1),
        ("eviction_policy", "no such policy"),
        ("count", "many"),
        ("hits", None),
        ("", ""),
    ],
)
def test_planted_settings_are_not_believed(
    engine: DiskcacheEngine, name: str, value: object
) -> None:
    engine.put(b"old", b"row")
    plant(engine, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", name, value)
    assert engine.get(b"old") == b"row"
    engine.put(b"new", b"row")
    assert engine.compare_and_set(b"new", b"", None) is True
    engine.close()
    assert dict(engine.items()) == {b"old": b"row"}
    assert engine.count() == 1
    assert not Path("/nowhere").exists()


def test_settings_of_the_wrong_kind(engine: DiskcacheEngine) -> None:
    engine.put(b"old", b"row")
    plant(engine, "DROP TABLE Settings")
    plant(engine, "CREATE TABLE Settings (key, value)")
    plant(engine, "INSERT INTO Settings VALUES (1, 2)")
    with pytest.raises(EngineError, match="table of settings is damaged") as caught:
        engine.get(b"old")
    assert engine.location in str(caught.value)


def test_nothing_is_evicted_or_expires(engine: DiskcacheEngine) -> None:
    engine.put(b"old", b"row")
    for name, value in {"size_limit": 1, "cull_limit": 10}.items():
        plant(engine, "UPDATE Settings SET value = ? WHERE key = ?", value, name)
    policy = "UPDATE Settings SET value = 'least-recently-stored' WHERE key = 'eviction_policy'"
    plant(engine, policy)
    rows = {b"key %d" % number: bytes(100_000) for number in range(50)}
    for key, row in rows.items():
        engine.put(key, row)
    assert dict(engine.items()) == {b"old": b"row", **rows}


def test_large_rows_are_in_the_database(engine: DiskcacheEngine) -> None:
    engine.put(b"large", bytes(1_000_000))
    engine.close()
    assert os.listdir(engine.location) == ["cache.db"]


def test_only_the_owner_may_read(engine: DiskcacheEngine) -> None:
    engine.put(b"key", b"row")
    folder = Path(engine.location)
    for path in [folder, *folder.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o77 == 0, path


def test_the_library_opens_the_folder(engine: DiskcacheEngine) -> None:
    row = sealed_row(b"key")
    engine.put(b"key", row)
    with diskcache.Cache(engine.location) as cache:
        assert cache[b"key"] == row
        assert list(cache) == [b"key"]
        assert len(cache) == 1
        assert cache.check() == []
        cache[b"theirs"] = b"row of theirs"
        assert engine.get(b"theirs") == b"row of theirs"
        engine.put(b"key", b"other row")
        assert cache[b"key"] == b"other row"


def test_what_the_library_lets_expire_is_gone(engine: DiskcacheEngine) -> None:
    engine.put(b"key", b"row")
    with diskcache.Cache(engine.location) as cache:
        cache.touch(b"key", expire=1e-9)
    time.sleep(0.01)
    assert engine.get(b"key") is None
    assert engine.compare_and_set(b"key", None, b"new") is True
    assert engine.get(b"key") == b"new"


@pytest.mark.parametrize("name", ["$HOME", "~", "${HOME}x"])
def test_names_that_the_library_would_change(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = name if name == "~" else str(tmp_path / name)
    engine = DiskcacheEngine(Place(folder, "stash"))
    with pytest.raises(ConfigurationError, match="use other names"):
        engine.put(b"key", b"row")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(engine: DiskcacheEngine, tmp_path: Path) -> None:
    other = DiskcacheEngine(Place(str(tmp_path / "other"), "other"))
    other.put(b"key", b"row")
    Path(engine.place.folder).mkdir()
    Path(engine.location).symlink_to(other.location)
    with pytest.raises(EngineError, match="a link"):
        engine.put(b"key", b"mine")
    with pytest.raises(EngineError, match="a link"):
        engine.get(b"key")
    Path(engine.location).unlink()
    Path(engine.location).mkdir()
    Path(engine.location, "cache.db").symlink_to(Path(other.location, "cache.db"))
    with pytest.raises(EngineError, match="no file of ours"):
        engine.get(b"key")
    assert other.get(b"key") == b"row"
