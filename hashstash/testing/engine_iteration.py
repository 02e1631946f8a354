"""Iteration while the store changes under it."""

from __future__ import annotations

import itertools
import threading
from typing import ClassVar

import pytest

from hashstash.engines import Engine

from .processes import METHODS, in_processes, in_threads
from .samples import is_sealed, make_row, sealed_row
from .work import EngineSpec, put_all


class IterationTests:
    """A key that is there throughout comes exactly once; nothing is locked meanwhile."""

    many: ClassVar[int] = 1100
    """More keys than a page holds."""
    count_slack: ClassVar[int] = 2
    """How many of the keys that come and go, two at a time, ``count`` may count."""

    def test_every_key_once(self, engine: Engine) -> None:
        rows = {b"key %d" % n: b"row %d" % n for n in range(2 * self.many)}
        engine.put_many(rows.items())
        assert sorted(engine.keys()) == sorted(rows)
        listed = list(engine.items())
        assert len(listed) == len(rows)
        assert dict(listed) == rows
        assert engine.count() == len(rows)

    def test_is_lazy_and_starts_anew(self, engine: Engine) -> None:
        engine.put_many([(b"a", b"1"), (b"b", b"2")])
        first = engine.keys()
        assert iter(first) is first
        assert len(list(itertools.islice(first, 1))) == 1
        assert sorted(engine.keys()) == [b"a", b"b"]

    def test_changes_under_a_half_consumed_iterator(self, engine: Engine) -> None:
        stay = [b"stay %d" % n for n in range(self.many)]
        leave = [b"leave %d" % n for n in range(self.many // 2)]
        engine.put_many((key, sealed_row(key)) for key in stay + leave)
        keys, items = engine.keys(), engine.items()
        seen = list(itertools.islice(keys, 10))
        rows = list(itertools.islice(items, 10))
        engine.put_many((key, sealed_row(key)) for key in stay)
        engine.delete_many(leave)
        engine.put_many((b"new %d" % n, sealed_row(b"new %d" % n)) for n in range(self.many // 2))
        seen += keys
        rows += items
        assert sorted(key for key in seen if key.startswith(b"stay")) == sorted(stay)
        assert sorted(key for key, _ in rows if key.startswith(b"stay")) == sorted(stay)
        assert len(set(seen)) == len(seen)
        assert all(is_sealed(key, row) for key, row in rows)

    def test_deleting_what_is_yielded(self, engine: Engine) -> None:
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        deleted = [key for key in engine.keys() if engine.delete(key)]
        assert len(deleted) == self.many
        assert engine.count() == 0

    def test_clear_under_a_half_consumed_iterator(self, engine: Engine) -> None:
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        keys, items = engine.keys(), engine.items()
        assert next(keys)
        assert next(items)
        engine.clear()
        assert len(list(keys)) < self.many
        assert len(list(items)) < self.many
        assert engine.count() == 0

    def test_close_under_a_half_consumed_iterator(self, engine: Engine) -> None:
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        keys = engine.keys()
        seen = [next(keys)]
        engine.close()
        seen += keys
        assert sorted(seen) == sorted(b"key %d" % n for n in range(self.many))

    def test_an_abandoned_iterator_holds_nothing(self, engine: Engine) -> None:
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        keys, items = engine.keys(), engine.items()
        assert next(keys)
        assert next(items)
        del keys, items
        engine.clear()
        engine.close()
        assert engine.count() == 0

    def test_other_threads_write_under_a_half_consumed_iterator(self, engine: Engine) -> None:
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        keys, items = engine.keys(), engine.items()
        assert next(keys)
        assert next(items)
        in_threads(put_all, [(engine, {b"key %d" % n: make_row() for n in range(50)})])
        assert len(list(keys)) == self.many - 1
        assert len(list(items)) == self.many - 1

    @pytest.mark.parametrize("method", METHODS)
    def test_other_processes_write_under_a_half_consumed_iterator(
        self, engine: Engine, spec: EngineSpec, method: str
    ) -> None:
        if engine.private:
            pytest.skip("private to this process")
        engine.put_many((b"key %d" % n, b"row") for n in range(self.many))
        keys, items = engine.keys(), engine.items()
        assert next(keys)
        assert next(items)
        in_processes(method, put_all, [(spec, {b"key %d" % n: make_row() for n in range(50)})])
        assert len(list(keys)) == self.many - 1
        assert len(list(items)) == self.many - 1

    def test_no_miss_and_no_repeat_under_constant_overwrites(self, engine: Engine) -> None:
        steady = [b"steady %d" % n for n in range(self.many // 4)]
        engine.put_many((key, sealed_row(key)) for key in steady)
        done = threading.Event()

        def overwrite(part: int) -> None:
            while not done.is_set():
                for key in steady[part::2]:
                    engine.put(key, sealed_row(key))
                    other = b"other " + key
                    engine.put(other, sealed_row(other))
                    engine.delete(other)

        def look() -> None:
            try:
                for _ in range(15):
                    found = [key for key in engine.keys() if not key.startswith(b"other")]
                    assert sorted(found) == sorted(steady)
                    for key, row in engine.items():
                        assert is_sealed(key, row)
                    assert len(steady) <= engine.count() <= len(steady) + self.count_slack
                    assert all(engine.get(key) is not None for key in steady[::10])
            finally:
                done.set()

        in_threads(lambda work, *given: work(*given), [(overwrite, 0), (overwrite, 1), (look,)])
