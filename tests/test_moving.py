"""Entries move between any two engines, as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hashstash import HashStash
from hashstash.engines.around import EngineAround
from hashstash.errors import (
    CorruptRowError,
    EngineUnavailableError,
    MissingDependencyError,
    SerializationError,
    UntrustedRowError,
)
from hashstash.moving import THREADS
from hashstash.rows import parse
from hashstash.versions import VersionedEngine, keeps_versions

EMBEDDED = ["memory", "pairtree", "sqlite", "lmdb", "shm", "diskcache", "sqlitedict"]
SERVERS = ["redis", "mongo", "s3"]
Open = Callable[..., HashStash]


calls: list[int] = []


def double(x: int) -> int:
    calls.append(x)
    return 2 * x


class Point:
    """Needs code to be read back."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def at(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Return what opens stashes of any engine, removed at the end."""
    made: list[HashStash] = []

    def build(name: str, engine: str, **settings: Any) -> HashStash:
        if engine in SERVERS:
            settings = {"safe": False, **settings, "url": request.getfixturevalue(f"{engine}_url")}
        try:
            stash = HashStash(tmp_path / name, f"{tmp_path.name}", engine=engine, **settings)
        except MissingDependencyError as exc:
            pytest.skip(str(exc))
        made.append(stash)
        return stash

    yield build
    for stash in made:
        stash._engine.destroy()


def fill(stash: HashStash) -> None:
    """Store an entry of every kind: small, large, with a long key, with an opaque one, signed."""
    stash["plain"] = {"a": [1, 2.5, None]}
    stash["large"] = os.urandom(200_000)
    stash["long", "x" * 300] = "digest"
    stash[Point(3)] = "opaque"
    stash["signed"] = Point(4)
    for number in range(20):
        stash[number] = number


def rows_of(stash: HashStash) -> dict[bytes, bytes]:
    return dict(stash._engine.items())


def headers(stash: HashStash) -> dict[bytes, object]:
    """Return all of the rows but their signatures."""
    rows = {key: parse(row, key) for key, row in rows_of(stash).items()}
    return {key: row._replace(mac=b"", payload=bytes(row.payload)) for key, row in rows.items()}


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        *((engine, "sqlite") for engine in EMBEDDED),
        *(("sqlite", engine) for engine in EMBEDDED),
        *(("lmdb", engine) for engine in SERVERS),
        *((engine, "lmdb") for engine in SERVERS),
    ],
)
@pytest.mark.parametrize("append", [False, True], ids=["latest", "versions"])
def test_all_engines(at: Open, src: str, dst: str, append: bool) -> None:
    source, target = at("src", src, append_mode=append), at("dst", dst)
    fill(source)
    if append:
        source["plain"] = "second"
        source["signed"] = Point(5)
        source["plain"] = "third"
    assert source.copy_to(target, progress=False) == 25
    assert source == target
    assert headers(source) == headers(target)
    assert target["signed"] == Point(5 if append else 4)
    for key in ("plain", "signed", "large"):
        told = source.get_all(key, with_metadata=True)
        assert told == target.get_all(key, with_metadata=True)
        assert len(told or []) == (
            3 if append and key == "plain" else 1 + (append and key != "large")
        )
    assert keeps_versions(target._engine) is append
    before = rows_of(target)
    assert source.copy_to(target, progress=False) == 0
    assert rows_of(target) == before
    target["plain"] = "after"
    assert target.versions("plain") == ([1, 2, 3, 4] if append else [1])


def test_rows_stay_as_they_are(at: Open) -> None:
    source, target = at("one", "sqlite", namespace="team"), at("two", "lmdb", namespace="team")
    fill(source)
    assert source.copy_to(target) == 25
    assert rows_of(source) == rows_of(target)


