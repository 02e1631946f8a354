"""The dict interface and the facade, on every engine of this machine's own."""

from __future__ import annotations

import gc
import math
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from stashes import ENGINES, MakeStash

import hashstash
from hashstash import (
    ConfigurationError,
    HashStash,
    SerializationError,
    SizeLimitError,
    TemporaryStash,
    UnknownNameError,
    UnstableKeyError,
    UntrustedRowError,
)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


def double(x: int) -> int:
    return 2 * x


# -- a dict ----------------------------------------------------------------------------------


def test_set_get_delete(stash: HashStash) -> None:
    stash["a"] = 1
    assert stash["a"] == 1
    assert "a" in stash
    stash["a"] = 2
    assert (stash["a"], len(stash)) == (2, 1)
    del stash["a"]
    assert "a" not in stash
    assert len(stash) == 0


@pytest.mark.parametrize("key", ["x", 1, ("long" * 50, 2)])
def test_a_missing_key_is_a_key_error_everywhere(stash: HashStash, key: Any) -> None:
    for act in (stash.__getitem__, stash.__delitem__, stash.pop):
        with pytest.raises(KeyError) as caught:
            act(key)
        assert caught.value.args == (key,)
    assert stash.get(key) is None
    assert stash.get(key, 5) == 5
    assert stash.pop(key, 6) == 6
    assert key not in stash


def test_a_stored_none_is_not_a_missing_key(stash: HashStash) -> None:
    stash["none"] = None
    assert "none" in stash
    assert stash["none"] is None
    assert stash.get("none", 1) is None
    assert stash.setdefault("none", 1) is None
    assert stash.pop("none", 1) is None
    assert "none" not in stash


def test_keys_of_other_types_are_other_keys(stash: HashStash) -> None:
    keys = [1, 1.0, True, "1", b"1", (1,), [1], {1}, frozenset({1}), None, {1: 1}, -0.0, 0.0]
    for number, key in enumerate(keys):
        stash[key] = number
    assert [stash[key] for key in keys] == list(range(len(keys)))
    assert len(stash) == len(keys)
    stash[math.nan] = "nan"
    assert stash[float("nan")] == "nan"


def test_any_object_is_a_key_and_comes_back(stash: HashStash) -> None:
    keys: list[Any] = [
        {"goodness": "bad"}, ["bad", "good"], {"bad", "good"}, double, Point(3), "s" * 1000,
        tuple(range(200)), lambda x: x + 1,
    ]  # fmt: skip
    for number, key in enumerate(keys):
        stash[key] = number
    assert [stash[key] for key in keys] == list(range(len(keys)))
    found = {value: key for key, value in stash.items()}
    assert [found[n] for n in range(7)] == keys[:7]
    assert found[7](1) == 2
    assert {stash[key] for key in stash} == set(range(len(keys)))
    for key in list(stash.keys()):
        del stash[key]
    assert not stash


def test_an_unstable_key_is_refused_by_every_way_in(stash: HashStash) -> None:
    key = iter([1])
    for act in (stash.__getitem__, stash.get, stash.__contains__, stash.pop, stash.setdefault):
        with pytest.raises(UnstableKeyError):
            act(key)
    with pytest.raises(UnstableKeyError):
        stash[(1, object())] = 1
    assert next(key) == 1
    assert len(stash) == 0


def test_an_unstorable_value_leaves_the_old_one(stash: HashStash) -> None:
    stash["a"] = 1
    with pytest.raises(SerializationError, match=r"value\['x'\]\[1\]"):
        stash["a"] = {"x": [0, (i for i in range(3))]}
    assert stash["a"] == 1


