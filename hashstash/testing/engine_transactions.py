"""``transaction()``: all or nothing where the engine says so, harmless elsewhere."""

from __future__ import annotations

import pytest

from hashstash.engines import ETAG, Engine

from .processes import in_threads
from .samples import make_row, number_row, row_number
from .work import EngineSpec, add_by_swaps


class _StopError(Exception):
    """Raised by tests inside a transaction."""


class TransactionTests:
    """Groups of writes, siblings included."""

    def test_writes_inside(self, engine: Engine) -> None:
        versions = engine.sibling("versions")
        row = make_row()
        with engine.transaction():
            engine.put(b"a", row)
            assert engine.get(b"a") == row
            assert engine.contains(b"a")
            with versions.transaction():
                versions.put(b"v", b"2")
                assert versions.get(b"v") == b"2"
            assert engine.compare_and_set(b"a", row[ETAG], None) is True
            assert engine.compare_and_set(b"b", None, b"3") is True
            assert sorted(engine.keys()) == [b"b"]
            assert list(engine.items()) == [(b"b", b"3")]
            assert engine.count() == 1
        assert list(engine.items()) == [(b"b", b"3")]
        assert versions.get(b"v") == b"2"

    def test_empty(self, engine: Engine) -> None:
        with engine.transaction():
            pass
        with engine.transaction(), engine.transaction():
            assert engine.get(b"k") is None

    def test_raising_leaves_the_engine_usable(self, engine: Engine) -> None:
        with pytest.raises(_StopError), engine.transaction():
            engine.put(b"k", b"row")
            raise _StopError
        engine.put(b"l", b"row")
        assert engine.get(b"l") == b"row"
        with engine.transaction():
            engine.put(b"m", b"row")
        assert engine.get(b"m") == b"row"

    def test_all_or_nothing(self, engine: Engine) -> None:
        self._needs_transactions(engine)
        versions = engine.sibling("versions")
        engine.put_many([(b"a", b"1"), (b"b", b"2")])
        versions.put(b"v", b"3")
        with pytest.raises(_StopError), engine.transaction():
            engine.put(b"a", b"changed")
            engine.delete(b"b")
            engine.put(b"c", b"new")
            versions.clear()
            versions.put(b"w", b"new")
            engine.put_many([(b"d", b"new"), (b"a", b"changed again")])
            raise _StopError
        assert dict(engine.items()) == {b"a": b"1", b"b": b"2"}
        assert dict(versions.items()) == {b"v": b"3"}
        assert engine.count() == 2

    def test_an_outer_block_takes_back_an_inner_one(self, engine: Engine) -> None:
        self._needs_transactions(engine)
        with pytest.raises(_StopError), engine.transaction():
            with engine.transaction():
                engine.put(b"k", b"row")
            raise _StopError
        assert engine.get(b"k") is None

    def test_an_inner_block_fails_alone(self, engine: Engine) -> None:
        self._needs_transactions(engine)
        with engine.transaction():
            engine.put(b"outer", b"1")
            with pytest.raises(_StopError), engine.transaction():
                engine.put(b"outer", b"changed")
                engine.put(b"inner", b"2")
                raise _StopError
            assert engine.get(b"outer") == b"1"
            engine.put(b"after", b"3")
        assert dict(engine.items()) == {b"outer": b"1", b"after": b"3"}

    def test_bulk_writes_are_all_or_nothing(self, engine: Engine) -> None:
        self._needs_transactions(engine)

        def rows() -> object:
            yield b"a", b"1"
            yield b"b", b"2"
            raise _StopError

        with pytest.raises(_StopError):
            engine.put_many(rows())  # type: ignore[arg-type]
        assert engine.count() == 0

    def test_nobody_sees_what_is_taken_back(self, engine: Engine, spec: EngineSpec) -> None:
        self._needs_transactions(engine)
        engine.put(b"k", b"good")

        def write() -> None:
            for _ in range(50):
                with pytest.raises(_StopError), engine.transaction():
                    engine.put(b"k", b"bad")
                    engine.put(b"l", b"bad")
                    raise _StopError

        def read() -> None:
            other = spec.build()
            for _ in range(200):
                assert other.get(b"k") == b"good"
                assert other.get(b"l") is None
            other.close()

        in_threads(lambda work: work(), [(write,), (read,), (read,)])

    def test_threads_change_two_rows_together(self, engine: Engine) -> None:
        self._needs_transactions(engine)
        versions = engine.sibling("versions")

        def add() -> None:
            for _ in range(25):
                with engine.transaction():
                    engine.put(b"k", number_row(row_number(engine.get(b"k")) + 1))
                    versions.put(b"k", number_row(row_number(versions.get(b"k")) + 1))

        in_threads(add, [()] * 4)
        assert row_number(engine.get(b"k")) == 100
        assert row_number(versions.get(b"k")) == 100

    def test_transactions_of_threads_do_not_mix(self, engine: Engine) -> None:
        self._needs_transactions(engine)

        def grouped() -> None:
            for _ in range(20):
                with pytest.raises(_StopError), engine.transaction():
                    engine.put(b"grouped", b"bad")
                    raise _StopError

        in_threads(
            lambda work, *given: work(*given),
            [(grouped,), (add_by_swaps, engine, b"k", 50), (add_by_swaps, engine, b"k", 50)],
        )
        assert row_number(engine.get(b"k")) == 100
        assert engine.get(b"grouped") is None

    @staticmethod
    def _needs_transactions(engine: Engine) -> None:
        if not engine.transactions:
            pytest.skip(f"each write of the {engine.name} engine stands alone")