@pytest.mark.parametrize("codec", [{"serializer": "pickle"}, {"compress": "zlib", "b64": True}])
def test_signed_for_the_target(at: Open, codec: dict[str, Any]) -> None:
    source = at("one", "sqlite", signing_keys=["k" * 16], **codec)
    target = at("two", "pairtree", signing_keys=["l" * 16, "k" * 16])
    fill(source)
    assert source.copy_to(target) == 25
    assert source == target
    assert headers(source) == headers(target)
    own = HashStash.from_dict(target.to_dict())
    with pytest.raises(UntrustedRowError):
        assert own["signed"]


def test_what_is_not_believed_is_not_signed(at: Open) -> None:
    writer = at("src", "sqlite", signing_keys=["k" * 16])
    writer["signed"] = Point(1)
    source = at("src", "sqlite", signing_keys=["m" * 16])
    target = at("dst", "sqlite", signing_keys=["l" * 16])
    with pytest.raises(UntrustedRowError, match="signed"):
        source.copy_to(target)
    assert len(target) == 0
    believer = at("dst", "sqlite", signing_keys=["k" * 16], namespace=source._settings.namespace)
    assert source.copy_to(believer) == 1  # as it is: the target knows the key
    assert believer["signed"] == Point(1)


def test_a_safe_target_takes_data_only(at: Open) -> None:
    source, target = at("src", "sqlite"), at("dst", "sqlite", safe=True)
    source["data"] = 1
    assert source.copy_to(target) == 1
    source["code"] = Point(1)
    with pytest.raises(SerializationError, match="safe=False"):
        source.copy_to(target)
    assert dict(target.items()) == {"data": 1}


def test_a_damaged_row_is_told(at: Open) -> None:
    source, target = at("src", "sqlite"), at("dst", "sqlite")
    source["good"], source["bad"] = 1, 2
    stored = source.encode_key("bad")
    source._engine.put(stored, rows_of(source)[stored][:-1] + b"?")
    with pytest.raises(CorruptRowError, match="'bad' at "):
        source.copy_to(target)
    source.repair()
    source.copy_to(target)
    assert dict(target.items()) == {"good": 1}


class Failing(EngineAround):
    """Fails after some writes."""

    left = 0

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise EngineUnavailableError("away", engine="x", operation="put", place="there")

    def put_many(self, items: Any) -> None:
        for key, row in items:
            self._spend()
            self.inner.put(key, row)

    def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
        self._spend()
        return self.inner.compare_and_set(key, etag, row)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("append", [False, True])
def test_interrupted_and_taken_up(at: Open, append: bool) -> None:
    source, target = at("src", "sqlite", append_mode=append), at("dst", "pairtree")
    for turn in range(2):
        source.update((n, (n, turn)) for n in range(100))
    real = target._engine
    failing = Failing(real)
    runs, copied = 0, -1
    while copied < 0:
        runs += 1
        failing.left = 30
        target._engine = failing
        try:
            copied = source.copy_to(target, progress=False)
        except EngineUnavailableError:
            assert len(target) == 30 * runs
    target._engine = real
    assert (runs, copied) == (4, 10)
    assert source == target
    assert headers(source) == headers(target)
    if append:
        assert all(target.get_all(n) == [(n, 0), (n, 1)] for n in range(100))


def test_a_copy_grows_with_its_source(at: Open) -> None:
    source, target = at("src", "sqlite", append_mode=True), at("dst", "lmdb")
    source["k"] = 1
    source.copy_to(target)
    source["k"], source["k"], source["l"] = 2, 3, 1
    assert source.copy_to(target) == 2
    assert target.get_all("k", with_metadata=True) == source.get_all("k", with_metadata=True)
    target["k"] = 4
    assert source.copy_to(target) == 0  # it is ahead
    assert target.get_all("k") == [1, 2, 3, 4]
    assert target.copy_to(source) == 1
    assert source.get_all("k") == [1, 2, 3, 4]


