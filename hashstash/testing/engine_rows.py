"""What every engine does with single keys and rows."""

from __future__ import annotations

import itertools
import os

import pytest

from hashstash.engines import ETAG, Engine

from .samples import hostile_keys, keys_of_every_length, make_row
from .work import EngineSpec


class RowTests:
    """Get, put, delete and their bulk forms, in one thread."""

    def test_nothing_there(self, engine: Engine) -> None:
        assert engine.get(b"k") is None
        assert not engine.contains(b"k")
        assert engine.delete(b"k") is False
        assert engine.count() == 0
        assert list(engine.keys()) == []
        assert list(engine.items()) == []
        assert list(engine.get_many([b"a", b"b"])) == [(b"a", None), (b"b", None)]
        assert engine.delete_many([b"a", b"b"]) == 0
        assert engine.size_bytes() >= 0
        engine.clear()
        engine.sweep()

    def test_put_and_get(self, engine: Engine) -> None:
        row = make_row(b"hello")
        engine.put(b"k", row)
        found = engine.get(b"k")
        assert found == row
        assert type(found) is bytes
        assert engine.contains(b"k")

    def test_empty_row_is_not_missing(self, engine: Engine) -> None:
        engine.put(b"k", b"")
        assert engine.get(b"k") == b""
        assert engine.contains(b"k")
        assert list(engine.get_many([b"k", b"l"])) == [(b"k", b""), (b"l", None)]
        assert list(engine.items()) == [(b"k", b"")]
        assert engine.count() == 1
        assert engine.delete(b"k") is True

    @pytest.mark.parametrize(
        "row",
        [
            pytest.param(b"\0", id="nul"),
            pytest.param(b"a\0b\0", id="nuls"),
            pytest.param(b"\n", id="newline"),
            pytest.param(b"line\nline\r\nline\r", id="line ends"),
            pytest.param(b"\x1a", id="end of file"),
            pytest.param(b"\xff\xfe", id="not text"),
            pytest.param(bytes(range(256)) * 5, id="every byte"),
            pytest.param(b"None", id="None"),
            pytest.param(b" ", id="blank"),
        ],
    )
    def test_rows_come_back_byte_for_byte(self, engine: Engine, row: bytes) -> None:
        engine.put(b"k", row)
        assert engine.get(b"k") == row
        assert list(engine.items()) == [(b"k", row)]

    def test_large_row(self, engine: Engine) -> None:
        size = 8 * 1024 * 1024 + 1
        row = os.urandom(min(size, engine.max_row_bytes or size))
        engine.put(b"large", row)
        engine.put(b"small", b"s")
        assert engine.get(b"large") == row
        assert dict(engine.items()) == {b"large": row, b"small": b"s"}

    def test_rows_around_buffer_sizes(self, engine: Engine) -> None:
        sizes = [n + d for n in (4096, 8192, 65536, 1 << 20) for d in (-33, -1, 0, 1)]
        for size in sizes:
            engine.put(b"%d" % size, b"x" * size)
        for size in sizes:
            assert engine.get(b"%d" % size) == b"x" * size

    def test_put_replaces(self, engine: Engine) -> None:
        for row in (b"long" * 5000, b"short", b"", b"longer" * 9000, b"end"):
            engine.put(b"k", row)
            assert engine.get(b"k") == row
        assert engine.count() == 1
        assert list(engine.keys()) == [b"k"]

    def test_get_if_changed(self, engine: Engine, spec: EngineSpec) -> None:
        rows = [make_row(b"small"), make_row(os.urandom(100_000)), make_row(b"last")]
        assert engine.get_if_changed(b"k", rows[0][ETAG]) == (True, None)
        for seen, there in itertools.pairwise(rows):
            engine.put(b"k", seen)
            assert engine.get_if_changed(b"k", seen[ETAG]) == (False, None)
            other = spec.build()  # a client that has never seen the row
            if not other.private:
                assert other.get_if_changed(b"k", seen[ETAG]) == (False, None)
                other.put(b"k", there)
                other.close()
            else:
                engine.put(b"k", there)
            assert engine.get_if_changed(b"k", seen[ETAG]) == (True, there)
            assert engine.get_if_changed(b"k", there[ETAG]) == (False, None)
            assert engine.latest(b"k") == there
        engine.delete(b"k")
        assert engine.get_if_changed(b"k", rows[-1][ETAG]) == (True, None)
        assert engine.latest(b"k") is None

    def test_delete_reports(self, engine: Engine) -> None:
        engine.put(b"k", b"row")
        engine.put(b"other", b"row")
        assert engine.delete(b"k") is True
        assert engine.delete(b"k") is False
        assert engine.get(b"k") is None
        assert engine.get(b"other") == b"row"
        engine.put(b"k", b"again")
        assert engine.get(b"k") == b"again"

    def test_keys_of_every_length(self, engine: Engine) -> None:
        rows = {key: make_row(key) for key in keys_of_every_length()}
        for key, row in rows.items():
            engine.put(key, row)
        assert {key: engine.get(key) for key in rows} == rows
        assert sorted(engine.keys()) == sorted(rows)
        assert all(engine.delete(key) for key in rows)
        assert engine.count() == 0

    def test_hostile_keys_stay_apart(self, engine: Engine) -> None:
        keys = hostile_keys()
        rows = {key: b"row of " + key for key in keys}
        assert len(rows) == len(keys)
        engine.put_many(rows.items())
        assert {key: engine.get(key) for key in rows} == rows
        assert dict(engine.items()) == rows
        assert engine.count() == len(rows)
        gone = keys[::2]
        assert engine.delete_many(gone) == len(gone)
        assert sorted(engine.keys()) == sorted(keys[1::2])
        assert all(engine.get(key) is None for key in gone)

    def test_get_many_keeps_order_and_repeats(self, engine: Engine) -> None:
        engine.put_many([(b"a", b"1"), (b"b", b"2")])
        wanted = [b"b", b"missing", b"a", b"b"]
        found = list(engine.get_many(iter(wanted)))
        assert found == [(b"b", b"2"), (b"missing", None), (b"a", b"1"), (b"b", b"2")]
        assert list(engine.get_many([])) == []

    def test_put_many(self, engine: Engine) -> None:
        engine.put(b"k1", b"old")
        engine.put_many((b"k%d" % n, b"row%d" % n) for n in range(300))
        engine.put_many([])
        engine.put_many([(b"k5", b"first"), (b"k5", b"last")])
        assert engine.count() == 300
        assert engine.get(b"k1") == b"row1"
        assert engine.get(b"k5") == b"last"

    def test_delete_many(self, engine: Engine) -> None:
        engine.put_many([(b"k%d" % n, b"row") for n in range(10)])
        assert engine.delete_many(iter([b"k1", b"missing", b"k2", b"k1"])) == 2
        assert engine.delete_many([]) == 0
        assert engine.count() == 8

    def test_clear(self, engine: Engine) -> None:
        engine.put_many([(b"k%d" % n, b"row") for n in range(1100)])
        engine.clear()
        assert engine.count() == 0
        assert list(engine.keys()) == []
        assert engine.get(b"k1") is None
        engine.put(b"k1", b"again")
        assert list(engine.items()) == [(b"k1", b"again")]

    def test_size_grows_with_the_rows(self, engine: Engine) -> None:
        engine.put(b"first", b"row")
        before = engine.size_bytes()
        engine.put(b"k", os.urandom(1_000_000))
        assert engine.size_bytes() >= before + 900_000

    def test_names(self, engine: Engine) -> None:
        assert engine.name
        assert engine.name == engine.name.lower()
        assert engine.title
        assert engine.location
        assert engine.place.durability in engine.durabilities
