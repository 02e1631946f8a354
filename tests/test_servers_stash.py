"""Stashes on real servers, shared by processes that know nothing of each other."""

from __future__ import annotations

import os
import pickle
import struct
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest
from servers.raw import RAW, Raw
from servers.work import append, compete, fill, note_and_square, noted, work_through
from stashes import MakeStash

from hashstash import CorruptRowError, HashStash, SerializationError, UntrustedRowError
from hashstash.engines import Engine
from hashstash.errors import ConfigurationError
from hashstash.near import NearEngine
from hashstash.rows import codec_header, seal

SERVERS = {"redis": "redis", "redis_cluster": "redis", "mongo": "mongo", "s3": "s3"}
"""Kinds of servers, and the engine for each."""

PROCESSES = 4
KEYS = ["of a team, " * 3, "of another " * 3]


@dataclass
class Team:
    """One kind of server, named by the environment as a team would have it.

    Attributes:
        kind: which one.
        engine: the engine for it.
        url: where it is.
        pool: processes that were spawned where the environment named the server.
    """

    kind: str
    engine: str
    url: str
    pool: ProcessPoolExecutor


@pytest.fixture(scope="module", params=SERVERS)
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    engine = SERVERS[request.param]
    url = request.getfixturevalue(f"{request.param}_url")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"HASHSTASH_{engine.upper()}_URL", url)
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
            list(pool.map(time.sleep, [0.2] * PROCESSES))  # so that all of them start
            yield Team(request.param, engine, url, pool)


@pytest.fixture
def make(team: Team) -> Iterator[MakeStash]:
    """Return what makes stashes of one name, which nobody else uses; removed at the end."""
    made: list[HashStash] = []
    name = f"team-{uuid4().hex[:12]}"

    def build(root: str = "", **settings: Any) -> HashStash:
        made.append(HashStash(f"{name}{root}", **{"engine": team.engine, **settings}))
        return made[-1]

    yield build
    for stash in made:
        stash._engine.destroy()


@pytest.fixture
def stash(make: MakeStash) -> HashStash:
    return make()


# -- versions --------------------------------------------------------------------------------


def test_appends_of_processes_are_numbered_without_gaps(team: Team, make: MakeStash) -> None:
    stash, count = make(append_mode=True), 6
    jobs = [team.pool.submit(append, stash, n, count) for n in range(PROCESSES)]
    assert [job.result() for job in jobs] == [None] * PROCESSES
    total = PROCESSES * count
    assert stash.versions("shared") == list(range(1, total + 1))
    found = stash.get_all("shared")
    assert found is not None
    assert len(found) == len(set(found)) == total
    for n in range(PROCESSES):
        assert [step for writer, step in found if writer == n] == list(range(count))
        assert stash.get_all(f"own {n}") == list(range(count))


def test_versions(make: MakeStash) -> None:
    stash = make(append_mode=True)
    key = {"name": "cat"}
    for n in range(1, 6):
        stash[key] = n * 10
    stash["other"] = "one"
    assert stash[key] == 50
    assert stash.get_all(key) == [10, 20, 30, 40, 50]
    assert stash.get(key, version=2) == 20
    assert stash.get(key, "none", version=6) == "none"
    told = stash.get_all(key, with_metadata=True)
    assert told is not None
    assert [one["_version"] for one in told] == [1, 2, 3, 4, 5]
    assert len(stash) == 2
    assert sorted(map(str, stash.values(all_versions=True))) == [
        "10",
        "20",
        "30",
        "40",
        "50",
        "one",
    ]
    assert stash.prune_versions(keep=2) == 3
    assert stash.versions(key) == [4, 5]
    del stash[key]
    assert key not in stash
    assert stash.get_all(key) is None
    stash[key] = "new"
    assert stash.get_all(key) == ["new"]
    assert make(append_mode=True).get_all(key) == ["new"]