def test_update_takes_what_dict_update_takes(stash: HashStash, make: MakeStash) -> None:
    stash.update({"a": 1})
    stash.update([("b", 2), (["c"], 3)])
    stash.update(d=4)
    stash.update({"e": 5}, f=6)
    other = make("other")
    other[[1, 2, 3]] = "cat"
    stash.update(other)

    class Keyed:
        def keys(self) -> list[str]:
            return ["k"]

        def __getitem__(self, key: str) -> int:
            return 7

    stash.update(Keyed())
    assert (stash["a"], stash["b"], stash[["c"]], stash["d"]) == (1, 2, 3, 4)
    assert (stash["e"], stash["f"], stash[[1, 2, 3]], stash["k"]) == (5, 6, "cat", 7)
    with pytest.raises((TypeError, ValueError)):
        stash.update(5)
    with pytest.raises((TypeError, ValueError)):
        stash.update([1, 2])


def test_pop_popitem_setdefault(stash: HashStash) -> None:
    stash.update({"a": 1, "b": 2})
    assert stash.pop("a") == 1
    assert stash.setdefault("a", 3) == 3
    assert stash.setdefault("a", 4) == 3
    items = dict([stash.popitem(), stash.popitem()])
    assert items == {"a": 3, "b": 2}
    with pytest.raises(KeyError, match="empty"):
        stash.popitem()


def test_views_are_live_and_lazy(stash: HashStash) -> None:
    keys, values, items = stash.keys(), stash.values(), stash.items()
    assert (len(keys), len(values), len(items)) == (0, 0, 0)
    stash.update({"a": 1, "b": 2})
    assert set(keys) == {"a", "b"}
    assert sorted(values) == [1, 2]
    assert sorted(items) == [("a", 1), ("b", 2)]
    assert (len(keys), len(values), len(items)) == (2, 2, 2)
    assert "a" in keys
    assert 2 in values
    assert 3 not in values
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert ("x", 1) not in items
    assert iter(items) is not iter(items)


def test_set_operations_of_views(stash: HashStash) -> None:
    stash.update({"a": 1, "b": 2})
    assert stash.keys() & {"a", "x"} == {"a"}
    assert stash.keys() | {"x"} == {"a", "b", "x"}
    assert stash.keys() - {"a"} == {"b"}
    assert stash.keys() ^ {"a", "x"} == {"b", "x"}
    keys: object = stash.keys()
    assert keys == {"a", "b"}
    assert stash.keys() <= {"a", "b", "c"}
    assert stash.keys().isdisjoint({"z"})
    assert stash.items() & {("a", 1)} == {("a", 1)}
    stash[["unhashable"]] = 3
    with pytest.raises(TypeError, match="unhashable"):
        stash.keys() | {"x"}


def test_iteration_while_writing(stash: HashStash) -> None:
    stash.update({n: n for n in range(50)})
    seen = []
    for key in stash:
        seen.append(key)
        if key < 50:
            stash[key + 1000] = key
            stash[key] = -key
            stash.pop((key + 25) % 50 + 2000, None)
        if len(seen) > 500:
            pytest.fail("iteration does not end")
    assert set(range(50)) <= set(seen)
    assert len(seen) == len(set(seen))
    for key in stash:
        del stash[key]
    assert len(stash) == 0


def test_equality(stash: HashStash, make: MakeStash) -> None:
    stash.update({"a": 1, "b": [2]})
    assert stash == {"a": 1, "b": [2]}
    assert {"a": 1, "b": [2]} == stash
    assert stash != {"a": 1}
    assert stash != {"a": 1, "b": [3]}
    assert stash != {"a": 1, "b": [2], "c": 3}
    assert stash == make()
    other = make("other", compress="zlib")
    assert stash != other
    other.update(stash)
    assert stash == other
    assert stash != 5
    stash[["unhashable"]] = 1
    assert stash != {"a": 1, "b": [2], "c": 3}
    with pytest.raises(TypeError):
        hash(stash)


def test_equality_of_arrays_and_frames(stash: HashStash, make: MakeStash) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    one: dict[str, Any] = {"a": np.arange(3), "d": pd.DataFrame({"x": [1, 2]})}
    stash.update(one)
    assert stash == one
    assert stash != {**one, "a": np.arange(1, 4)}
    assert stash != {**one, "a": np.arange(4)}


