"""The redis engine at servers of every kind, and beside what else lives in them."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster as RawCluster
from servers import ServerMissingError, free_port, wait_until
from servers.fixtures import missing
from servers.redis import HOST, RedisCluster, RedisSentinel, RedisServer, find

from hashstash import HashStash
from hashstash.engines import ETAG, Place
from hashstash.engines.redis import RedisEngine
from hashstash.errors import EngineError, EngineUnavailableError
from hashstash.testing.processes import in_threads
from hashstash.testing.samples import is_sealed, make_row, number_row, row_number, sealed_row

Start = Callable[..., RedisServer]
PLACE = Place("/nowhere", "team/main")


def exercise(engine: RedisEngine) -> None:
    """Use everything an engine has."""
    rows = {b"k%d" % n: make_row(b"x" * n) for n in range(300)}
    engine.put_many(rows.items())
    row = rows[b"k0"]
    assert engine.compare_and_set(b"k0", row[ETAG], row)
    assert not engine.compare_and_set(b"k0", None, row)
    engine.put(b"k1", rows[b"k1"])
    assert engine.get(b"k1") == rows[b"k1"]
    assert dict(engine.items()) == rows
    assert engine.count() == 300
    assert engine.size_bytes() > 10_000
    assert engine.delete(b"k2")
    assert engine.delete_many([b"k3", b"k4"]) == 2
    engine.sibling("versions").put(b"v", row)
    engine.destroy()
    assert engine.count() == engine.sibling("versions").count() == 0
    engine.close()


# -- ways to a server -----------------------------------------------------------------------


def test_unix_socket(own_redis: Start, tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    own_redis(unixsocket=f'"{path}"')
    exercise(RedisEngine(PLACE, url=f"unix://{str(path).replace(' ', '%20')}?db=3"))
    path.unlink()
    with pytest.raises(EngineUnavailableError):
        RedisEngine(PLACE, url=f"unix://{path}").get(b"k")


def test_databases_are_apart(own_redis: Start) -> None:
    server = own_redis()
    one, two = (RedisEngine(PLACE, url=f"redis://{HOST}:{server.port}/{n}") for n in (1, 2))
    one.put(b"k", b"1")
    assert two.get(b"k") is None
    with pytest.raises(EngineError, match="DB index"):
        RedisEngine(PLACE, url=f"redis://{HOST}:{server.port}/99").get(b"k")


def test_passwords_and_users(own_redis: Start) -> None:
    server = own_redis(requirepass="p@ss/word", user="team on >t#am ~hashstash:* +@all -@dangerous")
    good = f"redis://:p%40ss%2Fword@{HOST}:{server.port}/0"
    exercise(RedisEngine(PLACE, url=good))
    exercise(RedisEngine(PLACE, url=f"redis://default:p%40ss%2Fword@{HOST}:{server.port}/0"))
    exercise(RedisEngine(PLACE, url=f"redis://team:t%23am@{HOST}:{server.port}/0"))
    for bad in (server.url, good.replace("word", "sword"), good.replace("://", "://team")):
        with pytest.raises(EngineError, match="Check the user name and password") as caught:
            RedisEngine(PLACE, url=bad).get(b"k")
        assert not isinstance(caught.value, EngineUnavailableError)
        assert "word@" not in str(caught.value)


def test_a_user_with_few_rights(own_redis: Start) -> None:
    few = "few on >few ~hashstash:* -@all +@hash +unlink +evalsha +eval +scan"
    reader = "reader on >reader ~hashstash:* -@all +@read"
    server = own_redis(user=f"{few}\nuser {reader}")
    exercise(RedisEngine(PLACE, url=f"redis://few:few@{HOST}:{server.port}/0"))
    engine = RedisEngine(PLACE, url=f"redis://reader:reader@{HOST}:{server.port}/0")
    assert engine.get(b"k") is None
    with pytest.raises(EngineError, match=r"An ACL user needs: ~hashstash:\*"):
        engine.put(b"k", b"row")


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        missing(ServerMissingError("No openssl on the path to make certificates with"))
    folder = tmp_path / "tls"
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    usage = ("-addext", "keyUsage=critical,keyCertSign")
    authority = ("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA")
    openssl("req", "-x509", *key, *authority, *usage)
    openssl("req", *key[:-2], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-days", "2", "-out", "server.crt")
    return folder


def test_tls(own_redis: Start, certificates: Path) -> None:
    files = {
        f"tls_{name}_file": str(certificates / file)
        for name, file in (("cert", "server.crt"), ("key", "server.key"), ("ca_cert", "ca.crt"))
    }
    port = str(free_port())
    own_redis(tls_port=port, tls_auth_clients="no", requirepass="pw", **files)
    url = f"rediss://:pw@{HOST}:{port}/0"
    exercise(RedisEngine(PLACE, url=f"{url}?ssl_ca_certs={certificates}/ca.crt"))
    exercise(RedisEngine(PLACE, url=f"{url}?ssl_cert_reqs=none"))
    with pytest.raises(EngineUnavailableError, match="certificate verify failed"):
        RedisEngine(PLACE, url=url).get(b"k")
    with pytest.raises(EngineUnavailableError, match="certificate verify failed"):
        wrong = f"rediss://:pw@localhost:{port}/0?ssl_ca_certs={certificates}/ca.crt"
        RedisEngine(PLACE, url=wrong).get(b"k")
    with pytest.raises(EngineError):
        RedisEngine(PLACE, url=url.replace("rediss", "redis"), timeout=1).get(b"k")


def test_sentinel(own_redis: Start, tmp_path: Path) -> None:
    secrets = {"requirepass": "pw", "masterauth": "pw"}
    master = own_redis(**secrets)
    replica = own_redis(replicaof=f"{HOST} {master.port}", repl_diskless_sync_delay="0", **secrets)
    folder = tmp_path / "sentinel"
    folder.mkdir()
    sentinel = RedisSentinel(
        folder, master, "team", sentinel="auth-pass team pw", requirepass="spw"
    )
    with sentinel:
        engine = RedisEngine(
            PLACE,
            url=f"redis+sentinel://:pw@{HOST}:{sentinel.port},{HOST}:1/team/0?sentinel_password=spw",
        )
        exercise(engine)
        engine.put(b"k", b"row")
        with redis.Redis(HOST, replica.port, password="pw") as raw:
            wait_until(lambda: raw.dbsize() == 1, "the replica to follow")
        with redis.Redis(HOST, sentinel.port, password="spw") as raw:
            known = raw.sentinel_slaves
            wait_until(lambda: len(known("team")) == 1, "the Sentinel to find the replica")
        master.kill()
        wait_until(lambda: puts(engine), "the replica to be made master")
        assert engine.get(b"k") == b"row"
        assert engine.get(b"after") == b"row"
        engine.close()
    with pytest.raises(EngineUnavailableError, match="No master found"):
        RedisEngine(PLACE, url=f"redis+sentinel://{HOST}:1/team").get(b"k")


def puts(engine: RedisEngine) -> bool:
    try:
        engine.put(b"after", b"row")
    except EngineUnavailableError:
        return False
    return True


# -- what else lives there ------------------------------------------------------------------


def test_foreign_data_beside(own_redis: Start) -> None:
    server = own_redis()
    engine = RedisEngine(PLACE, url=server.url)
    with redis.Redis.from_url(server.url) as raw:
        pipe = raw.pipeline(transaction=False)
        for number in range(5000):
            pipe.set(f"other:{number}", "x")
        pipe.execute()
        raw.hset("hashstash:{team/main:00}", "field", "x")
        raw.hset("hashstash:{team/main", "field", "x")
        raw.hset("team/main", "field", "x")
        raw.set("hashstash:", "x")
        foreign = raw.dbsize()
        engine.put_many([(b"k%d" % n, b"row") for n in range(1000)])
        engine.sibling("versions").put(b"k", b"row")
        assert engine.count() == len(list(engine.keys())) == 1000
        engine.clear()
        assert engine.count() == 0
        assert raw.dbsize() == foreign + 1
        engine.put(b"k", b"row")
        engine.destroy()
        assert raw.dbsize() == foreign - 1  # one of them had a name of ours


GLOBS = ["a*", "*", "?", "a?", "[ab]", "[^a]", "a\\*"]
TAGS = ["{a}", "{a", "a}", "a{b}c", "a:00", "a:00}:entries", "}:entries"]
PATHS = ["a", "a/b", "a/b/c", "ab", "a.b", "a:b", "..", "~", "a%2Ab", "a%", " a", "a ", "A", "-"]
TEXTS = ["ä", "a\u0308", "日本", "\U0001f600", "\udc80", "a\nb", "a\0b", "x" * 3000]
NAMES = GLOBS + TAGS + PATHS + TEXTS


@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_stashes_with_hostile_names_stay_apart(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("redis_url" if kind == "single" else "redis_cluster_url")
    engines = {n: RedisEngine(Place("/nowhere", tmp_path.name + n), url=url) for n in NAMES}
    tables = {n: engines["a"].sibling(n) for n in NAMES}
    for number, (name, engine) in enumerate(engines.items()):
        engine.put_many([(b"k", b"%d" % number), (b"%d" % number, b"own")])
        tables[name].put(b"t", b"%d" % number)
    for number, (name, engine) in enumerate(engines.items()):
        assert dict(engine.items()) == {b"k": b"%d" % number, b"%d" % number: b"own"}
        assert dict(tables[name].items()) == {b"t": b"%d" % number}
    for half, rest in ((GLOBS + TAGS, PATHS + TEXTS), (PATHS + TEXTS, [])):
        for name in half:
            engines[name].destroy()
        assert {engines[name].count() for name in half} == {0}
        assert {engines[name].count() for name in rest} <= {2}
        assert {table.count() for table in tables.values()} == {1 if "a" in rest else 0}


def test_names_say_where_rows_are(own_redis: Start) -> None:
    server = own_redis()
    with redis.Redis.from_url(server.url) as raw:
        RedisEngine(Place("/nowhere", "team/ä*"), url=server.url).put(b"k", b"row")
        assert raw.keys() == [b"hashstash:{team/%C3%A4%2A:5d}:entries"]
        assert raw.hgetall("hashstash:{team/%C3%A4%2A:5d}:entries") == {b"k": b"row"}


def test_a_server_that_may_evict_is_named_once(own_redis: Start) -> None:
    server = own_redis(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    with pytest.warns(RuntimeWarning, match="may evict entries.*allkeys-lru"):
        RedisEngine(PLACE, url=server.url).put(b"k", b"row")
    again = RedisEngine(PLACE, url=server.url, timeout=9)
    again.put(b"k", b"row")
    with redis.Redis.from_url(server.url) as raw:
        raw.config_set("maxmemory", 0)
        other = RedisEngine(PLACE, url=f"redis://{HOST}:{server.port}/1")
        other.put(b"k", b"row")  # no bound, no eviction, no warning


# -- clusters -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    try:
        cluster = RedisCluster(tmp_path_factory.mktemp("own-cluster"))
    except ServerMissingError as exc:
        missing(exc)
    with cluster:
        yield cluster


def test_one_stash_is_spread_over_a_cluster(own_cluster: RedisCluster) -> None:
    engine = RedisEngine(PLACE, url=own_cluster.url)
    engine.put_many([(b"k%d" % n, b"row") for n in range(2000)])
    versions = engine.sibling("versions")
    versions.put_many([(b"k%d" % n, b"row") for n in range(2000)])
    names: set[bytes] = set()
    for node in own_cluster.nodes:
        with redis.Redis.from_url(node.url) as raw:
            mine = set(raw.scan_iter(b"hashstash:*", count=1000))
        assert 2 * 256 / 3 * 0.7 < len(mine) < 2 * 256 / 3 * 1.3
        tags = {name.partition(b"}")[0] for name in mine}
        assert 2 * len(tags) == len(mine), "rows of one key are on one node in all tables"
        names |= mine
    assert len(names) == 512
    with RawCluster.from_url(own_cluster.url) as raw_cluster:
        raw_cluster.set("other", "x")
        engine.destroy()
        assert list(raw_cluster.scan_iter(count=1000)) == [b"other"]
        raw_cluster.execute_command("DEL", "other")


def test_cluster_urls(own_cluster: RedisCluster) -> None:
    one, two, three = (node.port for node in own_cluster.nodes)
    exercise(RedisEngine(PLACE, url=f"redis+cluster://{HOST}:{two},{HOST}:{one}/0"))
    exercise(RedisEngine(PLACE, url=f"redis+cluster://{HOST}:1,{HOST}:{three}"))
    with pytest.raises(EngineError, match="cluster mode"):
        RedisEngine(PLACE, url=f"redis://{HOST}:{one}/1").get(b"k")


def test_slots_that_move_under_a_load(own_cluster: RedisCluster) -> None:
    engines = [RedisEngine(PLACE, url=own_cluster.url, timeout=10 + n) for n in range(3)]
    done = threading.Event()
    steady = {b"steady %d" % n: sealed_row(b"steady %d" % n) for n in range(500)}
    engines[0].put_many(steady.items())
    swaps = [0, 0]

    def write(part: int) -> None:
        engine = engines[part]
        while not done.is_set():
            for number in range(part, 500, 2):
                key = b"steady %d" % number
                engine.put(key, sealed_row(key))
            row = engine.get(b"counter")
            etag = None if row is None else row[ETAG]
            new = number_row(row_number(row) + 1)
            swaps[part] += engine.compare_and_set(b"counter", etag, new)

    def look() -> None:
        while not done.is_set():
            rows = dict(engines[2].items())
            rows.pop(b"counter", None)
            assert rows.keys() == steady.keys()
            assert all(is_sealed(key, row) for key, row in rows.items())

    def move() -> None:
        try:
            for source, sink in ((0, 1), (2, 0)):
                reshard(own_cluster, source, sink, 1000)
        finally:
            done.set()

    jobs: list[Callable[[], None]] = [lambda: write(0), lambda: write(1), look, move]
    in_threads(lambda job: job(), [(job,) for job in jobs])
    assert row_number(engines[2].get(b"counter")) == sum(swaps)
    engines[0].destroy()


def reshard(cluster: RedisCluster, source: int, sink: int, slots: int) -> None:
    """Move slots, with all that is in them, from one node to another."""
    ids = [node.ask("CLUSTER MYID").split()[1] for node in cluster.nodes]
    subprocess.run(
        [
            find("redis-cli"), "--cluster", "reshard", f"{HOST}:{cluster.nodes[0].port}",
            "--cluster-from", ids[source], "--cluster-to", ids[sink],
            "--cluster-slots", str(slots), "--cluster-yes",
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    wait_until(cluster.agreed, "the nodes to agree on the slots")


def test_a_node_that_dies_and_comes_back(own_cluster: RedisCluster) -> None:
    engine = RedisEngine(PLACE, url=own_cluster.url)
    keys = [b"k%d" % n for n in range(60)]
    engine.put_many((key, sealed_row(key)) for key in keys)
    own_cluster.nodes[1].kill()
    outcomes = {outcome(partial(engine.get, key)) for key in keys}
    assert outcomes == {"row", "unavailable"}
    assert outcome(lambda: engine.put_many((key, b"row") for key in keys)) == "unavailable"
    assert outcome(engine.count) == "unavailable"
    own_cluster.nodes[1].start()
    wait_until(own_cluster.agreed, "the node to be back")
    engine.put_many((key, sealed_row(key)) for key in keys)
    assert all(is_sealed(key, row) for key, row in engine.items())
    assert engine.count() == 60
    engine.destroy()


def outcome(operation: Callable[[], Any]) -> str:
    try:
        operation()
    except EngineUnavailableError:
        return "unavailable"
    return "row"


def test_a_stash_in_a_cluster(own_cluster: RedisCluster) -> None:
    with HashStash("team", engine="redis", url=own_cluster.url, append_mode=True) as stash:
        stash["k"] = [1]
        stash["k"] = [2]
        assert stash.get_all("k") == [[1], [2]]
        stash.clear()
        assert len(stash) == 0