# -- trust -----------------------------------------------------------------------------------


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_a_stash_that_others_can_write_to_keeps_data_only(make: MakeStash) -> None:
    stash = make()
    assert stash.to_dict()["safe"] is True
    stash["data"] = {"a": [1, 2.5, {3}], (4,): None}
    for value in (Point(1), lambda x: x, textwrap.dedent):
        with pytest.raises(SerializationError, match="safe=True"):
            stash["code"] = value
    assert "code" not in stash
    for serializer in ("pickle", "jsonpickle"):
        with pytest.raises(ConfigurationError, match="signing_keys"):
            make(serializer=serializer)


def test_who_shares_signing_keys_may_share_code(team: Team, make: MakeStash) -> None:
    ours, theirs = make(safe=False, signing_keys=KEYS), make(safe=False, signing_keys=KEYS[::-1])
    ours["point"] = Point(3)
    ours["function"] = lambda x: x + 1
    assert theirs["point"].x == 3
    assert theirs["function"](1) == 2
    for stranger in (make(), make(safe=False, signing_keys=["z" * 20]), make(safe=False)):
        for key in ("point", "function"):
            with pytest.raises(UntrustedRowError):
                stranger[key]
    # a namespace is part of a signature
    same_rows = make(safe=False, signing_keys=KEYS, namespace="another")
    with pytest.raises(UntrustedRowError):
        same_rows["point"]