def test_merging(stash: HashStash) -> None:
    stash.update({"a": 1, "b": 2})
    merged = stash | {"b": 3, "c": 4}
    assert isinstance(merged, TemporaryStash)
    assert merged == {"a": 1, "b": 3, "c": 4}
    assert {"b": 3, "c": 4} | stash == {"a": 1, "b": 2, "c": 4}
    assert stash == {"a": 1, "b": 2}
    same = stash
    stash |= {"z": 1}
    assert stash is same
    assert stash["z"] == 1
    with pytest.raises(TypeError):
        stash | 5


def test_a_copy_is_independent(stash: HashStash) -> None:
    stash[["unhashable"]] = 1
    copied = stash.copy()
    copied["new"] = 2
    assert copied[["unhashable"]] == 1
    assert "new" not in stash


def test_clear_removes_this_stash_alone(make: MakeStash) -> None:
    one, other = make(dbname="one"), make(dbname="one/two")
    one["a"], other["b"] = 1, 2
    assert one.clear() is one
    assert (len(one), len(other)) == (0, 1)
    assert make(dbname="one/two", clear=True) == {}


def test_bool_does_not_need_the_length(stash: HashStash) -> None:
    assert not stash
    stash["a"] = 1
    assert stash


def test_many(stash: HashStash) -> None:
    stash.set_many([(["a"], 1), ("b" * 500, 2), ("c", 3)])
    assert stash.get_many([["a"], "x", "b" * 500, "c"], default=0) == [1, 0, 2, 3]
    assert stash.delete_many([["a"], "x", "c"]) == 2
    assert list(stash) == ["b" * 500]


def test_many_of_more_than_a_page(stash: HashStash) -> None:
    stash.update({f"key {n}": n for n in range(2500)})
    assert len(stash) == 2500
    assert sorted(stash.values()) == list(range(2500))
    assert dict(stash.items()) == {f"key {n}": n for n in range(2500)}
    assert len(set(stash)) == 2500


def test_a_batch_is_all_or_nothing_where_the_engine_can(stash: HashStash) -> None:
    with stash.batch():
        stash["a"] = 1
        stash["b"] = 2
        assert stash["a"] == 1
    assert stash == {"a": 1, "b": 2}
    with pytest.raises(RuntimeError), stash.batch():
        stash["c"] = 3
        del stash["a"]
        raise RuntimeError
    if stash._engine.transactions:
        assert stash == {"a": 1, "b": 2}
    else:
        assert stash == {"b": 2, "c": 3}


def test_update_with_an_unstorable_value_writes_nothing_where_the_engine_can(
    stash: HashStash,
) -> None:
    with pytest.raises(SerializationError):
        stash.update({"a": 1, "b": (i for i in [0])})
    if stash._engine.transactions:
        assert stash == {}
    stash["after"] = 1
    assert stash["after"] == 1


# -- settings --------------------------------------------------------------------------------


def test_codecs_can_change_at_any_time(make: MakeStash) -> None:
    written = {}
    for serializer in ("hashstash", "pickle", "jsonpickle"):
        for compress in ("raw", "zlib", "gzip", "bz2", "lzma", "lz4", "blosc", "zstd"):
            for b64 in (False, True):
                key = f"{serializer} {compress} {b64}"
                one = make(serializer=serializer, compress=compress, b64=b64)
                one[key] = written[key] = {"key": [key] * 10}
    assert make() == written
    assert len({make(compress=c).path for c in ("raw", "zlib")}) == 1


def test_the_signature_follows_the_stash_to_another_folder(tmp_path: Path) -> None:
    one = HashStash(tmp_path / "here" / "name", engine="pairtree")
    one["f"] = lambda x: x + 1
    (tmp_path / "there").mkdir()
    os.rename(tmp_path / "here" / "name", tmp_path / "there" / "name")
    assert HashStash(tmp_path / "there" / "name")["f"](1) == 2
    os.rename(tmp_path / "there" / "name", tmp_path / "there" / "other")
    moved = HashStash(tmp_path / "there" / "other")
    with pytest.raises(UntrustedRowError, match="namespace"):
        moved["f"]
    named = HashStash(tmp_path / "there" / "other", namespace="name/main")
    assert named["f"](1) == 2


