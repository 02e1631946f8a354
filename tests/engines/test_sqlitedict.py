"""The sqlitedict engine: the contract, what is planted in its file, and the library's own view."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlitedict import SqliteDict

from hashstash.engines import Place
from hashstash.engines.sqlitedict import SqlitedictEngine
from hashstash.errors import CorruptRowError, EngineError
from hashstash.testing.engine import EngineContract
from hashstash.testing.processes import in_threads
from hashstash.testing.samples import sealed_row


class TestSqlitedictEngine(EngineContract):
    engine_name = "sqlitedict"

    def leftovers(self, engine: Any) -> list[str]:
        assert engine.count() >= 0
        engine.close()
        return sorted({*os.listdir(engine.place.folder)} - {"data.db"})


@pytest.fixture
def engine(tmp_path: Path) -> SqlitedictEngine:
    return SqlitedictEngine(Place(str(tmp_path / "stash"), "stash"))


def plant(engine: SqlitedictEngine, statement: str, *parameters: object) -> None:
    """Do to a closed file what somebody else could do."""
    engine.close()
    connection = sqlite3.connect(engine.location)
    connection.execute(statement, parameters)
    connection.commit()
    connection.close()


INSERT = "INSERT INTO entries (key, value) VALUES (?, ?)"


def test_what_is_planted_runs_nowhere(engine: SqlitedictEngine, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(ran)
    engine.put(b"good", b"row")
    plant(engine, INSERT, b"key".hex(), bomb)
    plant(engine, INSERT, "not hexadecimal", bomb)
    plant(engine, INSERT, "ABCD", bomb)
    plant(engine, INSERT, "abc", bomb)
    plant(engine, INSERT, "", bomb)
    plant(engine, INSERT, None, bomb)
    plant(engine, INSERT, b"abcd", bomb)
    assert engine.get(b"key") == bomb  # a row that fails its checksum higher up
    assert list(engine.keys()) == [b"good", b"key"]
    assert dict(engine.items()) == {b"good": b"row", b"key": bomb}
    assert engine.count() == 2
    assert engine.get(b"\xab\xcd") is None
    assert not ran.exists()
    pickle.loads(bomb)
    assert ran.exists()


@pytest.mark.parametrize("value", ["text", 1, 1.5, None], ids=repr)
def test_rows_that_are_no_bytes(engine: SqlitedictEngine, value: object) -> None:
    engine.put(b"good", b"row")
    plant(engine, INSERT, b"key".hex(), value)
    with pytest.raises(CorruptRowError, match="no row of HashStash") as caught:
        engine.get(b"key")
    assert engine.location in str(caught.value)
    engine.put(b"key", b"mine")
    assert engine.get(b"key") == b"mine"


def test_a_view_in_the_place_of_the_table(engine: SqlitedictEngine) -> None:
    engine.put(b"key", b"row")
    plant(engine, "ALTER TABLE entries RENAME TO theirs")
    plant(engine, "CREATE VIEW entries AS SELECT key, value FROM theirs")
    assert engine.get(b"key") is None
    with pytest.raises(EngineError, match="view"):
        engine.put(b"key", b"mine")


def test_the_library_opens_the_file(engine: SqlitedictEngine) -> None:
    row = sealed_row(b"key")
    engine.put(b"key", row)
    engine.sibling("versions").put(b"v", b"1")
    theirs = SqliteDict(engine.location, tablename="entries", autocommit=True, encode=bytes,
                        decode=bytes, journal_mode="WAL")  # fmt: skip
    assert dict(theirs) == {b"key".hex(): row}
    theirs[b"theirs".hex()] = b"row of theirs"
    assert engine.get(b"theirs") == b"row of theirs"
    engine.put(b"key", b"other row")
    assert theirs[b"key".hex()] == b"other row"
    assert sorted(SqliteDict.get_tablenames(engine.location)) == ["entries", "versions"]
    theirs.close()


def test_a_table_that_the_library_made(engine: SqlitedictEngine) -> None:
    Path(engine.place.folder).mkdir()
    theirs = SqliteDict(engine.location, tablename="entries", autocommit=True, encode=bytes)
    theirs[b"key".hex()] = b"row"
    theirs.close()
    assert dict(engine.items()) == {b"key": b"row"}
    engine.put(b"other", b"row")
    assert engine.count() == 2


def test_reading_writes_nothing(engine: SqlitedictEngine) -> None:
    assert engine.get(b"key") is None
    assert engine.delete(b"key") is False
    assert engine.compare_and_set(b"key", b"e" * 16, b"row") is False
    assert list(engine.items()) == []
    engine.clear()
    engine.close()
    assert not Path(engine.place.folder).exists()
    engine.put(b"key", b"row")
    engine.close()
    before = Path(engine.location).read_bytes()
    assert engine.get(b"key") == b"row"
    assert engine.sibling("versions").get(b"key") is None
    engine.close()
    assert Path(engine.location).read_bytes() == before


def test_only_the_owner_may_read(engine: SqlitedictEngine) -> None:
    engine.put(b"key", b"row")
    folder = Path(engine.location).parent
    for path in [folder, *folder.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o77 == 0, path


def test_closing_inside_a_transaction_waits_for_its_end(engine: SqlitedictEngine) -> None:
    versions = engine.sibling("versions")
    with engine.transaction():
        engine.put(b"key", b"row")
        engine.close()
        versions.put(b"v", b"1")
        versions.close()
        assert engine.get(b"key") == b"row"
    assert engine.get(b"key") == b"row"
    assert versions.get(b"v") == b"1"


def test_threads_close_while_others_write_in_transactions(engine: SqlitedictEngine) -> None:
    versions = engine.sibling("versions")

    def write(number: int) -> None:
        for step in range(30):
            with engine.transaction():
                engine.put(b"%d %d" % (number, step), b"row")
                versions.put(b"%d %d" % (number, step), b"row")

    def close() -> None:
        for _ in range(60):
            engine.close()
            versions.close()

    in_threads(lambda work, *given: work(*given), [(write, 1), (write, 2), (close,), (close,)])
    assert engine.count() == versions.count() == 60


def test_a_transaction_that_sqlite_ended_takes_no_more(engine: SqlitedictEngine) -> None:
    engine.put(b"old", b"row")
    with pytest.raises(EngineError, match="has undone"), engine.transaction():
        engine.put(b"key", b"row")
        engine._store.connection.rollback()  # type: ignore[union-attr] # as a full disk does
        with pytest.raises(EngineError, match="undone the transaction"):
            engine.put(b"later", b"row")
    assert list(engine.keys()) == [b"old"]
    engine.put(b"new", b"row")
    assert engine.count() == 2
