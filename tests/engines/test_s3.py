"""The s3 engine on a real server."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from servers.leaving import leave
from servers.names import HOSTILE_NAMES
from servers.s3 import S3Server

from hashstash import HashStash
from hashstash.engines import ETAG, Engine, Place, s3, s3_link, s3_objects
from hashstash.engines.s3 import S3Engine
from hashstash.engines.s3_address import Address, Names
from hashstash.engines.s3_objects import pack, unpack
from hashstash.errors import ConfigurationError, CorruptRowError, EngineError, SerializationError
from hashstash.testing.engine import EngineContract, EngineSpec
from hashstash.testing.samples import hostile_keys, keys_of_every_length, make_row

PAGE = 100
MIB = 1 << 20


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", PAGE)
    monkeypatch.setattr(s3_objects, "PAGE", PAGE)


@pytest.mark.usefixtures("small_pages")
class TestS3Engine(EngineContract):
    engine_name = "s3"
    many = PAGE + 10  # every one is a request
    rounds = 50
    kills = 4

    @pytest.fixture(autouse=True)
    def server(self, s3_url: str) -> None:
        type(self).options = {"url": s3_url}

    @pytest.fixture
    def spec(self, engine: Engine) -> EngineSpec:
        engine.close()  # else its connections, of varying number, are shared and stay open
        return EngineSpec(type(engine), engine.place, self.options)


@pytest.fixture
def raw(s3_url: str) -> Any:
    """The bucket, by the client alone."""
    address = Address.parse(s3_url)
    return boto3.resource(
        "s3",
        endpoint_url=address.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
    ).Bucket(address.bucket)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return Place("/nowhere", f"own tests/{request.node.name}")


@pytest.fixture
def engine(s3_url: str, place: Place) -> Iterator[S3Engine]:
    made = S3Engine(place, url=s3_url, multipart_bytes=5 * MIB)
    yield made
    made.destroy()


# -- names ----------------------------------------------------------------------------------


def test_names_are_never_two_for_one() -> None:
    tables = ["entries", "versions", "a/b", "@entries", "é" * 99]
    all_names = [Names("", Place("", name, table)) for name in HOSTILE_NAMES for table in tables]
    tables_found = [names.table for names in all_names]
    assert len(set(tables_found)) == len(tables_found)
    for names in all_names:
        assert names.table.startswith(names.stash)
        assert names.table.isascii()
        longest = names.of(b"k" * 100)
        assert len(longest) <= 1024 - 256  # a folder may come before
        assert all(0 < len(part) <= 255 for part in longest.split("/"))
        assert not {".", ".."} & set(longest.split("/"))


def test_no_stash_is_inside_another() -> None:
    stashes = {Names("", Place("", name)).stash for name in HOSTILE_NAMES}
    assert len(stashes) == len(HOSTILE_NAMES)
    tables = [f"{stash}@" for stash in stashes]
    for stash in stashes:
        assert sum(f"{stash}@entries/".startswith(table) for table in tables) == 1


def test_keys_come_back_from_names() -> None:
    names = Names("folder", Place("", "root/main"))
    for key in [*hostile_keys(), *keys_of_every_length()]:
        assert names.key(names.of(key)) == key
        assert names.ours(names.of(key))
    for strange in ("", "zz/00", "00/zz", "a9/6B6579", "00/6b6579", "a9/6b6579/x", "6b6579"):
        assert names.key(names.table + strange) is None
        assert not names.ours(names.table + strange)
        assert not names.ours(f"{names.stash}other/a9/6b6579")


@pytest.mark.parametrize("row", [b"", b"\0", b"\0\0", b"\0" * 100, b"\0a", b"a\0", b"a"], ids=repr)
def test_no_row_looks_like_a_marker(row: bytes) -> None:
    assert pack(row) != s3_objects.MARKER
    assert unpack(pack(row)) == row


@pytest.mark.parametrize("name", ["a*", "a?b", "a{x}/[b]", "a b+c/%2F", "été/λ", "a//b", "../.."])
def test_hostile_names_beside_foreign_objects(s3_url: str, raw: Any, name: str) -> None:
    foreign = [f"foreign/{name}", f"{name}/x", "a/entries/a9/6b6579", "@entries/a9/6b6579"]
    for key in foreign:
        if not {"", ".", ".."} & set(key.split("/")):  # which this server refuses
            raw.put_object(Key=key, Body=b"foreign")
    before = {o.key for o in raw.objects.all()}
    engines = [S3Engine(Place("", n), url=s3_url) for n in (name, f"{name}2", f"{name}/deeper")]
    for number, engine in enumerate(engines):
        engine.put(b"k", b"%d" % number)
        engine.sibling("versions").put(b"v", b"row")
    # planted between our own objects, and not ours
    planted = f"{engines[0]._names.table}a9/not-a-key"
    raw.put_object(Key=planted, Body=b"foreign")
    assert [dict(engine.items()) for engine in engines] == [{b"k": b"%d" % n} for n in range(3)]
    assert [engine.count() for engine in engines] == [1, 1, 1]
    engines[0].clear()
    assert engines[0].sibling("versions").count() == 1
    engines[0].destroy()
    assert [engine.count() for engine in engines] == [0, 1, 1]
    for engine in engines[1:]:
        engine.destroy()
    assert {o.key for o in raw.objects.all()} == before | {planted}
    raw.delete_objects(Delete={"Objects": [{"Key": key} for key in {*foreign, planted}]})


# -- large rows -----------------------------------------------------------------------------


def test_rows_in_parts(engine: S3Engine, raw: Any) -> None:
    small, large, larger = (make_row(os.urandom(n * MIB)) for n in (1, 5, 17))
    for before, after in [(small, large), (large, larger), (larger, small), (small, larger)]:
        engine.put(b"k", before)
        engine.put(b"k", after)
        assert engine.get(b"k") == after
        assert engine.compare_and_set(b"k", before[ETAG], make_row()) is False
        assert engine.compare_and_set(b"k", after[ETAG], before) is True
        assert engine.get(b"k") == before
        assert engine.compare_and_set(b"k", None, after) is False
        assert engine.compare_and_set(b"k", before[ETAG], None) is True
        assert engine.compare_and_set(b"k", None, after) is True
        assert engine.delete(b"k") is True
        assert engine.get(b"k") is None
    engine.put_many([(b"a", large), (b"b", small), (b"c", larger)])
    assert dict(engine.items()) == {b"a": large, b"b": small, b"c": larger}
    assert not list(raw.multipart_uploads.all())


def test_another_client_knows_what_is_in_parts(s3_url: str, engine: S3Engine) -> None:
    """The transport's ETag of parts is no digest of the row, and is asked for."""
    row = make_row(os.urandom(6 * MIB))
    engine.put(b"k", row)
    other = S3Engine(engine.place, url=s3_url, timeout=4)
    new = make_row()
    assert other.compare_and_set(b"k", row[ETAG], new) is True
    assert engine.compare_and_set(b"k", row[ETAG], None) is False
    assert engine.get(b"k") == new


