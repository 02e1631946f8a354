"""Rows that run something when they are believed: without a signature, with one that is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import HashStash, HashStashError, UntrustedRowError
from hashstash.errors import CorruptRowError
from hashstash.rows import SIGNED, parse

from .planting import (
    GOOD,
    MODULE,
    Scene,
    body_of,
    codes,
    cut_in_its_mac,
    disguised,
    forged,
    resealed,
    signed,
    unsigned,
)

Make = Callable[[Scene, bytes, str, bytes], bytes]
FORGERIES: dict[str, Make] = {
    "unsigned": lambda scene, key, codec, data: unsigned(key, codec, data),
    "a MAC of zeros": lambda scene, key, codec, data: forged(key, codec, data, bytes(32)),
    "a MAC by chance": lambda scene, key, codec, data: forged(key, codec, data, os.urandom(32)),
    "the MAC of another row": lambda scene, key, codec, data: forged(
        key, codec, data, parse(scene.row("code"), scene.key("code")).mac
    ),
}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> HashStash:
    return HashStash(tmp_path_factory.mktemp("control"), engine="memory")


@pytest.mark.parametrize("name", [*codes(""), *disguised("")])
def test_the_corpus_would_run_if_it_were_believed(memory: HashStash, mark: Path, name: str) -> None:
    codec, payload = {**codes(str(mark)), **disguised(str(mark))}[name]
    stored = memory.encode_key("bad")
    memory._engine.put(stored, signed(memory, stored, codec, payload))
    try:
        memory["bad"]
    except HashStashError:
        assert "as data" in name or "jsonpickle" in name  # after it has run, that one complains
    assert mark.exists() == ("as data" not in name)


@pytest.mark.parametrize("how", FORGERIES)
def test_nothing_planted_runs(scene: Scene, how: str) -> None:
    for codec, payload in {**codes(str(scene.mark)), **disguised(str(scene.mark))}.values():
        row = FORGERIES[how](scene, scene.key("bad"), codec, payload)
        scene.plant("bad", row)
        with pytest.raises(UntrustedRowError, match="bad"):
            scene.stash["bad"]
        scene.is_untouched()
    assert MODULE not in sys.modules
    scene.refuses("bad", UntrustedRowError)
    scene.leaves_alone("bad")


def test_a_signature_that_is_cut_short(scene: Scene) -> None:
    for codec, payload in codes(str(scene.mark)).values():
        scene.plant("bad", cut_in_its_mac(scene.key("bad"), codec, payload))
        with pytest.raises(CorruptRowError, match="does not fit"):
            scene.stash["bad"]
    scene.refuses("bad", CorruptRowError)
    scene.sets_aside("bad")


def test_a_safe_stash_believes_no_signature(make: MakeStash, mark: Path) -> None:
    stash, safe = make(), make(safe=True)
    for codec, payload in codes(str(mark)).values():
        stored = stash.encode_key("bad")
        stash._engine.put(stored, signed(stash, stored, codec, payload))
        with pytest.raises(UntrustedRowError, match="safe=True"):
            safe["bad"]
    assert not mark.exists()


def test_a_signature_that_was_taken_off(scene: Scene) -> None:
    row = scene.row("code")
    parts = parse(row, scene.key("code"))
    bare = body_of(parts.codec, bytes(parts.payload))
    scene.plant("bad", resealed(scene.key("bad"), bare, 0))
    scene.refuses("bad", UntrustedRowError)


def test_a_signed_row_moved_to_another_key(scene: Scene) -> None:
    row = scene.row("code")
    scene.plant("bad", row)
    scene.refuses("bad", CorruptRowError, "another key")
    scene.plant("bad", resealed(scene.key("bad"), row[8:], row[3]))
    scene.refuses("bad", UntrustedRowError)


def test_a_signed_row_moved_to_another_stash(scene: Scene, make: MakeStash) -> None:
    other = make("other")
    other["bad"] = GOOD["code"]
    row = other._engine.get(other.encode_key("bad"))
    assert row is not None
    scene.plant("bad", row)
    scene.refuses("bad", UntrustedRowError, "signed with another key, for another key or stash")
    assert other["bad"] is GOOD["code"]


def test_a_signed_row_made_to_name_another_codec(scene: Scene) -> None:
    row = scene.row("code")
    parts = parse(row, scene.key("code"))
    for codec in (b"pickle", b"jsonpickle", b"hashstash+zlib"):
        body = body_of(codec, parts.mac + bytes(parts.payload))
        scene.plant("code", resealed(scene.key("code"), body, SIGNED))
        with pytest.raises(UntrustedRowError):
            scene.stash["code"]
    scene.plant("code", row)
    scene.has_all_else()


def test_a_signed_row_of_somebody_else(make: MakeStash) -> None:
    make(signing_keys=["theirs" * 8])["k"] = GOOD["code"]
    ours = make(signing_keys=["ours" * 8])
    with pytest.raises(UntrustedRowError, match="signing_keys"):
        ours["k"]
    assert make(signing_keys=["ours" * 8, "theirs" * 8])["k"] is GOOD["code"]


@pytest.mark.parametrize("where", ["latest", "earlier"])
def test_code_among_versions(make: MakeStash, mark: Path, where: str) -> None:
    stash = make(append_mode=True)
    for number in range(4):
        stash["k"] = number
        stash["good"] = number
    stored = stash.encode_key("k")
    table: Any = stash._engine
    head = table.get(stored)
    slot = stored
    if where == "earlier":
        table = table.sibling("versions")
        history = parse(head, stored).history
        slot = history + (2).to_bytes(8, "big")
    for codec, payload in codes(str(mark)).values():
        table.put(slot, unsigned(stored, codec, payload))
        for act in (
            lambda: stash.get_all("k"),
            lambda: stash.get("k", version=1 if where == "latest" else 2),
            lambda: list(stash.items(all_versions=True)),
        ):
            with pytest.raises(UntrustedRowError):
                act()
    assert [(one.key, one.damaged) for one in stash.verify()] == [("k", False)]
    assert stash.get_all("good") == [0, 1, 2, 3]
    assert not mark.exists()
    assert stash.repair() == []
    del stash["k"]
    assert stash.verify() == []
