"""What engines over a network share: URLs without passwords, clients, errors."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

from hashstash import HashStash
from hashstash.engines import Engine, Place
from hashstash.engines import remote as remote_module
from hashstash.engines.redis import RedisEngine
from hashstash.engines.redis_url import parse
from hashstash.engines.remote import SecretUrl
from hashstash.errors import ConfigurationError, EngineUnavailableError

SECRET = "s3cr%2Ft-pa55"
PLAIN = "s3cr/t-pa55"
FULL = f"redis://reader:{SECRET}@127.0.0.1:6379/0"
SHOWN = "redis://reader:***@127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:pw@host", "redis://:***@host"),
        ("redis://user@host", "redis://user@host"),
        ("rediss://user:pw@host:1/2?db=3", "rediss://user:***@host:1/2?db=3"),
        ("redis+sentinel://:pw@a:1,b:2/main/0", "redis+sentinel://:***@a:1,b:2/main/0"),
        ("redis+sentinel://a/m?sentinel_password=pw", "redis+sentinel://a/m?sentinel_password=***"),
        ("unix:///run/redis.sock?password=pw&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("unix://user:pw@/run/redis.sock", "unix://user:***@/run/redis.sock"),
        ("redis://:pw@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
        ("redis://:p%40:w@host", "redis://:***@host"),
        ("redis://a:b@c:pw@host", "redis://a:***@host"),
        ("mongodb+srv://me:pw@cluster.example/", "mongodb+srv://me:***@cluster.example/"),
        ("mongodb://me:pw@a:1,b:2/?replicaSet=r", "mongodb://me:***@a:1,b:2/?replicaSet=r"),
        ("mongodb://a/?tlsCertificateKeyFilePassword=pw", "mongodb://a/?tlsCertificateKeyFilePassword=***"),
        ("mongodb://a/?authMechanismProperties=AWS_SESSION_TOKEN:pw", "mongodb://a/?authMechanismProperties=***"),
        ("s3://key:pw@host/bucket", "s3://key:***@host/bucket"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)  # fmt: skip
def test_urls_show_no_password(url: str, shown: str) -> None:
    found = SecretUrl(url)
    assert found == shown
    assert str(found) == shown
    assert f"{found}" == shown
    assert json.loads(json.dumps(found)) == shown
    assert "pw" not in repr([found])
    assert found.reveal("HASHSTASH_NOBODY_URL") == url
    assert SecretUrl(found) is found
    assert copy.deepcopy(found).reveal("HASHSTASH_NOBODY_URL") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "redis:/host",
        "redis://:topsecret/x@host:6379/0",
        "redis://:topsecret#x@host:6379/0",
        "redis://:topsecret?x@host:6379/0",
        "redis://:12345/topsecret@host:6379/0",
        "redis://user:12345#topsecret@host",
        "redis://host:topsecret",
        "mongodb://u:topsecret/2@host/db",
    ],
)
def test_urls_that_cannot_be_read_are_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SecretUrl(url)
    assert "topsecret" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_part_of_a_password_is_no_name() -> None:
    with pytest.raises(ConfigurationError) as caught:
        HashStash("redis://:12345#topsecret@host:6379/0")
    assert "topsecret" not in str(caught.value)


def test_pickles_have_no_password_and_find_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    url = SecretUrl("redis://:found-again@host")
    pickled = pickle.dumps(url)
    assert b"found-again" not in pickled
    assert pickle.loads(pickled).reveal("HASHSTASH_REDIS_URL") == "redis://:found-again@host"
    monkeypatch.setattr(remote_module, "_given_here", {})
    elsewhere = pickle.loads(pickled)
    with pytest.raises(ConfigurationError, match="Set HASHSTASH_REDIS_URL"):
        elsewhere.reveal("HASHSTASH_REDIS_URL")
    monkeypatch.setenv("HASHSTASH_REDIS_URL", "redis://:of-another@other-host")
    with pytest.raises(ConfigurationError, match="Set HASHSTASH_REDIS_URL") as caught:
        elsewhere.reveal("HASHSTASH_REDIS_URL")
    assert "of-another" not in str(caught.value)
    monkeypatch.setenv("HASHSTASH_REDIS_URL", "redis://:found-again@host")
    assert elsewhere.reveal("HASHSTASH_REDIS_URL") == "redis://:found-again@host"


def test_a_stash_shows_its_password_nowhere() -> None:
    stash = HashStash("team", engine="redis", url=FULL)
    assert repr(stash) == f"RedisHashStash({SHOWN}#team/main)"
    assert stash.path == f"{SHOWN}#team/main"
    assert stash.to_dict()["url"] == SHOWN
    shown = [
        repr(stash),
        stash.path,
        repr(stash.to_dict()),
        repr(vars(stash)),
        str(stash._settings),
    ]
    shown.append(json.dumps(stash.to_dict()))
    shown.append(pickle.dumps(stash).decode("latin-1"))
    shown.append(repr(stash.sub("more").to_dict()) if hasattr(stash, "sub") else "")
    for text in shown:
        assert SECRET not in text
        assert PLAIN not in text
    for again in (HashStash.from_dict(stash.to_dict()), pickle.loads(pickle.dumps(stash))):
        assert again.path == stash.path
        assert _engine(again).url.reveal("") == FULL


def _engine(stash: HashStash) -> RedisEngine:
    engine = stash._engine
    assert isinstance(engine, RedisEngine)
    return engine


def test_errors_show_no_password() -> None:
    port = free_port()
    url = f"redis://reader:{SECRET}@127.0.0.1:{port}/0"
    engine = RedisEngine(Place("/nowhere", "team/main"), url=url)
    with pytest.raises(EngineUnavailableError) as caught:
        engine.get(b"k")
    error: BaseException | None = caught.value
    assert f"redis://reader:***@127.0.0.1:{port}/0" in str(error)
    assert "Check that the server runs" in str(error)
    assert caught.value.engine == "redis"
    assert caught.value.operation == "connect"
    assert type(caught.value.__cause__).__module__.startswith("redis.")
    while error is not None:
        assert SECRET not in str(error)
        assert PLAIN not in str(error)
        error = error.__cause__
    hidden = engine.failure("get", ValueError(f"{url} and {SECRET} and {PLAIN}"))
    assert SECRET not in str(hidden)
    assert PLAIN not in str(hidden)


def test_urls_name_the_engine_and_the_stash(monkeypatch: pytest.MonkeyPatch) -> None:
    stash = HashStash("redis://127.0.0.1:6379/3#team/of%20two")
    assert stash.path == "redis://127.0.0.1:6379/3#team/of%20two"
    assert _engine(stash).place.name == "team/of two"
    assert HashStash(stash.path).path == stash.path
    assert (
        HashStash("unix:///run/redis.sock", "db").path == "unix:///run/redis.sock#default_stash/db"
    )
    assert HashStash("rediss://h", dbname="db").path == "rediss://h#default_stash/db"
    assert HashStash("redis+sentinel://h/s#a").path == "redis+sentinel://h/s#a/main"
    with pytest.raises(ConfigurationError, match="contradict"):
        HashStash("redis://h#team/one", dbname="two")
    with pytest.raises(ConfigurationError, match="contradict") as caught:
        HashStash("redis://:pw1@h", url="redis://:pw2@h")
    assert "pw" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="contradict"):
        HashStash("redis://h", engine="memory")
    monkeypatch.setenv("HASHSTASH_REDIS_URL", "redis://:pw3@elsewhere:7000/1")
    stash = HashStash(engine="redis")
    assert stash.path == "redis://:***@elsewhere:7000/1#default_stash/main"
    monkeypatch.setenv("HASHSTASH_REDIS_URL", "redis://changed")
    assert pickle.loads(pickle.dumps(stash)).path == stash.path
    monkeypatch.delenv("HASHSTASH_REDIS_URL")
    assert HashStash(engine="redis").path == "redis://localhost:6379/0#default_stash/main"


def test_url_options_name_no_stash(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="first argument"):
        HashStash(engine="redis", url="redis://:pw@host/0#team/main")
    monkeypatch.setenv("HASHSTASH_REDIS_URL", "redis://:pw@host/0#team/main")
    with pytest.raises(ConfigurationError, match="HASHSTASH_REDIS_URL"):
        HashStash(engine="redis")
    with pytest.raises(TypeError, match="url is text"):
        HashStash(engine="redis", url=7)


@pytest.mark.parametrize("timeout", [0, -1, "5", None, float("inf"), float("nan")])
def test_timeouts_are_numbers(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        RedisEngine(Place("/nowhere", "a"), timeout=timeout)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://host", "http:// is no Redis URL"),
        ("redis+cluster2://host", "is no Redis URL"),
        ("unix+cluster:///a", "is no Redis URL"),
        ("redis://host/main", "a number"),
        ("redis://host/-1", "a number"),
        ("redis://host?db=x", "a number"),
        ("redis://host?pasword=x", "Did you mean 'password'"),
        ("redis://host?ssl_ca_certs=x", "Unknown argument"),
        ("redis://host?decode_responses=true", "Unknown argument"),
        ("rediss://host?ssl_check_hostname=maybe", "true or false"),
        ("redis://one,two", "Several hosts"),
        ("redis+cluster://host/1", "database 0"),
        ("redis+sentinel://host", "names the service"),
        ("unix://", "followed by the path"),
    ],
)
def test_misspelt_redis_urls(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        HashStash(engine="redis", url=url)


def test_parts_of_redis_urls() -> None:
    said = parse(
        "rediss+sentinel://me:p%40w@[::1]:1,two/main%2F/4?sentinel_password=sp&client_name=c"
    )
    assert (said.kind, said.tls, said.service, said.db) == ("sentinel", True, "main/", 4)
    assert said.hosts == [("::1", 1), ("two", 26379)]
    assert said.arguments == {
        "username": "me", "password": "p@w", "client_name": "c", "ssl_check_hostname": True,
    }  # fmt: skip
    assert said.sentinel == {"password": "sp"}
    said = parse("unix://me:pw@/run/my%20redis.sock?db=2")
    assert (said.path, said.db, said.hosts) == ("/run/my redis.sock", 2, [])
    assert said.arguments == {"username": "me", "password": "pw"}
    assert parse("redis://").hosts == [("localhost", 6379)]
    assert parse("redis+cluster://a:1,b:2").hosts == [("a", 1), ("b", 2)]


# -- clients --------------------------------------------------------------------------------


@pytest.fixture
def at(redis_url: str, tmp_path: Path) -> Callable[..., RedisEngine]:
    def build(name: str, **options: Any) -> RedisEngine:
        return RedisEngine(Place("/nowhere", f"{tmp_path.name}/{name}"), url=redis_url, **options)

    return build


def _client(engine: RedisEngine) -> object:
    return engine._held().client


def test_engines_of_one_server_share_a_client(at: Callable[..., RedisEngine]) -> None:
    one, two, patient = at("one"), at("two"), at("one", timeout=60)
    try:
        assert _client(one) is _client(two)
        assert _client(one) is _client(one.sibling("versions"))
        assert _client(one) is not _client(patient)
    finally:
        for engine in (one, two, patient):
            engine.close()


def test_another_password_is_another_client(redis_url: str) -> None:
    place = Place("/nowhere", "a/b")
    one = RedisEngine(place, url=redis_url.replace("://", "://:one@"))
    two = RedisEngine(place, url=redis_url.replace("://", "://:two@"))
    assert one.url == two.url
    assert one.same_client() != two.same_client()


def _sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are not listed here")
def test_the_last_engine_closes_the_client(at: Callable[..., RedisEngine]) -> None:
    gc.collect()
    before = _sockets()
    one, two = at("one", timeout=7), at("two", timeout=7)
    assert _sockets() == before
    one.put(b"k", b"row")
    assert two.get(b"k") is None
    assert _sockets() == before + 1
    one.close()
    assert two.get(b"k") is None
    assert _sockets() == before + 1
    two.close()
    assert _sockets() == before
    assert one.delete(b"k")
    assert _sockets() == before + 1
    del one, two
    assert _sockets() == before


def test_threads_that_open_at_once_share_a_client(at: Callable[..., RedisEngine]) -> None:
    from hashstash.testing.processes import in_threads

    engines = [at("one", timeout=8) for _ in range(8)]
    clients = in_threads(_client, [(engine,) for engine in engines])
    assert len(set(map(id, clients))) == 1
    for engine in engines:
        engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_opens_its_own_client_and_leaves_the_parents_alone(
    at: Callable[..., RedisEngine],
) -> None:
    from hashstash.testing.processes import Child

    engine, other = at("one"), at("other")
    engine.put(b"k", b"row")
    other.put(b"k", b"row")
    client = _client(engine)
    for _ in range(3):
        parents, shared = Child("fork", _use_in_child, engine, other).result()
        assert parents is False
        assert shared is True
        assert _client(engine) is client
        assert engine.get(b"k") == b"row"
    engine.delete(b"k")
    other.delete(b"k")


def _use_in_child(engine: RedisEngine, other: RedisEngine) -> tuple[bool, bool]:
    assert engine._target is not None
    parents = engine._target.client
    assert engine.get(b"k") == b"row"
    same = engine._target.client is parents
    shared = _client(engine) is _client(other)
    engine.close()
    other.close()
    gc.collect()
    return same, shared


def test_importing_hashstash_imports_no_client() -> None:
    code = (
        "import sys, hashstash; hashstash.HashStash('x', engine='memory'); "
        "clients = {'redis', 'pymongo', 'boto3', 'hashstash.engines.remote'}; "
        "print(sorted(clients & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_base_engines_complete_nothing() -> None:
    assert Engine.complete({"a": 1}) == {"a": 1}
