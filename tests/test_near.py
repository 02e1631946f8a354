"""A near side answers reads of one key, and never with what the far side does not have."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from faults import small_disk
from servers.proxy import Proxy

from hashstash import HashStash
from hashstash.engines import ENGINES, ETAG, Engine, Place
from hashstash.engines.around import EngineAround
from hashstash.engines.memory import MemoryEngine
from hashstash.engines.pairtree import PairtreeEngine
from hashstash.errors import (
    ConfigurationError,
    CorruptRowError,
    EngineUnavailableError,
    MissingDependencyError,
)
from hashstash.near import NearEngine
from hashstash.near_copies import NearCacheWarning
from hashstash.rows import codec_header, seal
from hashstash.testing.engine import EngineContract

KEY = b"Pkey"
BIG = 1 << 20


calls: list[int] = []


def double(x: int) -> int:
    calls.append(x)
    return 2 * x


def triple(x: int) -> int:
    return 3 * x


def row_of(payload: bytes, key: bytes = KEY) -> bytes:
    return seal(key, codec_header("hashstash"), payload)


class Counting(EngineAround):
    """Counts the calls that reach an engine, and the bytes of rows that come back."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.calls: list[str] = []
        self.bytes = 0
        self.during: Callable[[], object] | None = None
        self.broken = False

    def _note(self, name: str, row: bytes | None = None) -> None:
        self.calls.append(name)
        self.bytes += len(row or b"")
        if self.broken:
            raise EngineUnavailableError("away", engine=self.name, operation=name, place="there")

    def taken(self) -> list[str]:
        """Return the calls since this was asked last."""
        calls, self.calls, self.bytes = self.calls, [], 0
        return calls

    def get(self, key: bytes) -> bytes | None:
        row = super().get(key)
        self._note("get", row)
        if self.during is not None:
            self.during()
        return row

    def get_if_changed(self, key: bytes, etag: bytes) -> tuple[bool, bytes | None]:
        changed, row = super().get_if_changed(key, etag)
        self._note("get_if_changed", row)
        return changed, row

    def contains(self, key: bytes) -> bool:
        self._note("contains")
        return super().contains(key)

    def get_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
        self._note("get_many")
        return super().get_many(keys)

    def put(self, key: bytes, row: bytes) -> None:
        self._note("put")
        super().put(key, row)

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        super().put_many(items)
        self._note("put_many")

    def delete(self, key: bytes) -> bool:
        self._note("delete")
        return super().delete(key)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        self._note("compare_and_set")
        return super().compare_and_set(key, etag, row)


PAIRS = [
    *(("sqlite", near) for near in ("memory", "pairtree", "sqlite", "lmdb")),
    *((far, "memory") for far in ("memory", "pairtree", "lmdb")),
]


class Sides:
    """A far side and a near side, and what puts them together."""

    def __init__(self, far: Engine, near: Engine) -> None:
        self.far, self.near = Counting(far), near

    def engine(self, **options: Any) -> NearEngine:
        return NearEngine(self.far, self.near, **options)

    def copies(self) -> dict[bytes, bytes]:
        return dict(self.near.items())


@pytest.fixture(params=PAIRS, ids="-".join)
def sides(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sides]:
    far, near = (
        ENGINES.load(name)(Place(str(tmp_path / side / name), f"{tmp_path.name}-{side}/main"))
        for name, side in zip(request.param, ("far", "near"), strict=True)
    )
    yield Sides(far, near)
    far.destroy()
    near.destroy()