# -- what is left behind --------------------------------------------------------------------


def test_sweep_of_uploads(engine: S3Engine, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, foreign = engine._names.of(b"k"), f"{engine._names.stash}foreign"
    begun = [raw.Object(name).initiate_multipart_upload() for name in (ours, foreign)]
    assert engine.sweep() == 0
    monkeypatch.setattr(s3_objects, "UPLOAD_SECONDS", -60)
    assert engine.sibling("versions").sweep() == 1
    assert [upload.object_key for upload in raw.multipart_uploads.all()] == [foreign]
    assert engine.sweep() == 0
    begun[1].abort()


def test_sweep_of_markers(engine: S3Engine, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = engine.sibling("versions")
    rows = {b"k%d" % n: make_row() for n in range(5)}
    engine.put_many(rows.items())
    versions.put(b"v", make_row())
    assert engine.delete(b"k1") is True
    assert engine.compare_and_set(b"k2", rows[b"k2"][ETAG], None) is True
    assert versions.delete(b"v") is True
    assert engine.sweep() == 0
    stash = engine._names.stash
    assert len(list(raw.objects.filter(Prefix=f"{stash}@entries"))) == 5
    monkeypatch.setattr(s3_objects, "MARKER_SECONDS", -60)  # clocks count in seconds
    assert engine.sweep() == 3
    assert len(list(raw.objects.filter(Prefix=f"{stash}@entries"))) == 3
    assert sorted(engine.keys()) == [b"k0", b"k3", b"k4"]
    assert engine.sweep() == 0


def test_markers_are_no_rows(engine: S3Engine) -> None:
    row = make_row()
    engine.put(b"k", row)
    assert engine.delete(b"k") is True
    assert engine.delete(b"k") is False
    assert not engine.contains(b"k")
    assert engine.delete_many([b"k"]) == 0
    assert engine.compare_and_set(b"k", row[ETAG], make_row()) is False
    assert engine.compare_and_set(b"k", None, None) is True
    assert list(engine.get_many([b"k"])) == [(b"k", None)]
    assert engine.count() == 0
    assert engine.compare_and_set(b"k", None, row) is True
    assert engine.get(b"k") == row


def test_no_markers_where_removals_are_exact(engine: S3Engine, raw: Any) -> None:
    """As on Amazon's own servers."""
    engine._held().client.removes_exactly = True
    row = make_row()
    engine.put(b"k", row)
    assert engine.compare_and_set(b"k", row[ETAG], None) is True
    engine.put(b"k", row)
    assert engine.delete(b"k") is True
    assert not list(raw.objects.filter(Prefix=f"{engine._names.stash}@entries"))
    assert engine.compare_and_set(b"k", None, row) is True


# -- options --------------------------------------------------------------------------------


def test_a_bucket_that_is_missing(s3_url: str, place: Place) -> None:
    url = s3_url.replace("@tests", "@no-such-bucket")
    engine = S3Engine(place, url=url)
    for operation in (
        lambda: engine.get(b"k"),
        lambda: engine.contains(b"k"),
        lambda: engine.put(b"k", b"row"),
        lambda: engine.delete(b"k"),
        lambda: engine.compare_and_set(b"k", None, make_row()),
        lambda: list(engine.get_many([b"k"])),
        engine.count,
        engine.clear,
    ):
        with pytest.raises(EngineError, match=r"no such bucket.*create_bucket=True") as caught:
            operation()
        assert "only%2Ffor" not in str(caught.value)
    made = S3Engine(place, url=url, create_bucket=True)
    assert made.get(b"k") is None
    engine.put(b"k", b"row")
    assert made.get(b"k") == b"row"
    made.destroy()


def test_credentials_are_never_shown(own_s3: S3Server) -> None:
    said: Any = {"access_key": "ME", "secret_key": "quin/ces+1", "session_token": "zimt lars/2"}
    endpoint = f"http://127.0.0.1:{own_s3.port}"
    stash = HashStash("a", engine="s3", bucket="tests", endpoint_url=endpoint, **said)
    with pytest.raises(EngineError) as caught:
        stash["k"] = 1
    shown = [repr(stash), str(stash.path), str(stash.to_dict()), repr(caught.value)]
    pickled = pickle.dumps(stash)
    for secret in ("quin", "zimt"):
        assert not any(secret in text for text in shown)
        assert secret.encode() not in pickled
    again: Any = pickle.loads(pickled)
    engine: Any = stash._engine
    assert again._engine.same_client() == engine.same_client()
    assert Address.parse(again._engine.url.reveal("X")).secret_key == "quin/ces+1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs a bucket"),
        ({"bucket": "x"}, "three characters"),
        ({"url": "http://bucket"}, "s3://bucket/folder"),
        ({"url": "s3://bucket?enpoint_url=x"}, "Did you mean 'endpoint_url'"),
        ({"url": "s3://bucket", "bucket": "other"}, "contradict"),
        ({"bucket": "abc", "access_key": "a"}, "together"),
        ({"bucket": "abc", "endpoint_url": "localhost:9000"}, "http://localhost:9000"),
        ({"bucket": "abc", "endpoint_url": "http://a:hunter2@h"}, "credentials in it"),
        ({"bucket": "abc", "max_workers": 0}, "max_workers"),
        ({"bucket": "abc", "multipart_bytes": 1000}, "multipart_bytes"),
        ({"bucket": "abc", "timeout": -1}, "timeout"),
        ({"url": f"s3://abc/{'f' * 300}"}, "255 bytes"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        HashStash("a", engine="s3", **options)
    assert "hunter2" not in str(caught.value)


def test_a_profile_that_is_missing(place: Place) -> None:
    engine = S3Engine(place, bucket="abc", profile="nobody")
    with pytest.raises(ConfigurationError, match="nobody"):
        engine.get(b"k")


def test_the_environment_names_the_bucket(
    s3_url: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHSTASH_S3_URL", s3_url)
    with HashStash(place.name.replace("/", "-"), engine="s3") as stash:
        stash["k"] = 1
        assert stash["k"] == 1
        stash.clear()
    assert S3Engine(place, bucket="another").url.startswith("s3://tester:***@another?endpoint_url=")


def test_a_folder_in_the_bucket(s3_url: str, place: Place, raw: Any) -> None:
    engine = S3Engine(place, url=s3_url.replace("@tests", "@tests/my folder/deeper"))
    engine.put(b"k", b"row")
    assert list(raw.objects.filter(Prefix="my folder/deeper/own=20tests/"))
    engine.destroy()
    assert not list(raw.objects.filter(Prefix="my folder/"))


def test_remembers_a_bounded_number_of_tags(
    engine: S3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_link, "TAGS", 3)
    rows = {b"k%d" % n: make_row() for n in range(10)}
    for key, row in rows.items():
        engine.put(key, row)
        assert len(engine._held().client.tags) <= 3
    for key, row in rows.items():
        assert engine.compare_and_set(key, row[ETAG], make_row()) is True


# -- a stash --------------------------------------------------------------------------------


def test_a_stash(s3_url: str, place: Place) -> None:
    with HashStash("s3 tests", place.name, engine="s3", url=s3_url).tmp() as stash:
        stash[{"a", "set"}] = {"x": [1, 2.5, None]}
        assert stash[{"a", "set"}] == {"x": [1, 2.5, None]}
        assert stash.pop({"a", "set"}) == {"x": [1, 2.5, None]}
        assert stash.setdefault("k", 1) == 1
        stash.update({n: n * n for n in range(50)})
        assert len(stash) == 51
        assert pickle.loads(pickle.dumps(stash))[7] == 49
        with pytest.raises(SerializationError, match="safe=True"):
            stash["code"] = lambda: 1


def test_versions(s3_url: str, place: Place) -> None:
    stash = HashStash("s3 tests", place.name, engine="s3", url=s3_url, append_mode=True)
    with stash.tmp() as versioned:
        for number in range(4):
            versioned["k"] = number
        assert versioned.get_all("k") == [0, 1, 2, 3]
        del versioned["k"]
        assert versioned.get_all("k") is None


def test_a_temporary_stash_goes_with_its_process(s3_url: str, raw: Any) -> None:
    name = leave("s3", s3_url)
    assert not list(raw.objects.filter(Prefix=name))


def test_planted_rows_are_refused(s3_url: str, place: Place, raw: Any) -> None:
    stash = HashStash("s3 tests", place.name, engine="s3", url=s3_url)
    stash["k"] = "mine"
    (found,) = raw.objects.filter(Prefix=f"s3=20tests/{place.name.replace(' ', '=20')}/@entries/")
    for row in (b"HS", b"\0", b"cos\nsystem\n(S'true'\ntR.", os.urandom(200)):
        found.put(Body=row)
        with pytest.raises(CorruptRowError):
            stash["k"]
    found.put(Body=b"")
    assert "k" not in stash
    stash.clear()
