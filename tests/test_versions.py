"""Append mode, on every engine of this machine's own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import CorruptRowError, HashStash
from hashstash.engines.base import ETAG, Engine


@pytest.fixture
def make(make: MakeStash) -> MakeStash:
    return lambda **settings: make(**{"append_mode": True, **settings})


def test_the_example_of_the_documentation(stash: HashStash) -> None:
    key = {"name": "cat"}
    stash[key] = {"goodness": "good"}
    stash[key] = {"goodness": "bad"}
    assert stash.get(key) == {"goodness": "bad"}
    assert stash.get_all(key) == [{"goodness": "good"}, {"goodness": "bad"}]
    told = stash.get_all(key, with_metadata=True)
    assert told is not None
    assert [one["_version"] for one in told] == [1, 2]
    assert [one["_value"] for one in told] == [{"goodness": "good"}, {"goodness": "bad"}]
    assert told[0]["_timestamp"] <= told[1]["_timestamp"]
    assert all(set(one) == {"_version", "_timestamp", "_value"} for one in told)


def test_versions_by_number(stash: HashStash) -> None:
    for n in range(1, 6):
        stash["k"] = n * 10
    assert stash.versions("k") == [1, 2, 3, 4, 5]
    assert [stash.get("k", version=n) for n in range(1, 6)] == [10, 20, 30, 40, 50]
    assert stash.get("k", "none", version=6) == "none"
    assert stash.get("k", version=0) is None
    assert stash.get("k", version=-1) is None
    assert stash.versions("absent") == []
    assert stash.get_all("absent") is None
    assert stash.get_all("absent", []) == []
    assert stash.get("absent", version=1) is None


def test_a_history_counts_as_one_item(stash: HashStash) -> None:
    stash.update({"a": 1, "b": 1})
    stash["a"] = 2
    assert len(stash) == 2
    assert dict(stash) == {"a": 2, "b": 1}
    assert sorted(stash.items(all_versions=True)) == [("a", 1), ("a", 2), ("b", 1)]
    assert sorted(stash.values(all_versions=True)) == [1, 1, 2]
    assert len(stash.items(all_versions=True)) == 3


def test_delete_removes_the_history(stash: HashStash) -> None:
    for n in range(3):
        stash["k"] = n
    del stash["k"]
    assert stash.get_all("k") is None
    assert list(stash._engine.sibling("versions").keys()) == [b"append-mode"]
    stash["k"] = "new"
    assert stash.get_all("k") == ["new"]
    assert stash.versions("k") == [1]
    stash["k"] = "newer"
    assert stash.pop("k") == "newer"
    assert stash.get_all("k") is None


def test_clear_removes_all_histories(stash: HashStash) -> None:
    for n in range(3):
        stash.update({"a": n, "b": n})
    stash.clear()
    assert len(stash) == 0
    assert list(stash._engine.sibling("versions").keys()) == [b"append-mode"]


def test_what_was_written_before_append_mode_is_the_first_version(make: MakeStash) -> None:
    make(append_mode=False)["k"] = "before"
    stash = make()
    assert stash.get_all("k") == ["before"]
    stash["k"] = "after"
    assert stash.get_all("k") == ["before", "after"]


def test_opened_without_append_mode_the_history_stays_whole(make: MakeStash) -> None:
    stash = make()
    for n in range(3):
        stash["k"] = n
    plain = make(append_mode=False)
    assert plain["k"] == 2
    assert plain.get_all("k") == [0, 1, 2]
    plain["k"] = 3
    plain.update({"k": 4})
    assert make().get_all("k") == [0, 1, 2, 3, 4]
    assert plain.setdefault("k", 5) == 4
    make(append_mode=False)["other"] = 1
    del plain["k"]
    assert make().get_all("k") is None


def test_long_keys_and_codec_changes(make: MakeStash) -> None:
    key = ("a long key" * 50, [1, 2])
    for number, serializer in enumerate(("hashstash", "pickle", "hashstash")):
        make(serializer=serializer, compress=("raw", "zlib", "lz4")[number])[key] = number
    assert make().get_all(key) == [0, 1, 2]
    assert list(make().items(all_versions=True)) == [(key, 0), (key, 1), (key, 2)]


def test_signed_values_stay_readable_when_they_become_old(stash: HashStash) -> None:
    for n in range(3):
        stash["f"] = lambda x, n=n: x + n
    found = stash.get_all("f")
    assert found is not None
    assert [f(10) for f in found] == [10, 11, 12]


def test_prune(stash: HashStash) -> None:
    for n in range(10):
        stash["a"] = n
    stash["b"] = "one"
    assert stash.prune_versions(keep=3) == 7
    assert stash.versions("a") == [8, 9, 10]
    assert stash.get_all("a") == [7, 8, 9]
    assert stash.get("a", version=1) is None
    assert stash.get_all("b") == ["one"]
    stash["a"] = 10
    assert stash.versions("a") == [8, 9, 10, 11]
    assert stash.prune_versions(keep=1) == 3
    assert stash.get_all("a") == [10]
    with pytest.raises(ValueError, match="keep"):
        stash.prune_versions(keep=0)


def append(stash: HashStash, number: int) -> None:
    for step in range(25):
        stash["shared"] = (number, step)
        stash[f"own {number}"] = step


def check_numbers(stash: HashStash, writers: int) -> None:
    total = writers * 25
    assert stash.versions("shared") == list(range(1, total + 1))
    found = stash.get_all("shared")
    assert found is not None
    assert len(set(found)) == total
    for number in range(writers):
        assert [step for writer, step in found if writer == number] == list(range(25))
        assert stash.get_all(f"own {number}") == list(range(25))


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_appends_of_processes_are_numbered_without_gaps(make: MakeStash, method: str) -> None:
    stash = make()
    if stash._engine.private:
        pytest.skip("this engine is private to the process")
    with ProcessPoolExecutor(4, get_context(method)) as pool:
        list(pool.map(append, [stash] * 4, range(4)))
    check_numbers(stash, 4)


def test_appends_of_threads_are_numbered_without_gaps(stash: HashStash) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, [stash] * 4, range(4)))
    check_numbers(stash, 4)


def test_an_append_costs_the_same_whatever_the_length(
    stash: HashStash, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(engine: Engine) -> None:
        for name in ("get", "put", "compare_and_set", "contains"):
            monkeypatch.setattr(engine, name, noted(name, getattr(engine, name)))

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            calls.append(name)
            return real(*args)

        return call

    versions = stash._history
    counted(versions._engine)
    counted(versions._older)
    costs = []
    for n in range(300):
        calls.clear()
        stash["k"] = n
        costs.append(list(calls))
    assert costs[1] == costs[10] == costs[-1]
    assert len(costs[-1]) <= 3


def test_a_batch_of_appends(stash: HashStash) -> None:
    with stash.batch():
        for n in range(3):
            stash["k"] = n
    assert stash.get_all("k") == [0, 1, 2]
    if stash._engine.transactions:
        with pytest.raises(RuntimeError), stash.batch():
            stash["k"] = 3
            raise RuntimeError
        assert stash.get_all("k") == [0, 1, 2]


def test_a_lost_race_leaves_numbers_without_gaps(stash: HashStash) -> None:
    stash["k"] = 1
    stored, _ = stash._stored_key("k")
    versions = stash._history
    seen = stash._engine.get(stored)
    assert seen is not None
    stash["k"] = 2
    late = stash._encode("late", stored)
    assert not versions.compare_and_set(stored, seen[ETAG], late)
    assert not versions._follow(stored, seen, late)
    stash["k"] = 3
    assert stash.get_all("k") == [1, 2, 3]


def test_what_a_killed_delete_leaves_is_never_mixed_in(stash: HashStash) -> None:
    for n in range(4):
        stash["k"] = n
    stored, _ = stash._stored_key("k")
    head = stash._engine.get(stored)
    assert head is not None
    assert stash._engine.compare_and_set(stored, head[ETAG], None)  # and the process dies here
    assert "k" not in stash
    assert stash.get_all("k") is None
    stash["k"] = "new"
    stash["k"] = "newer"
    assert stash.get_all("k") == ["new", "newer"]
    assert stash._history.sweep() >= 3
    assert len(list(stash._engine.sibling("versions").keys())) == 2
    assert stash.get_all("k") == ["new", "newer"]


# -- verify and repair -----------------------------------------------------------------------


def damage(engine: Engine, stored: bytes) -> bytes:
    row = engine.get(stored)
    assert row is not None
    broken = row[:-1] + bytes((row[-1] ^ 1,))
    engine.put(stored, broken)
    return broken


def test_verify_and_repair(stash: HashStash) -> None:
    stash.update({"good": 1, "bad": 2, "long" * 100: 3})
    assert stash.verify() == []
    for key in ("bad", "long" * 100):
        broken = damage(stash._engine, stash.encode_key(key))
        with pytest.raises(CorruptRowError, match="verify"):
            stash[key]
    found = stash.verify()
    assert len(found) == 2
    assert {one.key for one in found} >= {"bad"}
    assert all(one.damaged and "checksum" in one.error for one in found)
    assert len(stash.repair()) == 2
    assert stash.verify() == []
    assert dict(stash) == {"good": 1}
    aside = dict(stash._engine.sibling("damaged").items())
    assert len(aside) == 2
    assert any(kept.endswith(broken) for kept in aside.values())
    stash["bad"] = "again"
    assert stash.repair() == []


def test_repair_brings_the_version_before_back(stash: HashStash) -> None:
    for n in range(4):
        stash["k"] = n
    damage(stash._engine, stash.encode_key("k"))
    assert [one.version for one in stash.repair()] == [None]
    assert stash["k"] == 2
    assert stash.get_all("k") == [0, 1, 2]
    stash["k"] = "next"
    assert stash.get_all("k") == [0, 1, 2, "next"]


def test_a_damaged_earlier_version_is_set_aside_alone(stash: HashStash) -> None:
    for n in range(4):
        stash["k"] = n
    older = stash._engine.sibling("versions")
    slot = sorted(key for key in older.keys() if key != b"append-mode")[1]
    damage(older, slot)
    with pytest.raises(CorruptRowError):
        stash.get_all("k")
    assert [(one.key, one.version) for one in stash.verify()] == [("k", 2)]
    assert len(stash.repair()) == 1
    assert stash.get_all("k") == [0, 2, 3]
    assert stash.versions("k") == [1, 3, 4]


def test_rows_that_only_cannot_be_read_here_stay(make: MakeStash) -> None:
    make(signing_keys=["a" * 32])["f"] = append
    other = make(signing_keys=["b" * 32])
    found = other.verify()
    assert [(one.key, one.damaged) for one in found] == [("f", False)]
    assert other.repair() == []
    assert other.verify() == found
