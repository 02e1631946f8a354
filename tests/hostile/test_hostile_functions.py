"""What may be planted beside a function's results: results, states, leases, maps, failures."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import HashStash
from hashstash.engines import Engine
from hashstash.errors import CorruptRowError, UntrustedRowError
from hashstash.keys import stored_key
from hashstash.rows import META, codec_header, pack_field, seal

from .planting import body_of, codes, disguised, forged, resealed, unsigned


def square(x: int) -> int:
    return x * x


def failing(x: int) -> int:
    raise ValueError(x)


def junk(key: bytes, mark: str) -> Iterator[bytes]:
    """Yield rows that mean nothing, or something bad, in a table of a feature."""
    yield from (b"", b"HS", b"HS\1\0", bytes(100))
    for codec, payload in {**codes(mark), **disguised(mark)}.values():
        yield unsigned(key, codec, payload)
        yield forged(key, codec, payload, os.urandom(32))
    for payload in (b"", b"[", b"[]", b"null", b"1", b'"x"', b"\xff", b"[" * 100_000, b"{}"):
        yield unsigned(key, "json", payload)
        yield unsigned(key, "lease", payload)
        yield unsigned(key, "hashstash", payload)
    yield resealed(key, body_of(b"x", b"", 255), 7)


def test_planted_results(make: MakeStash, mark: Path) -> None:
    stash = make()
    stashed = stash.stashed_result(square)
    assert stashed(2) == 4
    assert stashed(3) == 9
    stored, _ = stored_key(stashed.stash.call_key((2,), {}))
    for codec, payload in codes(str(mark)).values():
        for row in (
            unsigned(stored, codec, payload),
            forged(stored, codec, payload, os.urandom(32)),
        ):
            stashed.stash._engine.put(stored, row)
            with pytest.raises(UntrustedRowError):
                stashed(2)
            with pytest.raises(UntrustedRowError):
                assert stash.map(square, [2], num_proc=1).results
    for length in (0, 1, 3, 4, 20, 33, 50):
        stashed.stash._engine.put(stored, row[:length])
        with pytest.raises(CorruptRowError):
            stashed(2)
    assert stashed(3) == 9
    assert not mark.exists()
    assert [one.damaged for one in stashed.stash.repair()] == [True]
    assert stashed(2) == 4


def test_planted_states(make: MakeStash, mark: Path, tmp_path: Path) -> None:
    stash = make()
    stashed = stash.stashed_result(square)
    table, (key, _) = stash._engine.sibling("functions"), stored_key(stashed.stash.identity.place)
    state = stashed.stash.identity.version
    for row in junk(key, str(mark)):
        table.put(key, row)
        fresh = make().stashed_result(square)
        assert fresh(2) == 4
        assert state in str(table.get(key))
        assert fresh.prune() == 0
    outside = tmp_path / "outside"
    outside.mkdir()
    states = ["../../outside", str(outside), "..", "", ".", "a/b", "a\0b", "\udc80"]
    told = json.dumps({**dict.fromkeys(states, 1.0), "old": "x", "older": None, state: 1}).encode()
    table.put(key, unsigned(key, "json", told))
    assert stashed.prune() == 0
    assert "other arguments" in str(stashed.explain(7))
    assert outside.exists()
    assert not mark.exists()
    assert stashed(2) == 4


def leases(stash: HashStash) -> Engine:
    if stash._engine.private:
        pytest.skip("the engine is private to the process, and has no leases")
    return stash._engine.sibling("leases")


def test_planted_leases(make: MakeStash, mark: Path) -> None:
    """Whatever they say, the call is computed, at once where nobody holds the lease."""
    stashed = make().stashed_result(square)
    table = leases(stashed.stash)
    told: dict[str, Any] = {
        "id": "x", "term": 0.01, "host": "nowhere", "pid": 1, "start": "", "waited_for": False,
        "error": None,
    }  # fmt: skip
    key = stored_key(stashed.stash.call_key((2,), {}))[0]
    errors = [
        base64.b64encode(unsigned(key, codec, payload)).decode()
        for codec, payload in codes(str(mark)).values()
    ]
    lies: list[dict[str, Any]] = [{}, *({"error": error} for error in ("", "!", "AAAA", *errors))]
    lies += [{"term": 1e9}, {"term": -1}, {"term": float("nan")}, {"pid": "x"}, {"host": None}]
    rows = [unsigned(key, "lease", json.dumps({**told, **lie}).encode()) for lie in lies]
    for row in (*rows, *junk(key, str(mark))):
        table.put(key, row)
        assert stashed(2) == 4
        assert stashed.invalidate(2)
    assert table.get(key) is None
    assert not mark.exists()


def let_maps_end() -> None:
    """Wait until the results of whole maps are stored, which ``wait`` does not wait for."""
    for thread in threading.enumerate():
        if thread.name == "hashstash-map":
            thread.join()


def test_planted_maps(make: MakeStash, mark: Path) -> None:
    stash = make()
    stash.map(square, [1, 2], num_proc=1, stash_map=True).wait()
    let_maps_end()
    below = stash.stashed_result(square).stash
    table = below._engine.sibling("maps")
    (key,) = table.keys()
    for codec, payload in codes(str(mark)).values():
        for row in (unsigned(key, codec, payload), forged(key, codec, payload, bytes(32))):
            table.put(key, row)
            with pytest.raises(UntrustedRowError):
                assert stash.map(square, [1, 2], num_proc=1, stash_map=True).results
    for payload in (b"{}", b"[]", b"1", b"null"):
        table.put(key, unsigned(key, "hashstash", payload))
        made = stash.map(square, [1, 2], num_proc=1, stash_map=True)
        assert made.results == [1, 4]
        let_maps_end()
    table.put(key, b"HS")
    with pytest.raises(CorruptRowError):
        assert stash.map(square, [1, 2], num_proc=1, stash_map=True).results
    assert stash.map(square, [1, 2], num_proc=1).results == [1, 4]
    assert not mark.exists()


def test_planted_failures(make: MakeStash, mark: Path) -> None:
    stashed = make().stashed_result(failing, cache_exceptions=ValueError)
    with pytest.raises(ValueError, match="2"):
        stashed(2)
    table = stashed.stash._engine.sibling("failures")
    (key,) = table.keys()
    for codec, payload in codes(str(mark)).values():
        table.put(key, unsigned(key, codec, payload))
        with pytest.raises(UntrustedRowError):
            stashed(2)
    for row in (b"", b"HS", bytes(100)):
        table.put(key, row)
        with pytest.raises(CorruptRowError):
            stashed(2)
    assert not mark.exists()
    stashed.invalidate(2)
    with pytest.raises(ValueError, match="2"):
        stashed(2)


def test_planted_metadata(make: MakeStash) -> None:
    stashed = make().stashed_result(square, metadata=lambda: {"a": 1})
    assert stashed(2) == 4
    assert stashed.stash.get_metadata(2) == {"a": 1}
    stored, _ = stored_key(stashed.stash.call_key((2,), {}))
    for data in (b"", b"{", b"\xff", b"[" * 100_000):
        row = seal(stored, codec_header("hashstash"), b"4", pack_field(META, data))
        stashed.stash._engine.put(stored, row)
        with pytest.raises(CorruptRowError, match="metadata"):
            stashed.stash.get_metadata(2)
        assert stashed(2) == 4


def test_a_planted_mark_of_append_mode(make: MakeStash) -> None:
    """It makes a stash keep versions, and no more than that."""
    stash = make()
    stash["k"] = 1
    stash._engine.sibling("versions").put(b"append-mode", b"\x80junk")
    for name in (b"", b"x", b"y" * 24, b"z" * 100):
        if name:
            stash._engine.sibling("versions").put(name, b"junk")
    again = make()
    again["k"] = 2
    assert again.get_all("k") == [1, 2]
    assert again.verify() == []
    assert again.prune_versions(keep=1) == 3
    again.clear()
    assert list(again._engine.sibling("versions").keys()) == [b"append-mode"]
