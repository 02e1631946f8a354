"""Keys: names that lead elsewhere, rows that name another key, keys that need code."""

from __future__ import annotations

import os
import textwrap
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import ConfigurationError, DecodeError, HashStash
from hashstash.errors import CorruptRowError, KeyCollisionError, UntrustedRowError
from hashstash.keys import stable_bytes
from hashstash.rows import KEY, KEY_OBJECT, codec_header, pack_field, seal
from hashstash.serializers.hashstash import HashstashSerializer

from .planting import GOOD, Scene, codes, unsigned

PATHS: list[Any] = [
    "../../x", "/etc/passwd", "..", ".", "", "/", "a/../../b", "a\0b", "\0", "C:\\x", "..\\..\\x",
    "CON", "data.db", ".tmp", ".locks", "entries/00/00", "~", "$HOME", "%2e%2e%2f", "x" * 5000,
    "../" * 200, b"../../x", b"\0", ("..", ".."), Path("../../x"), PurePosixPath("/etc/passwd"),
    {"..": "/"}, "\udc80", "\n", "'; DROP TABLE entries; --", '"', "*", "?",
]  # fmt: skip


def test_keys_that_read_as_paths(make: MakeStash, tmp_path: Path) -> None:
    """None of them leads anywhere: all files are in the folder of the stash."""
    stash = make()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for number, key in enumerate(PATHS):
        stash[key] = number
    assert stash.get_many(PATHS) == list(range(len(PATHS)))
    assert sorted(stash.values()) == list(range(len(PATHS)))
    assert sorted(stash[key] for key in stash) == list(range(len(PATHS)))
    folder = Path(stash.to_dict()["root_dir"], "main", stash.to_dict()["engine"])
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(folder) for path in made)
    for key in PATHS:
        del stash[key]
    assert len(stash) == 0


@pytest.mark.parametrize(
    "name",
    ["..", ".", "../x", "x/..", "x/../../y", "/x", "x/", "", "x//y", "a\0b", "\\x", "..\\x",
     "data.db", "x/data.db/entries"],
)  # fmt: skip
def test_dbnames_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="dbname"):
        HashStash(tmp_path, name)
    with pytest.raises(ConfigurationError, match="dbname"):
        HashStash.from_dict({**HashStash(tmp_path).to_dict(), "dbname": name})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a\0b", b"x"])
def test_roots_that_cannot_be(name: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError), match="root_dir"):
        HashStash(name)


# -- rows that name a key that is not theirs ---------------------------------------------------

OPAQUE = OrderedDict(a=1)
"""A key that is data and is not plain: the row holds it."""
LONG = ("a long key", "x" * 200)


def claims(scene: Scene, key: Any, fields: bytes) -> None:
    scene.plant(key, unsigned(scene.key(key), "hashstash", b"[1]", fields))


@pytest.mark.parametrize("key", [OPAQUE, LONG, [OPAQUE, "x" * 200]], ids=["O", "D", "E"])
def test_a_row_that_names_another_key(scene: Scene, key: Any) -> None:
    serializer = HashstashSerializer()
    kind = scene.key(key)[:1]
    for other in ("plain", ("another", "y" * 200), OrderedDict(b=2), [1]):
        field = pack_field(KEY, stable_bytes(other))
        if kind != b"D":
            field += pack_field(KEY_OBJECT, serializer.dumps(other))
        claims(scene, key, field)
        for act in (lambda: list(scene.stash), lambda: list(scene.stash.items())):
            with pytest.raises((KeyCollisionError, CorruptRowError)):
                act()
        with pytest.raises((KeyCollisionError, CorruptRowError)):
            scene.stash.decode_key(scene.key(key))
        if kind != b"O":  # a digest is compared whenever it is looked up
            for look in (
                lambda: scene.stash[key],
                lambda: key in scene.stash,
                lambda: scene.stash.pop(key),
                lambda: scene.stash.__delitem__(key),
            ):
                with pytest.raises(KeyCollisionError):
                    look()
        scene.has_all_else()
    row = scene.row(key)
    assert [one.damaged for one in scene.stash.verify()] == [True]
    scene.sets_aside_stored(scene.key(key), row)
    scene.stash[key] = "new"
    assert scene.stash[key] == "new"
    assert key in list(scene.stash)


def test_a_row_with_damaged_fields_for_its_key(scene: Scene) -> None:
    for key in (OPAQUE, LONG):
        for data in (b"", b"[", b"\xff", b"s\xff\xff", b"t" * 2000, b"C" + bytes(8), b"D"):
            claims(scene, key, pack_field(KEY, data) + pack_field(KEY_OBJECT, data))
            with pytest.raises(DecodeError):
                list(scene.stash)
        claims(scene, key, b"")
        with pytest.raises(CorruptRowError, match="does not say"):
            list(scene.stash)
        scene.sets_aside_stored(scene.key(key), scene.row(key))


def test_keys_that_need_code_are_not_run_by_listing(scene: Scene) -> None:
    """The key of a row is code like its value is: a function, here."""
    key = textwrap.fill
    assert scene.key(key)[:1] in b"OE"
    canonical = pack_field(KEY, stable_bytes(key))
    ours = [one for one in codes(str(scene.mark)).values() if one[0] == "hashstash"]
    for _, payload in ours:
        for mac in (None, bytes(32), os.urandom(32)):
            sign = None if mac is None else (lambda *_, mac=mac: mac)
            fields = canonical + pack_field(KEY_OBJECT, payload)
            row = seal(scene.key(key), codec_header("hashstash"), b"[1]", fields, sign)
            scene.plant(key, row)
            for act in (
                lambda: list(scene.stash),
                lambda: list(scene.stash.keys()),
                lambda: list(scene.stash.items()),
                lambda: scene.stash.decode_key(scene.key(key)),
            ):
                with pytest.raises(UntrustedRowError):
                    act()
            scene.is_untouched()
    assert [one.damaged for one in scene.stash.verify()] == [False]
    scene.leaves_alone(key)
    scene.has_all_else()


# -- stored keys that are nobody's -------------------------------------------------------------

NOBODYS = [
    b"P", b"P\xff", b"Ps\x05ab", b"Pi\x02\0\1", b"Ps\xff" + bytes(8), b"Pt\x02s", b"PZ\x03../",
    b"O", b"D", b"E", b"D" + bytes(10), b"Z", b"\0", b"../../x", b"append-mode",
    b"P" + stable_bytes("x" * 98), b"Pd\x0ci\x01\x01i\x01\x01i\x01\x01i\x01\x02",
    b"Pq\x06i\x01\x01i\x01\0", b"Pe\x06i\x01\x02i\x01\x01",
]  # fmt: skip
"""Stored keys that ``encode_key`` returns for no object."""


def test_stored_keys_that_are_nobodys(scene: Scene) -> None:
    for key in NOBODYS:
        row = unsigned(key, "hashstash", b"[1]")
        scene.stash._engine.put(key, row)
        for act in (lambda: list(scene.stash), lambda key=key: scene.stash.decode_key(key)):
            with pytest.raises((CorruptRowError, KeyCollisionError)):
                act()
        assert [one.stored_key for one in scene.stash.verify()] == [key]
        scene.sets_aside_stored(key, row)
    scene.has_all_else()


def test_an_empty_stored_key(scene: Scene) -> None:
    """Only SQLite takes it, and then passes it over."""
    if scene.stash.to_dict()["engine"] != "sqlite":
        pytest.skip("this engine has no such key")
    scene.stash._engine.put(b"", unsigned(b"", "hashstash", b"[1]"))
    assert len(list(scene.stash)) == len(GOOD)
    scene.has_all_else()