def test_signing_keys_are_shared_and_rotated(make: MakeStash) -> None:
    old, new = "o" * 32, "n" * 32
    make(signing_keys=[old])["f"] = double
    with pytest.raises(UntrustedRowError):
        make(signing_keys=[new])["f"]
    rotated = make(signing_keys=[new, old])
    assert rotated["f"](2) == 4
    rotated["g"] = double
    assert make(signing_keys=[new])["g"](2) == 4
    assert old not in str(rotated.to_dict()) + repr(rotated)
    assert old.encode() not in pickle.dumps(rotated)


def test_safe_keeps_data_and_refuses_code(make: MakeStash) -> None:
    make()["f"] = double
    make()[double] = "a data value under a code key"
    safe = make(safe=True)
    safe["data"] = {"a": (1, 2.5, {"x"})}
    assert safe["data"] == {"a": (1, 2.5, {"x"})}
    with pytest.raises(UntrustedRowError, match="safe=True"):
        safe["f"]
    for key, value in (("g", double), (double, 1)):
        with pytest.raises(SerializationError, match="safe"):
            safe[key] = value
    with pytest.raises(ConfigurationError, match="safe"):
        make(safe=True, serializer="pickle")
    assert safe[double] == "a data value under a code key"


def test_an_unsigned_row_that_needs_code_is_refused(make: MakeStash, tmp_path: Path) -> None:
    from hashstash.rows import codec_header, seal

    stash = make()
    planted = tmp_path / "planted"
    payload = pickle.dumps(_Planted(str(planted)))
    stash._engine.put(
        stash.encode_key("k"), seal(stash.encode_key("k"), codec_header("pickle"), payload)
    )
    for act in (lambda: stash["k"], lambda: list(stash.values()), lambda: list(stash.items())):
        with pytest.raises(UntrustedRowError):
            act()
    assert list(stash) == ["k"]
    assert not planted.exists()