@pytest.fixture(params=[{}, {"immutable": True}, {"max_age": 100}], ids=["asks", "never", "age"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


# -- what is asked of the far side -----------------------------------------------------------


def test_validated(sides: Sides) -> None:
    engine, first, second = sides.engine(), row_of(b"1" * BIG), row_of(b"2")
    sides.far.inner.put(KEY, first)
    assert engine.get(KEY) == first
    assert sides.far.taken() == ["get"]
    assert engine.get(KEY) == first
    assert (sides.far.bytes, sides.far.taken()) == (0, ["get_if_changed"])
    sides.far.inner.put(KEY, second)  # elsewhere
    assert engine.get(KEY) == second
    assert (sides.far.bytes, sides.far.taken()) == (len(second), ["get_if_changed"])
    assert sides.copies() == {KEY: second}
    sides.far.inner.delete(KEY)
    assert engine.get(KEY) is None
    assert sides.copies() == {}
    assert engine.contains(KEY) is False
    assert sides.far.taken() == ["get_if_changed", "contains"]


def test_immutable(sides: Sides) -> None:
    engine, row = sides.engine(immutable=True), row_of(b"1")
    assert engine.get(KEY) is None
    assert not engine.contains(KEY)
    sides.far.inner.put(KEY, row)  # a miss is not kept
    sides.far.taken()
    assert engine.get(KEY) == row
    assert sides.far.taken() == ["get"]
    assert engine.get(KEY) == row
    assert engine.contains(KEY)
    sides.far.inner.delete(KEY)
    assert sides.engine(immutable=True).get(KEY) == row  # for another process too
    assert sides.far.taken() == []


def test_max_age(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**18
    for module in ("near", "near_copies"):
        monkeypatch.setattr(f"hashstash.{module}.time_ns", lambda: now)
    engine, first, second = sides.engine(max_age=10), row_of(b"1"), row_of(b"2")
    sides.far.inner.put(KEY, first)
    assert engine.get(KEY) == first
    now += int(9.9e9)
    assert engine.get(KEY) == first
    assert engine.contains(KEY)
    assert sides.far.taken() == ["get"]
    now += int(0.2e9)
    assert engine.get(KEY) == first  # asked, and good for ten seconds more
    now += int(9.8e9)
    sides.far.inner.put(KEY, second)
    assert engine.get(KEY) == first
    assert sides.far.taken() == ["get_if_changed"]
    now += int(0.3e9)
    assert engine.get(KEY) == second
    assert engine.get(KEY) == second
    assert sides.far.taken() == ["get_if_changed"]
    now -= int(3600e9)  # the clock is set back
    assert engine.get(KEY) == second
    assert sides.far.taken() == ["get_if_changed"]


def test_writes_are_seen_at_once(sides: Sides, options: dict[str, Any]) -> None:
    engine = sides.engine(**options)
    rows = [row_of(b"%d" % n) for n in range(6)]
    engine.put(KEY, rows[0])
    assert engine.get(KEY) == sides.far.inner.get(KEY) == rows[0]
    assert engine.compare_and_set(KEY, rows[0][ETAG], rows[1])
    assert engine.get(KEY) == rows[1]
    assert not engine.compare_and_set(KEY, rows[0][ETAG], rows[2])
    assert engine.get(KEY) == rows[1]
    engine.put_many([(KEY, rows[3]), (b"Pother", row_of(b"4", b"Pother"))])
    assert engine.get(KEY) == rows[3]
    assert engine.delete(KEY)
    assert engine.get(KEY) is None
    engine.put(KEY, rows[4])
    assert engine.delete_many([KEY, b"Pother"]) == 2
    assert engine.get(KEY) is None
    engine.put(KEY, rows[5])
    engine.clear()
    assert engine.get(KEY) is None
    assert sides.copies() == {}


def test_a_failed_write_leaves_no_copy(sides: Sides, options: dict[str, Any]) -> None:
    engine, row, new = sides.engine(**options), row_of(b"1"), row_of(b"2")
    writes: list[Callable[[], object]] = [
        lambda: engine.put(KEY, new),
        lambda: engine.compare_and_set(KEY, row[ETAG], new),
        lambda: engine.delete(KEY),
    ]
    for write in writes:
        engine.put(KEY, row)
        sides.far.broken = True
        with pytest.raises(EngineUnavailableError):
            write()
        sides.far.broken = False
        assert KEY not in sides.copies()
        assert engine.get(KEY) == row
    sides.far.broken = True
    with pytest.raises(EngineUnavailableError):  # the far side has the row, and nobody knows
        engine.put_many([(KEY, new)])
    sides.far.broken = False
    assert engine.get(KEY) == new


def test_a_lost_swap_forgets_the_copy(sides: Sides, options: dict[str, Any]) -> None:
    """Who swaps in a loop does not see the same old row for ever."""
    engine, first, second = sides.engine(**options), row_of(b"1"), row_of(b"2")
    engine.put(KEY, first)
    sides.far.inner.put(KEY, second)
    assert not engine.compare_and_set(KEY, first[ETAG], row_of(b"3"))
    assert engine.get(KEY) == second


def test_what_a_change_is_based_on(sides: Sides, options: dict[str, Any]) -> None:
    engine, first, second = sides.engine(**options), row_of(b"1"), row_of(b"2")
    engine.put(KEY, first)
    sides.far.inner.put(KEY, second)
    assert engine.latest(KEY) == second
    assert sides.copies() == {KEY: second}
    sides.far.inner.delete(KEY)
    assert engine.latest(KEY) is None
    assert sides.copies() == {}


def test_bulk_means_the_far_side(sides: Sides, options: dict[str, Any]) -> None:
    engine, row, other = sides.engine(**options), row_of(b"1"), row_of(b"2", b"Pother")
    engine.put(KEY, row)
    sides.far.inner.put(b"Pother", other)
    new = row_of(b"3")
    sides.far.inner.put(KEY, new)
    assert dict(engine.items()) == {KEY: new, b"Pother": other}
    assert sorted(engine.keys()) == sorted([KEY, b"Pother"])
    assert engine.count() == 2
    assert dict(engine.get_many([KEY])) == {KEY: new}
    leases = engine.sibling("leases")
    leases.put(KEY, row)
    assert engine.sibling("leases").get(KEY) == row
    assert sides.near.sibling("leases").count() == 0


def test_a_reader_that_stores_an_old_copy(sides: Sides) -> None:
    """The row changes between the answer of the far side and the keeping of the copy."""
    engine, first, second = sides.engine(), row_of(b"1"), row_of(b"2")
    sides.far.inner.put(KEY, first)

    def write_meanwhile() -> None:
        sides.far.during = None
        sides.engine().put(KEY, second)

    sides.far.during = write_meanwhile
    assert engine.get(KEY) == first  # it was there when the far side was asked
    assert sides.copies() == {KEY: first}
    assert engine.get(KEY) == second


def test_transactions(sides: Sides, options: dict[str, Any]) -> None:
    engine, first, second = sides.engine(**options), row_of(b"1"), row_of(b"2")
    engine.put(KEY, first)
    seen: list[object] = []
    try:
        with engine.transaction(), sides.engine(**options).transaction():
            engine.put(KEY, second)
            seen.append(engine.get(KEY))
            seen.append(engine.latest(KEY))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    kept = first if engine.transactions else second
    assert seen[:2] == [second, second]
    assert engine.get(KEY) == sides.far.inner.get(KEY) == kept
    with engine.transaction():
        engine.put(KEY, second)
        engine.clear()
        assert engine.get(KEY) is None
    assert engine.get(KEY) is None
    assert sides.copies() == {}


# -- what may happen to the near side --------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"HS", b"nonsense" * 9, "flip", "cut", "other key"])
def test_damaged_copies(sides: Sides, options: dict[str, Any], damage: bytes | str) -> None:
    engine, row = sides.engine(**options), row_of(b"payload" * 100)
    engine.put(KEY, row)
    if damage == "flip":
        bad = row[:-5] + bytes([row[-5] ^ 1]) + row[-4:]
    elif damage == "cut":
        bad = row[:-1]
    else:
        bad = row_of(b"wrong", b"Pother") if isinstance(damage, str) else damage
    sides.near.put(KEY, bad)
    assert engine.get(KEY) == row
    assert engine.get(KEY) == row
    assert sides.copies() == {KEY: row}


@pytest.mark.parametrize("near_mode", ["validated", "immutable"])
def test_damaged_large_copies(tmp_path: Path, near_root: Path, near_mode: str) -> None:
    """Their checksums are computed when they are decoded."""
    near = HashStash(tmp_path / "near", engine="sqlite")
    options: dict[str, Any] = {"engine": "sqlite", "near": near, "near_mode": near_mode}
    stash = HashStash(tmp_path / "s", **options)
    engine = stash._engine
    assert isinstance(engine, NearEngine)
    value = stash["k"] = os.urandom(200_000)
    stored = stash.encode_key("k")
    row = engine.inner.get(stored)
    assert row is not None
    for bad in (
        row[:-5] + bytes([row[-5] ^ 1]) + row[-4:],
        row[:20] + bytes([row[20] ^ 1]) + row[21:],  # in the ETag
        row[:3] + b"\x01" + row[4:],  # there are fields, it says
        b"nonsense" * 20_000,
        row[:-1],
    ):
        engine.copies._rows.put(stored, bad)
        assert stash["k"] == value
        assert stash["k"] == value
        assert engine.copies.get(stored) == row
        engine.copies._rows.put(stored, bad)
        assert stash.get("k") == value
    engine.inner.put(stored, row[:-1])
    engine.copies.clear()
    with pytest.raises(CorruptRowError):  # on the far side too
        stash["k"]


def test_a_damaged_version_is_no_damaged_copy(tmp_path: Path, near_root: Path) -> None:
    stash = HashStash(tmp_path / "s", engine="sqlite", near="memory", append_mode=True)
    stash["k"] = os.urandom(200_000)
    stash["k"] = latest = os.urandom(200_000)
    older = stash._engine.sibling("versions")
    for slot, row in older.items():
        if len(row) > 100:
            older.put(slot, row[:-1])
    assert stash["k"] == stash["k"] == latest
    with pytest.raises(CorruptRowError):
        stash.get("k", version=1)
    assert stash["k"] == latest


@pytest.mark.parametrize("note", [b"", b"short", b"\xff" * 32, b"\x11" * 32], ids=repr)
def test_damaged_notes(sides: Sides, note: bytes) -> None:
    engine, row, new = sides.engine(max_age=100, max_bytes=1000), row_of(b"1"), row_of(b"2")
    engine.put(KEY, row)
    sides.near.sibling("notes").put(KEY, note)
    sides.far.inner.put(KEY, new)
    assert engine.get(KEY) == new
    for number in range(30):  # there is room nevertheless
        key = b"P%d" % number
        engine.put(key, row_of(b"x" * 50, key))
        assert engine.get(key) is not None
    assert sum(map(len, sides.copies().values())) <= 1000


def test_the_near_side_is_removed(tmp_path: Path, options: dict[str, Any]) -> None:
    for name in ("pairtree", "sqlite", "lmdb"):
        far = MemoryEngine(Place(str(tmp_path), f"{tmp_path.name}/far"))
        near = ENGINES.load(name)(Place(str(tmp_path / name), "near"))
        engine, row = NearEngine(far, near, **options), row_of(b"1")
        engine.put(KEY, row)
        assert engine.get(KEY) == row
        shutil.rmtree(tmp_path / name)
        assert engine.get(KEY) == row
        new = row_of(b"2")
        engine.put(KEY, new)
        assert engine.get(KEY) == new
        engine.destroy()
        assert far.count() == 0


def test_a_near_side_that_cannot_be_used(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "file").write_text("no folder")
    for name in ("pairtree", "sqlite", "lmdb"):
        far = MemoryEngine(Place(str(tmp_path), f"{tmp_path.name}/far"))
        near = ENGINES.load(name)(Place(str(tmp_path / "file" / name), "near"))
        engine, row = NearEngine(far, near, **options), row_of(b"1")
        with pytest.warns(NearCacheWarning, match="does not work") as warned:
            use_all(engine, row)
        assert len([w for w in warned if w.category is NearCacheWarning]) == 1


def use_all(engine: NearEngine, row: bytes) -> None:
    engine.put(KEY, row)
    assert engine.get(KEY) == row
    assert engine.contains(KEY)
    assert engine.latest(KEY) == row
    assert engine.warm() == 0
    assert engine.delete(KEY)
    assert engine.get(KEY) is None
    engine.clear()
    engine.sweep()
    engine.close()


def put_and_get(engine: NearEngine) -> None:
    for _ in range(2):
        rows = {}
        for number in range(40):
            key = b"P%d" % number
            rows[key] = row_of(os.urandom(100_000), key)
            engine.put(key, rows[key])
        for key, row in rows.items():
            assert engine.get(key) == row
            assert engine.get(key) == row


def test_a_full_disk(tmp_path: Path, options: dict[str, Any]) -> None:
    with small_disk(tmp_path / "small", "2m") as folder:
        for name in ("pairtree", "sqlite", "lmdb"):
            far = MemoryEngine(Place(str(tmp_path), f"{tmp_path.name}/far"))
            near = ENGINES.load(name)(Place(str(folder / name), "near"))
            engine = NearEngine(far, near, **options)
            with pytest.warns(NearCacheWarning):
                put_and_get(engine)
            engine.destroy()


def test_bounded(sides: Sides, options: dict[str, Any]) -> None:
    most = 20_000
    engine = sides.engine(max_bytes=most, **options)
    for number in range(200):
        key = b"P%d" % number
        row = row_of(b"x" * (500 if number % 7 else 4000), key)
        if number % 2:
            engine.put(key, row)
        else:
            sides.far.inner.put(key, row)
        assert engine.get(key) == row
        assert sum(map(len, sides.copies().values())) <= most
    kept = {int(key[1:]) for key in sides.copies()}
    assert kept, "the latest stay"
    assert max(kept) == 199
    assert kept == set(range(min(kept), 200))
    assert {int(key[1:]) for key in sides.near.sibling("notes").keys()} == kept
    engine.put(KEY, row_of(b"x"))
    engine.put(KEY, row_of(b"x" * most))  # never fits
    assert KEY not in sides.copies()
    assert engine.get(KEY) == sides.far.inner.get(KEY)


def test_many_short_processes_are_bounded_together(tmp_path: Path) -> None:
    far = MemoryEngine(Place(str(tmp_path), f"{tmp_path.name}/far"))
    near = MemoryEngine(Place(str(tmp_path), f"{tmp_path.name}/near"))
    most, total = 100_000, 0
    for number in range(1000):  # each writes far less than the share after which it looks
        key = b"P%d" % number
        NearEngine(far, near, max_bytes=most).put(key, row_of(b"x" * 1000, key))
        total = max(total, near.count() * 1050)
    assert near.count() < 1000
    assert total < 3 * most, "on average it is looked up once in an eighth of that"
    far.destroy()
    near.destroy()


# -- warming ---------------------------------------------------------------------------------


def test_warm(sides: Sides) -> None:
    engine = sides.engine(immutable=True)
    rows = {key: row_of(b"%d" % n, key) for n in range(30) for key in [b"P%d" % n]}
    sides.far.inner.put_many(rows.items())
    assert engine.warm([b"P1", b"P2", b"Pmissing"]) == 2
    assert sides.copies().keys() == {b"P1", b"P2"}
    assert engine.warm() == 30
    assert sides.copies() == rows
    sides.far.taken()
    assert all(engine.get(key) == row for key, row in rows.items())
    assert sides.far.taken() == []


# -- the contract ----------------------------------------------------------------------------


class NearContractEngine(NearEngine):
    """A near side over rows of the contract's tests, whose checksums are no checksums."""

    far_class: type[Engine]

    def __init__(self, place: Place) -> None:
        near = MemoryEngine(replace(place, name=f"{place.name}/near"))
        super().__init__(self.far_class(place), near)
        self.copies._is_whole = lambda row, key: len(row) >= ETAG.stop


class NearMemory(NearContractEngine):
    name, far_class = "near-memory", MemoryEngine
    private = transactions = True


class NearPairtree(NearContractEngine):
    name, far_class = "near-pairtree", PairtreeEngine
    durabilities = PairtreeEngine.durabilities


class TestNearMemory(EngineContract):
    engine_class: ClassVar[type[Engine] | None] = NearMemory

    def test_siblings_keep_their_kind_and_place(self, engine: Engine) -> None:
        assert isinstance(engine, NearEngine)
        assert type(engine.sibling("versions")) is type(engine.inner)
        assert engine.sibling("versions").place == replace(engine.place, table="versions")


class TestNearPairtree(TestNearMemory):
    engine_class = NearPairtree
    kills = 5


# -- stashes ---------------------------------------------------------------------------------


@pytest.fixture
def near_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHSTASH_ROOT", str(tmp_path / "cache"))
    return tmp_path / "cache" / ".near"


@pytest.mark.parametrize("near", ["memory", "pairtree", "sqlite", "lmdb"])
@pytest.mark.parametrize("mode", ["validated", "immutable"])
def test_a_stash_with_a_near_side(tmp_path: Path, near_root: Path, near: str, mode: str) -> None:
    with HashStash(tmp_path / "s", engine="sqlite", near=near, near_mode=mode) as stash:
        key = ["a", {"long": "x" * 200}]
        stash["a"], stash[key], stash[lambda x: x] = 1, "long", "opaque"
        assert (stash["a"], stash[key], key in stash, len(stash)) == (1, "long", True, 3)
        assert stash == HashStash(tmp_path / "s", engine="sqlite")
        assert stash.path == HashStash(tmp_path / "s", engine="sqlite").path
        assert stash.warm() == 3
        assert stash.warm(["a", "absent"]) == 1
        again = pickle.loads(pickle.dumps(stash))
        assert again._settings == stash._settings
        assert again["a"] == 1
        made = HashStash.from_dict(stash.to_dict())
        assert made._settings == stash._settings
        folder = os.fspath(near_root)
        if near != "memory":
            assert os.stat(folder).st_mode & 0o77 == 0
            assert len(os.listdir(folder)) == 1
            shutil.rmtree(folder)
        assert stash["a"] == again[key[0]] == 1
        assert stash.pop("a") == 1
        assert stash.get("a") is None
        assert stash.setdefault("a", 2) == 2
        assert stash["a"] == 2
        stash.clear()
        assert stash.get("a") is None


def test_two_stashes_have_two_near_sides(tmp_path: Path, near_root: Path) -> None:
    near = HashStash("shared_near", engine="memory")
    options: dict[str, Any] = {"engine": "sqlite", "near_mode": "immutable"}
    for side in ("sqlite", near):
        one = HashStash(tmp_path / "a" / "same", near=side, **options)
        other = HashStash(tmp_path / "b" / "same", near=side, **options)
        one["k"], other["k"] = 1, 2
        assert (one["k"], other["k"]) == (1, 2)
        deeper = HashStash(tmp_path / "a" / "same", "main/sub", near=side, **options)
        assert "k" not in deeper
    assert len(near) == 0, "its own items are apart"


def test_function_results(tmp_path: Path, near_root: Path) -> None:
    stash = HashStash(tmp_path / "s", engine="sqlite", near="memory", near_mode="immutable")
    calls.clear()
    twice, thrice = stash.stashed_result(double), stash.stashed_result(triple)
    assert [twice(1), twice(1), thrice(1), twice(2), thrice(2)] == [2, 2, 3, 4, 6]
    assert calls == [1, 2]
    engine = twice.stash._engine
    assert isinstance(engine, NearEngine)
    far = engine.inner = Counting(engine.inner)
    engine.copies.clear()
    assert [twice(1), twice(1)] == [2, 2]
    assert calls == [1, 2]
    assert far.taken() == ["get"]


def test_an_expired_copy_is_not_computed_again_where_another_did(
    tmp_path: Path, near_root: Path
) -> None:
    where: dict[str, Any] = {"engine": "sqlite", "namespace": "team"}
    ours = HashStash(tmp_path / "s", near="memory", near_mode="immutable", **where)
    theirs = HashStash(tmp_path / "s", **where)
    calls.clear()
    f = ours.stashed_result(double, ttl=1000)
    g = theirs.stashed_result(double, ttl=1000)
    expired = theirs.stashed_result(double, ttl=1e-9)
    expired(1)
    assert isinstance(f.stash._engine, NearEngine)
    f.stash.warm()
    assert g(1) == 2
    assert f(1) == 2
    assert calls == [1, 1]


def test_append_mode(tmp_path: Path, near_root: Path) -> None:
    where: dict[str, Any] = {"engine": "sqlite", "append_mode": True}
    for age in (None, 1000):
        root = tmp_path / f"s{age}"
        one = HashStash(root, near="memory", max_age=age, **where)
        other = HashStash(root, **where)
        one["k"] = 1
        assert one["k"] == 1
        other["k"] = 2
        one["k"] = 3
        assert one["k"] == 3
        assert other.get_all("k") == [1, 2, 3]
        other["k"] = 4
        assert one.get_all("k") == [1, 2, 3, 4]
        assert one.versions("k") == [1, 2, 3, 4]
        assert one.get("k", version=4) == 4
        del one["k"]
        assert other.get_all("k") is None


def test_verify_and_repair_mean_the_far_side(tmp_path: Path, near_root: Path) -> None:
    stash = HashStash(tmp_path / "s", engine="sqlite", near="memory", near_mode="immutable")
    stash["good"], stash["bad"] = 1, 2
    far = HashStash(tmp_path / "s", engine="sqlite")
    stored = far.encode_key("bad")
    row = far._engine.get(stored)
    assert row is not None
    far._engine.put(stored, row[:-1] + b"?")
    assert stash["bad"] == 2
    assert [found.key for found in stash.verify()] == ["bad"]
    assert [found.key for found in stash.repair()] == ["bad"]
    assert dict(stash.items()) == {"good": 1}


def test_temporary_stashes_remove_their_copies(near_root: Path) -> None:
    with HashStash(engine="sqlite", near="pairtree").tmp() as stash:
        stash["a"] = 1
        assert list(near_root.rglob("data.db"))
    assert not list(near_root.rglob("data.db"))
    with HashStash(engine="sqlite", near="pairtree").tmp(engine="memory") as stash:
        assert not isinstance(stash._engine, NearEngine)


def test_wrong_options(tmp_path: Path) -> None:
    def open_with(**options: Any) -> HashStash:
        return HashStash(tmp_path, engine="memory", **options)

    wrong: list[tuple[dict[str, Any], str]] = [
        ({"near_mode": "immutable"}, "needs a near side"),
        ({"max_age": 3}, "needs a near side"),
        ({"near_max_bytes": 3}, "needs a near side"),
        ({"near": "memory", "near_mode": "imutable"}, "immutable"),
        ({"near": "memory", "near_mode": "immutable", "max_age": 3}, "no meaning"),
        ({"near": "memory", "near_mode": "immutable", "append_mode": True}, "validated"),
        ({"near": "memory", "max_age": 0}, "more than 0"),
        ({"near": "memory", "near_max_bytes": 0}, "number of bytes"),
        ({"near": "memry"}, "Did you mean 'memory'"),
    ]
    for options, said in wrong:
        with pytest.raises(ValueError, match=said):
            open_with(**options)
    with pytest.raises(TypeError, match="a stash, not int"):
        open_with(near=3)
    with pytest.raises(TypeError, match="Did you mean 'near_mode'"):
        open_with(near="memory", near_mod="validated")
    with pytest.raises(ConfigurationError, match="no near side"):
        open_with().warm()


# -- servers ---------------------------------------------------------------------------------


class CountingProxy(Proxy):
    """A proxy that counts what the server sends."""

    received = 0

    def _allowed(self, size: int, replies: bool) -> int:
        self.received += size if replies else 0
        return super()._allowed(size, replies)


@pytest.mark.parametrize("server", ["redis", "redis_cluster", "mongo", "s3"])
def test_servers(
    request: pytest.FixtureRequest, server: str, tmp_path: Path, near_root: Path
) -> None:
    url: str = request.getfixturevalue(f"{server}_url")
    engine = server.partition("_")[0]
    with ExitStack() as ends:
        counted = None
        if server != "redis_cluster":  # whose nodes say themselves where they are
            address = urlsplit(url.partition("endpoint_url=http://")[2] or url.partition("://")[2])
            port = urlsplit(f"//{address.path.partition('&')[0]}").port
            assert port is not None
            counted = ends.enter_context(CountingProxy(port))
            url = url.replace(f":{port}", f":{counted.port}")
        try:
            stash = HashStash(tmp_path / "far", engine=engine, url=url, near="pairtree")
        except MissingDependencyError as exc:
            pytest.skip(str(exc))
        name = f"{tmp_path.name}-{server}"
        stash = HashStash(name, engine=engine, url=url, near="pairtree")
        ends.callback(stash._engine.destroy)
        other = HashStash(name, engine=engine, url=url)
        other["k"] = first = os.urandom(BIG)
        assert stash["k"] == first

        def received(read: Callable[[], object]) -> int:
            before = counted.received if counted else 0
            read()
            return counted.received - before if counted else 0

        assert received(lambda: stash["k"]) < 5000
        assert stash["k"] == first
        other["k"] = second = os.urandom(BIG)
        assert stash["k"] == second
        assert received(lambda: stash["k"]) < 5000
        again = pickle.loads(pickle.dumps(stash))
        assert again["k"] == second
        del other["k"]
        assert "k" not in stash
        assert stash.get("k") is None
        other["k"] = "third"
        fixed = HashStash(name, engine=engine, url=url, near="memory", near_mode="immutable")
        assert fixed.warm() == 1
        assert received(lambda: fixed["k"]) == 0
        assert fixed["k"] == "third"
