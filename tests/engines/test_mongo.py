"""The mongo engine on a real server."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pymongo
import pytest
from bson import Binary, ObjectId
from pymongo.monitoring import CommandListener, CommandStartedEvent
from servers.leaving import leave
from servers.names import HOSTILE_NAMES

from hashstash import HashStash
from hashstash.engines import ETAG, Engine, Place
from hashstash.engines.mongo import PIECES, MongoEngine
from hashstash.engines.mongo_pieces import ORPHAN_SECONDS, PIECE_BYTES
from hashstash.errors import ConfigurationError, CorruptRowError, SerializationError
from hashstash.testing.engine import EngineContract
from hashstash.testing.processes import in_threads
from hashstash.testing.samples import make_row

MIB = 1 << 20


class TestMongoEngine(EngineContract):
    engine_name = "mongo"
    rounds = 150
    kills = 6

    @pytest.fixture(autouse=True)
    def server(self, mongo_url: str) -> None:
        type(self).options = {"url": mongo_url}


@pytest.fixture
def raw(mongo_url: str) -> Iterator[Any]:
    """The database, by the client alone."""
    with pymongo.MongoClient[dict[str, Any]](mongo_url) as client:
        yield client["hashstash"]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return Place("/nowhere", f"own tests/{request.node.name}")


@pytest.fixture
def engine(mongo_url: str, place: Place) -> Iterator[MongoEngine]:
    made = MongoEngine(place, url=mongo_url)
    yield made
    made.destroy()


def rows_of(raw: Any, engine: Engine) -> Any:
    return raw[engine._table]  # type: ignore[attr-defined]


def pieces_of(raw: Any, engine: Engine) -> Any:
    return raw[engine._table + PIECES]  # type: ignore[attr-defined]


# -- documents ------------------------------------------------------------------------------


def test_documents_are_as_documented(engine: MongoEngine, raw: Any) -> None:
    row = make_row(b"payload")
    engine.put(b"key", row)
    engine.put_many([(b"other", row)])
    assert engine.compare_and_set(b"third", None, row)
    expected = [{"_id": key, "e": row[ETAG], "r": row} for key in (b"key", b"other", b"third")]
    assert list(rows_of(raw, engine).find().sort("_id", 1)) == expected


def test_each_operation_is_one_command(
    mongo_url: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Any] = []

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            commands.append(event.command)

        def succeeded(self, event: object) -> None:
            """Say nothing."""

        failed = succeeded

    monkeypatch.setattr(
        pymongo, "MongoClient", partial(pymongo.MongoClient, event_listeners=[Listener()])
    )
    durable = Place(place.folder, place.name, durability="system")
    engine = MongoEngine(durable, url=mongo_url, timeout=6)
    first, second = make_row(b"1"), make_row(b"2")
    operations: list[tuple[Any, list[str]]] = [
        (lambda: engine.put(b"k", first), ["findAndModify"]),
        (lambda: engine.get(b"k"), ["find"]),
        (lambda: engine.contains(b"k"), ["find"]),
        (lambda: engine.compare_and_set(b"k", first[ETAG], second), ["findAndModify"]),
        (lambda: engine.compare_and_set(b"k", None, first), ["insert"]),
        (lambda: engine.compare_and_set(b"k", second[ETAG], None), ["findAndModify"]),
        (lambda: engine.delete(b"k"), ["findAndModify"]),
        (lambda: engine.put_many([(b"%d" % n, first) for n in range(500)]), ["find", "update"]),
        (lambda: engine.delete_many([b"1", b"2"]), ["find", "delete"]),
        (lambda: list(engine.get_many([b"3", b"4"])), ["find"]),
        (engine.count, ["aggregate"]),
    ]
    for operation, expected in operations:
        commands.clear()
        operation()
        assert [next(iter(command)) for command in commands] == expected
        for command in commands:
            if next(iter(command)) in {"findAndModify", "insert", "update", "delete"}:
                assert command["writeConcern"] == {"w": "majority", "j": True}
    engine.destroy()


def test_planted_documents(engine: MongoEngine, raw: Any) -> None:
    """What others put into our collections is passed over, or is a row that is no row."""
    engine.put(b"ours", make_row())
    rows = rows_of(raw, engine)
    rows.insert_many([{"_id": "text"}, {"_id": 7}, {"_id": ObjectId()}, {"_id": {"$a": 1}}])
    rows.insert_one({"_id": Binary(b"0" * 16, 4), "e": b"", "r": b"a UUID"})
    assert list(engine.keys()) == [b"ours"]
    assert [key for key, _ in engine.items()] == [b"ours"]
    assert engine.count() == 1
    engine.clear()
    assert rows.count_documents({}) == 5
    planted: list[dict[str, Any]] = [
        {},
        {"r": "text", "e": 5},
        {"r": None},
        {"c": "text"},
        {"c": b"", "n": 1, "s": 10},
        {"c": os.urandom(16), "n": 10**12, "s": 10**12},
        {"c": os.urandom(16), "n": "many", "s": []},
        {"c": {"$x": 1}, "n": 2, "s": 0},
    ]
    for document in planted:
        rows.replace_one({"_id": b"bad"}, document, upsert=True)
        assert engine.get(b"bad") == b""
        assert dict(engine.get_many([b"bad"])) == {b"bad": b""}
        assert dict(engine.items())[b"bad"] == b""
        assert engine.compare_and_set(b"bad", None, make_row()) is False
        assert engine.sweep() == 0
        engine.put(b"bad", b"")
        rows.replace_one({"_id": b"bad"}, document)
        assert engine.delete(b"bad") is True


def test_planted_rows_are_refused(mongo_url: str, place: Place, raw: Any) -> None:
    stash = HashStash("mongo tests", place.name, engine="mongo", url=mongo_url)
    stash["k"] = "mine"
    (name,) = [n for n in raw.list_collection_names() if "planted_rows_are" in n]
    for row in (b"", b"HS", b"cos\nsystem\n(S'true'\ntR.", os.urandom(200)):
        raw[name].update_one({}, {"$set": {"r": row}})
        with pytest.raises(CorruptRowError):
            stash["k"]
    stash.clear()


# -- names ----------------------------------------------------------------------------------


def test_names_are_never_two_for_one() -> None:
    tables = ["entries", "versions", "a.b", "system.x", "pieces", "é" * 99, "x" * 24, "x" * 25]
    engines = [MongoEngine(Place("", name, table)) for name in HOSTILE_NAMES for table in tables]
    names = [engine._table for engine in engines]
    assert len(set(names)) == len(names)
    assert len({engine._prefix for engine in engines}) == len(HOSTILE_NAMES)
    for engine in engines:
        assert engine._table.startswith(engine._prefix)
        name = f"hashstash.{engine._table}{PIECES}"
        assert len(name.encode()) <= 120
        assert name.isascii()
        assert name.isprintable()
        assert "$" not in name
        assert ".system." not in name


@pytest.mark.parametrize("name", ["a*", "a.b", "a$b", "$a", "a\0b", "été/λ", "system.x", "x" * 300])
def test_hostile_names_beside_foreign_documents(mongo_url: str, raw: Any, name: str) -> None:
    foreign = ["a", "hs", "hs.a", "hs.aa:entries", "hs.a:b:c", "foreign:pieces"]
    for collection in foreign:
        raw[collection].replace_one({"_id": b"k"}, {"e": b"", "r": b"foreign"}, upsert=True)
    before = set(raw.list_collection_names())
    engines = [MongoEngine(Place("", n), url=mongo_url) for n in (name, f"{name}2", f"{name}/b")]
    for number, engine in enumerate(engines):
        engine.put(b"k", b"%d" % number)
        engine.sibling("versions").put(b"v", b"row")
    assert [dict(engine.items()) for engine in engines] == [{b"k": b"%d" % n} for n in range(3)]
    assert [engine.count() for engine in engines] == [1, 1, 1]
    engines[0].clear()
    assert engines[0].sibling("versions").count() == 1
    engines[0].destroy()
    assert [engine.count() for engine in engines] == [0, 1, 1]
    for engine in engines[1:]:
        engine.destroy()
    assert set(raw.list_collection_names()) == before
    for collection in foreign:
        assert raw[collection].find_one() == {"_id": b"k", "e": b"", "r": b"foreign"}


# -- large rows -----------------------------------------------------------------------------


def test_rows_in_pieces(engine: MongoEngine, raw: Any) -> None:
    small, large, larger = (make_row(os.urandom(n * MIB)) for n in (1, 15, 17))
    pieces = pieces_of(raw, engine)
    for before, after in [(small, large), (large, larger), (larger, small), (small, larger)]:
        engine.put(b"k", before)
        engine.put(b"k", after)
        assert engine.get(b"k") == after
        assert engine.compare_and_set(b"k", before[ETAG], make_row()) is False
        assert engine.compare_and_set(b"k", after[ETAG], before) is True
        assert engine.get(b"k") == before
        assert engine.compare_and_set(b"k", None, after) is False
        assert engine.compare_and_set(b"k", before[ETAG], None) is True
        assert pieces.count_documents({}) == 0
        assert engine.compare_and_set(b"k", None, after) is True
        assert pieces.count_documents({}) == (
            0 if after is small else -(-len(after) // PIECE_BYTES)
        )
        assert engine.delete(b"k") is True
        assert pieces.count_documents({}) == 0


def test_many_rows_in_pieces(engine: MongoEngine, raw: Any) -> None:
    rows = {b"k%d" % n: make_row(os.urandom((1 + 16 * (n % 2)) * MIB)) for n in range(4)}
    engine.put_many([(b"k1", make_row()), *rows.items()])
    assert dict(engine.items()) == rows
    assert list(engine.get_many(rows)) == list(rows.items())
    assert engine.count() == 4
    assert engine.size_bytes() > 36 * MIB
    engine.put_many([(b"k1", make_row()), (b"k0", make_row())])
    assert len(engine._pieces(rows_of(raw, engine)).named_by(list(rows))) == 1
    assert engine.delete_many(rows) == 4
    engine.put_many(rows.items())
    engine.clear()
    assert engine.count() == 0
    assert pieces_of(raw, engine).count_documents({}) == 0


def test_readers_of_pieces_race_with_writers(engine: MongoEngine) -> None:
    def large() -> bytes:
        etag = os.urandom(16)
        return make_row(etag * (MIB + 1), etag)

    engine.put(b"k", large())
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(6):
                engine.put(
                    b"k", make_row(b"", bytes([number]) * 16) if number % 3 == 2 else large()
                )
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            row = engine.get(b"k")
            assert row is not None
            assert row[ETAG.stop :] in {b"", row[ETAG] * (MIB + 1)}

    in_threads(lambda work: work(), [(write,), (read,), (read,)])


def test_sweep(engine: MongoEngine, raw: Any) -> None:
    versions = engine.sibling("versions")
    large = make_row(os.urandom(16 * MIB))
    for table in (engine, versions):
        table.put(b"named", large)
        pieces = pieces_of(raw, table)
        long_ago = pieces.find_one()["t"] - timedelta(seconds=2 * ORPHAN_SECONDS)
        pieces.update_many({}, {"$set": {"t": long_ago}})
        copies = list(pieces.find().limit(3))
        pieces.insert_many({**p, "_id": b"orphan".ljust(16) + p["_id"][16:]} for p in copies)
        soon = {"t": long_ago + timedelta(seconds=1.5 * ORPHAN_SECONDS)}
        pieces.insert_many({**p, **soon, "_id": b"young".ljust(16) + p["_id"][16:]} for p in copies)
    assert engine.sweep() == 2
    assert engine.sweep() == 0
    for table in (engine, versions):
        assert table.get(b"named") == large
        left = {piece["_id"][:6] for piece in pieces_of(raw, table).find({}, {"_id": 1})}
        assert b"young " in left
        assert b"orphan" not in left
        assert len(left) == 2


# -- options --------------------------------------------------------------------------------


def test_databases(mongo_url: str, place: Place) -> None:
    engines = [
        MongoEngine(place, url=mongo_url),
        MongoEngine(place, url=f"{mongo_url}/in_the_url"),
        MongoEngine(place, url=f"{mongo_url}/in_the_url?appname=x", database="given"),
    ]
    assert [engine.database for engine in engines] == ["hashstash", "in_the_url", "given"]
    for number, engine in enumerate(engines):
        engine.put(b"k", b"%d" % number)
    for number, engine in enumerate(engines):
        assert engine.sibling("entries").get(b"k") == b"%d" % number
        engine.destroy()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"database": "a.b"}, "database"),
        ({"database": "a/b"}, "database"),
        ({"database": "a$b"}, "database"),
        ({"database": "x" * 64}, "database"),
        ({"url": "mongodb://u:hunter2@h/a b"}, "database"),
        ({"url": "mongodb://u:hunter2@h/#x"}, "#"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        MongoEngine(Place("", "a"), **options)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("rest", ["h:99999", "h/?tlsInsecure=true&tlsAllowInvalidHostnames=true"])
def test_urls_that_the_client_refuses_show_no_password(rest: str) -> None:
    engine = MongoEngine(Place("", "a"), url=f"mongodb://u:hunter2@{rest}")
    with pytest.raises(ConfigurationError) as caught:
        engine.get(b"k")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


# -- a stash --------------------------------------------------------------------------------


def test_a_stash(mongo_url: str, place: Place) -> None:
    with HashStash("mongo tests", place.name, engine="mongo", url=mongo_url).tmp() as stash:
        stash[{"a", "set"}] = {"x": [1, 2.5, None]}
        assert stash[{"a", "set"}] == {"x": [1, 2.5, None]}
        assert stash.pop({"a", "set"}) == {"x": [1, 2.5, None]}
        assert stash.setdefault("k", 1) == 1
        stash.update({n: n * n for n in range(2000)})
        assert len(stash) == 2001
        assert pickle.loads(pickle.dumps(stash))[7] == 49
        with pytest.raises(SerializationError, match="safe=True"):
            stash["code"] = lambda: 1


def test_versions(mongo_url: str, place: Place) -> None:
    stash = HashStash("mongo tests", place.name, engine="mongo", url=mongo_url, append_mode=True)
    with stash.tmp() as versioned:
        for number in range(4):
            versioned["k"] = number
        assert versioned.get_all("k") == [0, 1, 2, 3]
        del versioned["k"]
        assert versioned.get_all("k") is None


def test_a_temporary_stash_goes_with_its_process(mongo_url: str, raw: Any) -> None:
    name = leave("mongo", mongo_url)
    assert not any(name in collection for collection in raw.list_collection_names())


def test_a_pickle_has_no_password(mongo_url: str) -> None:
    stash = HashStash("a", engine="mongo", url="mongodb://u:hunter2@127.0.0.1:1/x", timeout=0.1)
    with pytest.raises(Exception, match="no answer") as caught:
        len(stash)
    shown = [repr(stash), str(stash.path), str(stash.to_dict()), str(caught.value)]
    assert not any("hunter2" in text for text in shown)
    assert b"hunter2" not in pickle.dumps(stash)