class _Planted:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_values_are_bounded(make: MakeStash) -> None:
    small = make(compress="zlib", max_value_bytes=1000)
    with pytest.raises(SizeLimitError, match="max_value_bytes"):
        small["k"] = "x" * 2000
    make(compress="zlib")["bomb"] = "x" * 2000
    with pytest.raises(SizeLimitError, match="max_value_bytes"):
        small["bomb"]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"engine": "lmbd"}, UnknownNameError, "Did you mean 'lmdb'"),
        ({"serializer": "pickel"}, UnknownNameError, "Did you mean 'pickle'"),
        ({"compress": "lz"}, UnknownNameError, "Did you mean 'lz4'"),
        ({"durabilty": "system"}, TypeError, "Did you mean 'durability'"),
        ({"enigne": "lmdb"}, TypeError, "Did you mean 'engine'"),
        ({"durability": "eternal"}, ConfigurationError, "process, system"),
        ({"dbname": "../x"}, ConfigurationError, "dbname"),
        ({"max_value_bytes": 0}, ConfigurationError, "max_value_bytes"),
        ({"signing_keys": "a" * 32}, TypeError, "list"),
        ({"engine": 5}, TypeError, "name"),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_to_do(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        HashStash(tmp_path, **settings)


def test_the_environment_gives_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHSTASH_ENGINE", "sqlite")
    monkeypatch.setenv("HASHSTASH_SERIALIZER", "pickle")
    monkeypatch.setenv("HASHSTASH_COMPRESS", "zlib")
    monkeypatch.setenv("HASHSTASH_B64", "1")
    monkeypatch.setenv("HASHSTASH_DURABILITY", "system")
    made = HashStash(tmp_path).to_dict()
    assert (made["engine"], made["serializer"], made["compress"]) == ("sqlite", "pickle", "zlib")
    assert (made["b64"], made["durability"]) == (True, "system")
    assert (
        HashStash(tmp_path, engine="memory", durability="process").to_dict()["engine"] == "memory"
    )
    monkeypatch.setenv("HASHSTASH_B64", "perhaps")
    with pytest.raises(ConfigurationError, match="HASHSTASH_B64"):
        HashStash(tmp_path)


def test_urls(tmp_path: Path) -> None:
    made = HashStash(f"lmdb://{tmp_path}/x?compress=zlib", "db").to_dict()
    assert (made["engine"], made["root_dir"]) == ("lmdb", f"{tmp_path}/x")
    assert (made["compress"], made["dbname"]) == ("zlib", "db")
    assert HashStash("sqlite://name") == HashStash("name", engine="sqlite")
    assert HashStash("sqlite://name/sub") == HashStash("name", "sub", engine="sqlite")
    with pytest.raises(UnknownNameError):
        HashStash("lmbd:///x")
    with pytest.raises(ConfigurationError, match="contradict"):
        HashStash("lmdb:///x", engine="sqlite")
    with pytest.raises(TypeError, match="compres"):
        HashStash("lmdb:///x?compres=lz4")


def test_defaults_do_not_depend_on_what_is_installed() -> None:
    made = HashStash().to_dict()
    assert (made["engine"], made["serializer"], made["compress"]) == (
        "pairtree",
        "hashstash",
        "raw",
    )
    assert (made["dbname"], made["b64"], made["append_mode"]) == ("main", False, False)
    assert os.path.basename(made["root_dir"]) == "default_stash"


def test_recommended() -> None:
    made = HashStash.recommended("name").to_dict()
    assert (made["engine"], made["compress"]) == ("lmdb", "lz4")
    assert HashStash.recommended("name", compress="raw").to_dict()["compress"] == "raw"


def test_what_it_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = HashStash(
        tmp_path / "project_stash", "sub_stash", engine="lmdb", compress="lz4", b64=True
    )
    assert str(made) == "LMDBHashStash(~/project_stash/sub_stash/lmdb/data.db)"
    assert made.path == str(tmp_path / "project_stash/sub_stash/lmdb/data.db")
    said = made.to_dict()
    assert {k: said[k] for k in ("root_dir", "dbname", "engine", "serializer", "compress", "b64",
                                 "append_mode", "is_function_stash", "is_tmp", "filename")} == {
        "root_dir": str(tmp_path / "project_stash"), "dbname": "sub_stash", "engine": "lmdb",
        "serializer": "hashstash", "compress": "lz4", "b64": True, "append_mode": False,
        "is_function_stash": False, "is_tmp": False, "filename": "data.db",
    }  # fmt: skip
    assert HashStash.from_dict(said) == made
    assert not (tmp_path / "project_stash").exists()


def test_html(stash: HashStash) -> None:
    stash["<script>"] = 1
    stash["newest"] = 2
    html = stash._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert html.index("newest") < html.index("&lt;script&gt;")
    assert "Entries" in html


def test_under_the_hood(stash: HashStash) -> None:
    stash["bad"] = "cat"
    stash["long" * 100] = "dog"
    stash[double] = double
    pairs = [(stash.decode_key(key), stash.decode_value(value)) for key, value in stash._items()]
    assert sorted(pairs, key=str) == sorted(stash.items(), key=str)
    assert {stash.encode_key(key) for key in stash} == set(stash._keys())
    assert len(list(stash._values())) == 3
    assert stash.decode_value(stash.encode_value({"a": (1, 2)})) == {"a": (1, 2)}
    assert isinstance(stash.encode_key("bad"), bytes)
    with pytest.raises(KeyError):
        stash.decode_key(stash.encode_key("absent" * 100))


# -- temporary stashes -----------------------------------------------------------------------


def test_a_temporary_stash_is_gone_after_the_block(make: MakeStash) -> None:
    stash = make(compress="zlib")
    stash["mine"] = 1
    with stash.tmp() as tmp:
        assert tmp.is_tmp
        assert tmp.to_dict()["compress"] == "zlib"
        assert len(tmp) == 0
        tmp["key"] = "value"
        folder = tmp.to_dict()["root_dir"]
    assert "key" not in tmp
    assert stash == {"mine": 1}
    assert not os.path.exists(folder)


def test_a_temporary_stash_is_gone_after_an_exception(stash: HashStash) -> None:
    with pytest.raises(RuntimeError), stash.tmp() as tmp:
        tmp["key"] = 1
        raise RuntimeError
    assert "key" not in tmp
    assert not os.path.exists(tmp.to_dict()["root_dir"])


def test_a_temporary_stash_without_with_goes_with_its_last_reference(stash: HashStash) -> None:
    tmp = stash.tmp(engine="pairtree")
    tmp["key"] = 1
    folder = tmp.to_dict()["root_dir"]
    assert os.path.exists(folder)
    del tmp
    gc.collect()
    assert not os.path.exists(folder)


def test_a_temporary_stash_without_with_goes_with_the_process(tmp_path: Path) -> None:
    code = (
        "from hashstash import HashStash\n"
        "tmp = HashStash(engine='pairtree').tmp()\n"
        "tmp['key'] = 1\n"
        "print(tmp.to_dict()['root_dir'])\n"
        "import os\n"
        "pid = os.fork() if hasattr(os, 'fork') else 1\n"
        "if not pid: raise SystemExit\n"
        "if pid > 1: os.waitpid(pid, 0)\n"
        "assert tmp['key'] == 1\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert not os.path.exists(run.stdout.strip())


# -- processes and threads -------------------------------------------------------------------


def _read_and_write(stash: HashStash, number: int) -> Any:
    stash[f"from worker {number}"] = number
    return stash["from parent"]


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_stash_goes_to_workers(make: MakeStash, method: str) -> None:
    stash = make()
    stash["from parent"] = [1, 2]
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        jobs = [pool.submit(_read_and_write, stash, n) for n in range(4)]
        if stash._engine.private and method == "spawn":
            with pytest.raises(KeyError):
                jobs[0].result()
            return
        assert [job.result() for job in jobs] == [[1, 2]] * 4
    if not stash._engine.private:
        assert sorted(stash) == ["from parent", *(f"from worker {n}" for n in range(4))]


def test_a_pickled_stash_is_its_settings(make: MakeStash) -> None:
    stash = make(compress="zlib", append_mode=True)
    stash["a"] = 1
    again = pickle.loads(pickle.dumps(stash))
    assert again.to_dict() == stash.to_dict()
    assert again["a"] == 1


def test_threads(stash: HashStash) -> None:
    def work(number: int) -> None:
        for step in range(50):
            stash[f"{number} {step}"] = step
            stash["shared"] = (number, step)
            assert stash[f"{number} {step}"] == step
            assert stash["shared"][1] in range(50)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(stash) == 8 * 50 + 1


def test_one_of_many_threads_wins_setdefault_and_pop(stash: HashStash) -> None:
    barrier = threading.Barrier(8)

    def insert(number: int) -> tuple[int, int | None]:
        barrier.wait()
        got = stash.setdefault("k", number)
        barrier.wait()
        return got, stash.pop("k", None)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(insert, range(8)))
    assert len({got for got, _ in results}) == 1
    assert len([popped for _, popped in results if popped is not None]) == 1


def test_a_closed_stash_opens_again(stash: HashStash) -> None:
    with stash:
        stash["a"] = 1
    stash.close()
    if stash._engine.persistent:
        assert stash["a"] == 1
    stash["b"] = 2
    assert stash["b"] == 2


def test_constructing_touches_nothing(tmp_path: Path) -> None:
    for engine in ENGINES:
        made = HashStash(tmp_path / "root", engine=engine)
        repr(made)
        made.to_dict()
        assert made.path
    assert not (tmp_path / "root").exists()


def test_importing_costs_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import hashstash; "
        "extras = {'numpy', 'pandas', 'pyarrow', 'orjson', 'lmdb', 'lz4', 'polars', 'tqdm', "
        "'asyncio', 'multiprocessing', 'sqlite3', 'importlib.metadata'}; "
        "print(sorted(extras & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in hashstash.__all__:
        assert getattr(hashstash, name) is not None
