"""``compare_and_set``: the one atomic primitive of every engine."""

from __future__ import annotations

import threading
from typing import ClassVar

from hashstash.engines import ETAG, Engine

from .processes import in_threads
from .samples import make_row, number_row, row_number
from .work import add_by_swaps, delete_among_swaps, put_among_swaps, swap_until_stopped


class SwapTests:
    """A row changes only if the row there is still the one that was seen."""

    rounds: ClassVar[int] = 400
    """How often it is tried to have a swap undo what another writer did."""

    def test_insert_if_absent(self, engine: Engine) -> None:
        first, second = make_row(b"1"), make_row(b"2")
        assert engine.compare_and_set(b"k", None, first) is True
        assert engine.compare_and_set(b"k", None, second) is False
        assert engine.get(b"k") == first

    def test_replace_what_was_seen(self, engine: Engine) -> None:
        first, second = make_row(b"1"), make_row(b"2")
        engine.put(b"k", first)
        assert engine.compare_and_set(b"k", first[ETAG], second) is True
        assert engine.get(b"k") == second
        assert engine.compare_and_set(b"k", first[ETAG], make_row(b"3")) is False
        assert engine.get(b"k") == second

    def test_nothing_there_to_replace(self, engine: Engine) -> None:
        row = make_row(b"1")
        assert engine.compare_and_set(b"k", row[ETAG], row) is False
        assert engine.compare_and_set(b"k", row[ETAG], None) is False
        assert engine.get(b"k") is None
        assert engine.count() == 0

    def test_remove_what_was_seen(self, engine: Engine) -> None:
        first, second = make_row(b"1"), make_row(b"2")
        engine.put(b"k", second)
        assert engine.compare_and_set(b"k", first[ETAG], None) is False
        assert engine.get(b"k") == second
        assert engine.compare_and_set(b"k", second[ETAG], None) is True
        assert engine.get(b"k") is None
        assert engine.compare_and_set(b"k", second[ETAG], None) is False

    def test_absent_and_to_stay_so(self, engine: Engine) -> None:
        assert engine.compare_and_set(b"k", None, None) is True
        engine.put(b"k", make_row())
        assert engine.compare_and_set(b"k", None, None) is False
        assert engine.contains(b"k")

    def test_empty_row_is_not_absent(self, engine: Engine) -> None:
        engine.put(b"k", b"")
        assert engine.compare_and_set(b"k", None, make_row()) is False
        assert engine.get(b"k") == b""

    def test_same_payload_again_is_another_row(self, engine: Engine) -> None:
        seen = make_row(b"a")
        engine.put(b"k", seen)
        engine.put(b"k", make_row(b"b"))
        engine.put(b"k", make_row(b"a"))
        assert engine.compare_and_set(b"k", seen[ETAG], make_row(b"c")) is False

    def test_other_keys_are_left_alone(self, engine: Engine) -> None:
        row = make_row(b"1")
        engine.put(b"k", row)
        engine.put(b"k2", row)
        assert engine.compare_and_set(b"k", row[ETAG], None) is True
        assert engine.get(b"k2") == row

    def test_large_row(self, engine: Engine) -> None:
        size = min(1_000_000, engine.max_row_bytes or 1_000_000) - 32
        first, second = make_row(b"1" * size), make_row(b"2" * size)
        assert engine.compare_and_set(b"k", None, first) is True
        assert engine.compare_and_set(b"k", first[ETAG], second) is True
        assert engine.get(b"k") == second

    def test_one_thread_inserts(self, engine: Engine) -> None:
        start = threading.Barrier(8)

        def insert(number: int) -> list[bool]:
            row = number_row(number)
            won = []
            for round_ in range(10):
                start.wait(60)
                won.append(engine.compare_and_set(b"k%d" % round_, None, row))
            return won

        outcomes = in_threads(insert, [(n,) for n in range(8)])
        for round_, winners in enumerate(zip(*outcomes, strict=True)):
            assert sum(winners) == 1
            assert row_number(engine.get(b"k%d" % round_)) == winners.index(True)

    def test_threads_count_exactly(self, engine: Engine) -> None:
        in_threads(add_by_swaps, [(engine, b"k", 25)] * 8)
        assert row_number(engine.get(b"k")) == 200

    def test_a_put_is_never_lost_to_a_swap(self, engine: Engine) -> None:
        in_threads(
            lambda work: work(engine, self.rounds), [(swap_until_stopped,), (put_among_swaps,)]
        )

    def test_a_delete_is_never_undone_by_a_swap(self, engine: Engine) -> None:
        in_threads(
            lambda work: work(engine, self.rounds), [(swap_until_stopped,), (delete_among_swaps,)]
        )