class Command:
    """Pickles as a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def resealed(row: bytes, stored: bytes) -> bytes:
    """Return ``row`` with the checksum that it needs under another key."""
    return row[:4] + struct.pack("<I", crc32(row[8:], crc32(stored, crc32(row[:4])))) + row[8:]


@pytest.fixture
def raw(team: Team, stash: HashStash) -> Iterator[Raw]:
    """Return the raw client; what it plants, every stash of this test meets."""
    client = RAW[team.kind](team.url, stash._engine.place.name)
    yield client
    client.close()


def is_refused(stash: HashStash, error: type[Exception]) -> None:
    """No way to read what is under ``bad`` gives a value, and all else is as it was."""
    for read in (
        lambda: stash["bad"],
        lambda: stash.get("bad"),
        lambda: stash.get_many(["good", "bad"]),
        lambda: stash.pop("bad"),
        lambda: stash.setdefault("bad", 1),
        lambda: list(stash.values()),
        lambda: list(stash.items()),
    ):
        with pytest.raises(error):
            read()
    assert stash["good"] == [1]
    assert [one.key for one in stash.verify()] == ["bad"]


@pytest.mark.parametrize("safe", [True, False])
def test_a_planted_pickle_is_refused(
    make: MakeStash, stash: HashStash, raw: Raw, tmp_path: Path, safe: bool
) -> None:
    stash["good"] = [1]
    stored, payload = stash.encode_key("bad"), pickle.dumps(Command(tmp_path / "mark"))
    reader = make(safe=safe)
    raw.plant(stored, seal(stored, codec_header("pickle"), payload))
    is_refused(reader, UntrustedRowError)
    raw.plant(stored, seal(stored, codec_header("pickle"), payload, b"", lambda *_: bytes(32)))
    is_refused(reader, UntrustedRowError)
    raw.plant(stored, payload + bytes(32))
    is_refused(reader, CorruptRowError)
    assert not (tmp_path / "mark").exists()


def test_a_row_that_was_moved_is_refused(make: MakeStash, raw: Raw) -> None:
    stash = make(safe=False, signing_keys=KEYS)
    stash["good"] = [1]
    stash["code"] = textwrap.dedent
    stored, row = stash.encode_key("bad"), raw.read(stash.encode_key("code"))
    raw.plant(stored, row)
    is_refused(stash, CorruptRowError)
    raw.plant(stored, resealed(row, stored))
    is_refused(stash, UntrustedRowError)
    assert stash["code"] is textwrap.dedent


def test_flipped_bytes_are_refused(stash: HashStash, raw: Raw) -> None:
    stash.update({"good": [1], "bad": {"text": "x" * 100}})
    stored = stash.encode_key("bad")
    row = raw.read(stored)
    for place in {*range(0, len(row), 20), len(row) - 1}:
        raw.plant(stored, row[:place] + bytes((row[place] ^ 16,)) + row[place + 1 :])
        with pytest.raises(CorruptRowError):
            stash["bad"]
    for cut in (0, 5, 40, len(row) - 1):
        raw.plant(stored, row[:cut] + bytes(cut == 0))
        with pytest.raises(CorruptRowError):
            stash["bad"]
    is_refused(stash, CorruptRowError)
    assert [one.key for one in stash.repair()] == ["bad"]
    assert dict(stash) == {"good": [1]}


def copies_of(stash: HashStash) -> Engine:
    """Return the engine in which a near cache keeps its copies."""
    assert isinstance(stash._engine, NearEngine)
    return stash._engine.copies._rows


@pytest.mark.parametrize("mode", ["validated", "immutable"])
def test_what_is_planted_is_refused_through_a_near_cache(
    make: MakeStash, raw: Raw, tmp_path: Path, mode: str
) -> None:
    stash = make(near=HashStash(tmp_path / "near", engine="lmdb"), near_mode=mode)
    stash["good"] = [1]
    stored, payload = stash.encode_key("bad"), pickle.dumps(Command(tmp_path / "mark"))
    planted = seal(stored, codec_header("pickle"), payload)
    raw.plant(stored, planted)
    for _ in range(2):  # from the server, and what there may be of it close by
        is_refused(stash, UntrustedRowError)
    good = stash.encode_key("good")
    assert stash["good"] == [1]
    copies_of(stash).put(good, seal(good, codec_header("pickle"), payload))
    if mode == "immutable":  # nobody is asked: what is there is refused
        with pytest.raises(UntrustedRowError):
            stash["good"]
    else:
        assert stash["good"] == [1]
    copies_of(stash).put(good, raw.read(good)[:-1] + b"?")
    assert stash["good"] == [1]
    assert not (tmp_path / "mark").exists()


# -- processes -------------------------------------------------------------------------------


def test_a_stash_travels_to_processes(team: Team, stash: HashStash) -> None:
    stash["from the parent"] = "hello"
    expected = {"safe": True, "sees": "hello", "at": repr(stash)}
    told = list(team.pool.map(fill, [stash] * PROCESSES, range(PROCESSES)))
    assert told == [expected] * PROCESSES
    assert len(stash) == 1 + 20 * PROCESSES
    assert stash["3.19"] == (3, 19)
    for secret in (b"only/for+tests", b"only%2Ffor%2Btests"):
        assert secret not in pickle.dumps(stash)


def test_setdefault_and_pop_have_one_winner(team: Team, stash: HashStash) -> None:
    rounds = 8
    stash.update({f"pop {n}": n for n in range(rounds)})
    jobs = [team.pool.submit(compete, stash, n, rounds) for n in range(PROCESSES)]
    told = [job.result() for job in jobs]
    for n in range(rounds):
        assert {given[n] for given, _ in told} == {stash[f"set {n}"]}
        assert sorted(str(popped[n]) for _, popped in told) == sorted(["None"] * 3 + [str(n)])
    assert len(stash) == rounds


# -- functions -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def test_each_call_runs_once_in_all_processes(team: Team, stash: HashStash, folder: Path) -> None:
    keys = 10
    jobs = [
        team.pool.submit(work_through, stash, str(folder), keys, n * 3) for n in range(PROCESSES)
    ]
    assert [job.result() for job in jobs] == [[n * n for n in range(keys)]] * PROCESSES
    assert noted(folder) == list(range(keys))
    results = stash.stashed_result(note_and_square, ignore=["folder"]).stash
    assert list(results._engine.sibling("leases").keys()) == []
    assert work_through(stash, "nowhere", keys, 0) == [n * n for n in range(keys)]
    assert noted(folder) == list(range(keys))
