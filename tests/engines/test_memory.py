"""The memory engine: the contract, and what is particular to rows that live in a process."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from hashstash.engines import Engine, Place, memory
from hashstash.engines.memory import MemoryEngine
from hashstash.testing.engine import EngineContract
from hashstash.testing.processes import METHODS, Child, in_threads

needs_fork = pytest.mark.skipif("fork" not in METHODS, reason="this system does not fork")


class TestMemoryEngine(EngineContract):
    engine_name = "memory"


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return Place("/nowhere/" + request.node.name, request.node.name)


@pytest.fixture
def engine(place: Place) -> Iterator[MemoryEngine]:
    engine = MemoryEngine(place)
    yield engine
    engine.destroy()


def test_location_is_a_url(engine: MemoryEngine) -> None:
    assert engine.location == "memory://test_location_is_a_url"


def test_rows_stay_when_no_engine_is_left(engine: MemoryEngine, place: Place) -> None:
    MemoryEngine(place).put(b"key", b"row")
    gc.collect()
    assert MemoryEngine(place).get(b"key") == b"row"


def test_destroy_frees_the_rows(place: Place) -> None:
    engine = MemoryEngine(place)
    engine.put(b"key", b"row")
    engine.sibling("versions").put(b"key", b"row")
    assert (place.folder, place.name) in memory._STORES
    engine.destroy()
    assert (place.folder, place.name) not in memory._STORES


def test_engines_of_a_destroyed_store_share_the_next_one(
    engine: MemoryEngine, place: Place
) -> None:
    others = [MemoryEngine(place) for _ in range(3)]
    for other in others:
        other.put(b"key", b"row")
    engine.destroy()
    others[0].put(b"key", b"new")
    assert [other.get(b"key") for other in [*others, engine]] == [b"new"] * 4


def test_the_same_name_in_another_folder(engine: MemoryEngine, place: Place) -> None:
    other = MemoryEngine(Place(place.folder + "/other", place.name))
    other.put(b"key", b"row")
    assert engine.get(b"key") is None
    other.destroy()


def test_reading_waits_for_a_transaction(engine: MemoryEngine) -> None:
    inside, seen = threading.Event(), []

    def change() -> None:
        with engine.transaction():
            engine.put(b"a", b"1")
            inside.set()
            reader.join(0.05)
            assert reader.is_alive()
            engine.put(b"b", b"2")

    def read() -> None:
        inside.wait(60)
        seen.append((engine.count(), dict(engine.items())))

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(change, [()])
    reader.join(60)
    assert seen == [(2, {b"a": b"1", b"b": b"2"})]


def look(engine: Engine) -> tuple[dict[bytes, bytes], bool]:
    """Return what a child finds, and whether it may change it."""
    found = dict(engine.items())
    with engine.transaction():
        engine.put(b"child", b"row")
    return found, engine.delete(b"child")


@needs_fork
def test_a_fork_in_the_middle_of_another_threads_transaction(engine: MemoryEngine) -> None:
    engine.put_many([(b"a", b"1"), (b"b", b"2")])
    inside, go_on = threading.Event(), threading.Event()

    def change() -> None:
        with engine.transaction():
            engine.put(b"a", b"changed")
            engine.delete(b"b")
            engine.sibling("versions").put(b"c", b"new")
            inside.set()
            assert go_on.wait(60)

    def fork() -> None:
        assert inside.wait(60)
        try:
            assert Child("fork", look, engine).result() == ({b"a": b"1", b"b": b"2"}, True)
            assert Child("fork", look, engine.sibling("versions")).result() == ({}, True)
        finally:
            go_on.set()

    in_threads(lambda work: work(), [(change,), (fork,)])
    assert dict(engine.items()) == {b"a": b"changed"}


@needs_fork
def test_a_fork_within_ones_own_transaction(engine: MemoryEngine) -> None:
    with pytest.raises(ZeroDivisionError), engine.transaction():
        engine.put(b"a", b"mine")
        assert Child("fork", look, engine).result() == ({b"a": b"mine"}, True)
        raise ZeroDivisionError
    assert engine.count() == 0
