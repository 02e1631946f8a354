"""Every embedded engine behaves as a plain dict of lists of versions does, whatever is done."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hashstash import HashStash
from hashstash.errors import MissingDependencyError
from hashstash.testing.engine import missing

ENGINES = ["memory", "pairtree", "sqlite", "lmdb", "shm", "diskcache", "sqlitedict"]
KEYS: list[Any] = [
    "a", "A", "", 1, 1.0, True, b"a", None, ("a", 1), ["a", 1], {"a": {"b"}}, {1, 2}, "long" * 100,
    ("long", "x" * 200), ["long", {"y": "z" * 200}], 2**70, float("nan"), frozenset(), -0.0,
]  # fmt: skip
"""Keys of all kinds: short and long, hashable and not, and some that a dict would mix up."""
ABSENT: Any = object()
Versions = list[tuple[int, Any]]

KEY = st.integers(0, len(KEYS) - 1)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.binary(max_size=5) | st.just("x" * 3000),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner, inner)
    | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
ITEMS = st.lists(st.tuples(KEY, VALUE), max_size=6)
CODECS = st.fixed_dictionaries(
    {
        "serializer": st.sampled_from(["hashstash", "pickle", "jsonpickle"]),
        "compress": st.sampled_from(["raw", "zlib", "lz4"]),
        "b64": st.booleans(),
    }
)


class RollBackError(Exception):
    """Ends a batch of which nothing is to be kept."""


class Model:
    """What a stash should be: the versions of each key, by its place among ``KEYS``.

    Args:
        append: whether versions are kept, which begins with the first write in append mode.
    """

    def __init__(self, *, append: bool = False) -> None:
        self.append = append
        self.kept: dict[int, Versions] = {}

    def copy(self) -> Model:
        made = Model(append=self.append)
        made.kept = {key: list(versions) for key, versions in self.kept.items()}
        return made

    def set(self, key: int, value: Any) -> None:
        versions = self.kept.get(key, [])
        if self.append and versions:
            versions.append((versions[-1][0] + 1, value))
        else:
            self.kept[key] = [(1, value)]

    def latest(self, key: int) -> Any:
        return self.kept[key][-1][1] if key in self.kept else ABSENT

    def remove(self, key: int) -> bool:
        return self.kept.pop(key, None) is not None

    def prune(self, keep: int) -> int:
        before = sum(map(len, self.kept.values()))
        self.kept = {key: versions[-keep:] for key, versions in self.kept.items()}
        return before - sum(map(len, self.kept.values()))


def place_of(key: Any) -> int:
    """Return which of ``KEYS`` a key is: of its own type, with one NaN and two zeros."""
    (place,) = [
        n for n, one in enumerate(KEYS) if type(one) is type(key) and repr(one) == repr(key)
    ]
    return place


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


class StashMachine(RuleBasedStateMachine):
    """Do the same to a stash and to its model, and compare."""

    def __init__(self, folder: Path, engine: str, *, append: bool) -> None:
        super().__init__()
        # The name too: the shm engine knows a place by that alone.
        self.settings: dict[str, Any] = {"engine": engine, "append_mode": append}
        self.root = folder / secrets.token_hex(8)
        self.stash = HashStash(self.root, **self.settings)
        self.model = Model()

    def writes(self) -> None:
        if self.stash._settings.append_mode:
            self.model.append = True

    def teardown(self) -> None:
        try:
            self.everything()
            assert self.stash.verify() == []
            assert self.stash.repair() == []
        finally:
            self.stash._engine.destroy()

    # -- one item

    @rule(key=KEY, value=VALUE)
    def set(self, key: int, value: Any) -> None:
        self.writes()
        self.stash[KEYS[key]] = value
        self.model.set(key, value)

    @rule(key=KEY)
    def get(self, key: int) -> None:
        expected = self.model.latest(key)
        assert (KEYS[key] in self.stash) == (expected is not ABSENT)
        assert same(self.stash.get(KEYS[key], ABSENT), expected)
        if expected is ABSENT:
            with pytest.raises(KeyError):
                self.stash[KEYS[key]]
        else:
            assert same(self.stash[KEYS[key]], expected)

    @rule(key=KEY)
    def delete(self, key: int) -> None:
        if self.model.remove(key):
            del self.stash[KEYS[key]]
        else:
            with pytest.raises(KeyError):
                del self.stash[KEYS[key]]

    @rule(key=KEY, default=VALUE)
    def pop(self, key: int, default: Any) -> None:
        expected = self.model.latest(key)
        found = self.stash.pop(KEYS[key], default)
        assert same(found, default if expected is ABSENT else expected)
        self.model.remove(key)

    @rule()
    def popitem(self) -> None:
        if not self.model.kept:
            with pytest.raises(KeyError):
                self.stash.popitem()
            return
        key, value = self.stash.popitem()
        assert same(self.model.latest(place_of(key)), value)
        self.model.remove(place_of(key))

    @rule(key=KEY, value=VALUE)
    def setdefault(self, key: int, value: Any) -> None:
        if key not in self.model.kept:
            self.writes()
            self.model.set(key, value)
        assert same(self.stash.setdefault(KEYS[key], value), self.model.latest(key))

    # -- many items

    @rule(items=ITEMS, how=st.sampled_from(["update", "set_many", "stash"]))
    def update(self, items: list[tuple[int, Any]], how: str) -> None:
        self.writes()
        pairs = [(KEYS[key], value) for key, value in items]
        if how == "stash":  # where each key is once
            with HashStash(self.root, "other", engine="memory") as other:
                other.clear().update(pairs)
                self.stash.update(other)
            items = list(dict(items).items())
        else:
            getattr(self.stash, how)(pairs)
        for key, value in items:
            self.model.set(key, value)

    @rule(keys=st.lists(KEY, max_size=6, unique=True))
    def delete_many(self, keys: list[int]) -> None:
        self.writes()
        there = sum(self.model.remove(key) for key in keys)
        assert self.stash.delete_many([KEYS[key] for key in keys]) == there

    @rule(keys=st.lists(KEY, max_size=8))
    def get_many(self, keys: list[int]) -> None:
        found = self.stash.get_many([KEYS[key] for key in keys], ABSENT)
        assert all(same(one, self.model.latest(key)) for one, key in zip(found, keys, strict=True))

    @rule(really=st.integers(0, 3))
    def clear(self, really: int) -> None:
        if not really:
            self.stash.clear()
            self.model.kept.clear()

    @rule(steps=st.lists(st.tuples(KEY, VALUE | st.just(ABSENT)), max_size=5), fails=st.booleans(),
          inner=st.none() | st.booleans())  # fmt: skip
    def batch(self, steps: list[tuple[int, Any]], fails: bool, inner: bool | None) -> None:
        """Write in a batch that ends or is taken back, with another inside that does or is."""
        self.writes()
        atomic = self.stash._engine.transactions
        before = self.model.copy()
        try:
            with self.stash.batch():
                self._do(steps)
                between = self.model.copy()
                try:
                    with self.stash.batch():
                        if inner is not None:
                            self._do(steps[::-1])
                        if inner:
                            raise RollBackError
                except RollBackError:
                    if atomic:
                        self.model = between
                self.everything()
                if fails:
                    raise RollBackError
        except RollBackError:
            if atomic:
                self.model = before
        self.everything()

    def _do(self, steps: list[tuple[int, Any]]) -> None:
        for key, value in steps:
            if value is ABSENT:
                self.stash.pop(KEYS[key], None)
                self.model.remove(key)
            else:
                self.set(key, value)
            self.get(key)

    # -- versions

    @rule(key=KEY, number=st.integers(-1, 8))
    def versions(self, key: int, number: int) -> None:
        kept = self.model.kept.get(key, [])
        assert self.stash.versions(KEYS[key]) == [version for version, _ in kept]
        found = self.stash.get_all(KEYS[key], [], with_metadata=True)
        assert found is not None
        assert [one["_version"] for one in found] == [version for version, _ in kept]
        assert same([one["_value"] for one in found], [value for _, value in kept])
        expected = dict(kept).get(number, ABSENT)
        assert same(self.stash.get(KEYS[key], ABSENT, version=number), expected)

    @rule(keep=st.integers(1, 3))
    def prune(self, keep: int) -> None:
        assert self.stash.prune_versions(keep=keep) == self.model.prune(keep)

    # -- the stash itself

    @precondition(lambda self: self.settings["engine"] != "memory" or len(self.model.kept) < 3)
    @rule()
    def close(self) -> None:
        self.stash.close()

    @rule(codec=CODECS)
    def reopen(self, codec: dict[str, Any]) -> None:
        """Go on with another object, which writes by another codec."""
        if self.settings["engine"] != "memory":
            self.stash.close()
        self.stash = HashStash(self.root, **self.settings, **codec)

    @rule()
    def reopen_without_append_mode(self) -> None:
        """A place that kept versions goes on keeping them."""
        self.stash = HashStash(self.root, engine=self.settings["engine"])

    @rule()
    def repair(self) -> None:
        assert self.stash.repair() == []

    # -- comparing

    @rule()
    def everything(self) -> None:
        kept = self.model.kept
        items = [(place_of(key), value) for key, value in self.stash.items()]
        assert sorted(key for key, _ in items) == sorted(kept)
        assert all(same(value, self.model.latest(key)) for key, value in items)
        assert sorted(map(place_of, self.stash)) == sorted(kept)
        found: dict[int, list[Any]] = {}
        for key, value in self.stash.items(all_versions=True):
            found.setdefault(place_of(key), []).append(value)
        assert found.keys() == kept.keys()
        for key, versions in kept.items():
            assert same(found[key], [value for _, value in versions])

    @invariant()
    def length(self) -> None:
        assert len(self.stash) == len(self.model.kept)
        assert bool(self.stash) == bool(self.model.kept)


def compare(
    folder: Path, engine: str, *, append: bool, examples: int, steps: int, phases: Sequence[Phase]
) -> None:
    try:
        HashStash(folder, engine=engine)
    except MissingDependencyError as exc:
        missing(exc)
    machine: Any = partial(StashMachine, folder, engine, append=append)
    wanted = settings(
        max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck),
        phases=phases,
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=wanted)


@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_stash_is_a_dict(tmp_path: Path, engine: str, append: bool) -> None:
    compare(tmp_path, engine, append=append, examples=8, steps=25, phases=[Phase.generate])


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("append", [False, True], ids=["plain", "append"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_stash_is_a_dict_for_long(tmp_path: Path, engine: str, append: bool) -> None:
    compare(tmp_path, engine, append=append, examples=300, steps=80, phases=list(Phase))