def test_histories_of_their_own(at: Open) -> None:
    """Nothing is lost: what the source has latest becomes the next version."""
    source, target = at("src", "sqlite", append_mode=True), at("dst", "sqlite", append_mode=True)
    source["k"], source["k"] = "a", "b"
    target["k"], target["k"] = 1, 2
    assert source.copy_to(target) == 1
    assert target.get_all("k") == [1, 2, "b"]
    assert source.copy_to(target) == 0
    plain = at("plain", "sqlite")
    plain["k"] = "plain"
    assert plain.copy_to(target) == 1
    assert plain.copy_to(target) == 0
    assert target.get_all("k") == [1, 2, "b", "plain"]


def test_latest_rows_replace_latest_rows(at: Open) -> None:
    source, target = at("src", "sqlite"), at("dst", "pairtree")
    source["same"] = source["changed"] = 1
    source.copy_to(target)
    source["changed"], target["own"] = 2, 3
    assert source.copy_to(target) == 1
    assert dict(target.items()) == {"same": 1, "changed": 2, "own": 3}


def test_another_writer_comes_between(at: Open) -> None:
    source, target = at("src", "sqlite", append_mode=True), at("dst", "sqlite", append_mode=True)
    source["k"] = "copied"
    real, writes = target._engine, iter(["theirs"])

    class Meddling(EngineAround):
        def compare_and_set(self, key: bytes, etag: bytes | None, row: bytes | None) -> bool:
            for value in writes:
                HashStash.from_dict(target.to_dict())["k"] = value
            return self.inner.compare_and_set(key, etag, row)

        def transaction(self) -> Any:
            return _nothing()

    target._engine = Meddling(real)
    assert source.copy_to(target) == 1
    target._engine = real
    assert VersionedEngine(real).count() == 1
    assert target.get_all("k") == ["theirs", "copied"]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_to_itself(at: Open) -> None:
    stash = at("s", "sqlite", append_mode=True)
    stash["k"], stash["k"] = 1, 2
    before = rows_of(stash)
    assert stash.copy_to(stash) == 0
    assert rows_of(stash) == before


def test_near_sides_are_left_alone(at: Open) -> None:
    source = at("src", "sqlite", near="memory", near_mode="immutable")
    target = at("dst", "sqlite", near="memory", near_mode="immutable")
    fill(source)
    target["plain"] = "old"
    assert target["plain"] == "old"
    assert source.copy_to(target) == 25
    assert target["plain"] == source["plain"]


def test_many_questions_at_once(at: Open, redis_url: str) -> None:
    source, target = at("src", "memory"), at("dst", "redis")
    source.update((n, n) for n in range(10 * THREADS))
    assert source.copy_to(target) == 10 * THREADS
    source[0] = "new"
    assert source.copy_to(target) == 1
    assert source == target


def test_migrate(at: Open, tmp_path: Path) -> None:
    source = at("src", "sqlite")
    fill(source)
    target = HashStash.from_dict({**source.to_dict(), "engine": "lmdb"})
    assert HashStash.migrate(source.to_dict(), target) == 25
    path = tmp_path / "path"
    assert HashStash.migrate(target, path, progress=False) == 25
    assert HashStash(path) == source
    url = f"sqlite://{path}2" if os.name == "nt" else f"sqlite:///{os.fspath(path).lstrip('/')}2"
    assert HashStash.migrate(path, url) == 25
    with pytest.raises(TypeError, match="not as a int"):
        HashStash.migrate(source, 3)
    target._engine.destroy()


def test_progress(at: Open, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    source, target = at("src", "sqlite"), at("dst", "sqlite")
    fill(source)
    source.copy_to(target, progress=False)
    assert capsys.readouterr().err == ""
    source.copy_to(target, progress=True)
    shown = capsys.readouterr().err
    assert "Copying to" in shown
    assert "25/25" in shown


def test_function_results_keep_what_they_are(at: Open) -> None:
    one, other = at("src", "sqlite"), at("dst", "lmdb")
    calls.clear()
    f, g = one.stashed_result(double), other.stashed_result(double)
    assert [f(1), f(2)] == [2, 4]
    assert f.stash.copy_to(g.stash) == 2
    assert [g(1), g(2)] == [2, 4]
    assert calls == [1, 2]
