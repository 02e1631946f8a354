"""Rows that are damaged, of another format, or lie: each is refused, and the others stay."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from stashes import MakeStash

from hashstash import DecodeError, HashStash, SizeLimitError
from hashstash.encoders import ENCODERS
from hashstash.encoders.chain import EncoderChain
from hashstash.errors import CorruptRowError, MissingDependencyError, UntrustedRowError
from hashstash.rows import FIELDS, KEY, SIGNED, VERSIONED, parse, seal, version_of
from hashstash.testing.engine import missing

from .planting import Scene, body_of, codes, headed, resealed, unsigned

# -- bytes that are damaged ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["data", "code", "versioned"])
def test_every_cut_and_every_flipped_bit(make: MakeStash, kind: str) -> None:
    stash = make(append_mode=kind == "versioned")
    for _ in range(2):
        stash["bad"] = {"code": textwrap.dedent, "data": [1, "x"], "versioned": [2]}[kind]
    stash["good"] = "good"
    stored = stash.encode_key("bad")
    row = stash._engine.get(stored)
    assert row is not None
    flipped = [
        row[:place] + bytes((row[place] ^ 1 << place % 8,)) + row[place + 1 :]
        for place in range(len(row))
    ]
    cut = [row[:length] for length in range(len(row))]
    for damaged in (*flipped, *cut, row + b"x", row * 2):
        stash._engine.put(stored, damaged)
        for act in (
            lambda: stash["bad"],
            lambda: stash.get_all("bad"),
            lambda: list(stash.items()),
            lambda: list(stash.items(all_versions=True)),
            lambda: stash.pop("bad"),
        ):
            with pytest.raises(CorruptRowError):
                act()
        (found,) = stash.verify()
        assert (found.key, found.version, found.damaged) == ("bad", None, True)
        assert stash["good"] == "good"
        assert sorted(stash) == ["bad", "good"]
    stash._engine.put(stored, row)
    assert stash.verify() == []


@pytest.mark.parametrize("length", [0, 1, 3, 4, 20, 32, 33, 40])
@pytest.mark.parametrize("append_mode", [False, True])
def test_a_row_cut_short_can_be_replaced_or_removed(
    make: MakeStash, append_mode: bool, length: int
) -> None:
    stash = make(append_mode=append_mode)
    stash["good"] = "good"
    for way in ("delete", "delete_many", "clear", "repair", "overwrite"):
        for number in range(3):
            stash["bad"] = number
        stored = stash.encode_key("bad")
        row = stash._engine.get(stored)
        assert row is not None
        stash._engine.put(stored, row[:length])
        if way == "delete":
            del stash["bad"]
        elif way == "delete_many":
            assert stash.delete_many(["bad", "absent"]) == 1
        elif way == "clear":
            stash.clear()
        elif way == "repair":
            assert [one.key for one in stash.repair()] == ["bad"]
        elif append_mode:
            with pytest.raises(CorruptRowError):  # its number is lost, and none is made up
                stash["bad"] = "new"
            stash.repair()
        else:
            stash["bad"] = "new"
            assert stash.pop("bad") == "new"
        assert stash.verify() == []
        assert "bad" not in stash
        if way == "clear":
            stash["good"] = "good"
        assert stash["good"] == "good"


def test_a_damaged_latest_version_costs_no_history(make: MakeStash) -> None:
    stash = make(append_mode=True)
    for number in range(5):
        stash["k"] = number
        stash["other"] = number
    stored = stash.encode_key("k")
    row = stash._engine.get(stored)
    assert row is not None
    damaged = row[:-1] + b"!"
    stash._engine.put(stored, damaged)
    assert stash.prune_versions(keep=2) == 3
    assert stash.versions("other") == [4, 5]
    assert [one.key for one in stash.repair()] == ["k"]
    assert stash.get_all("k") == [0, 1, 2, 3]
    stash["k"] = "next"
    assert stash.versions("k") == [1, 2, 3, 4, 5]


# -- other formats ---------------------------------------------------------------------------


def test_rows_of_other_formats(scene: Scene) -> None:
    row = scene.row("plain")
    key = scene.key("bad")
    for version in (0, 2, 255):
        scene.plant("bad", resealed(key, row[8:], 0, version=version))
        with pytest.raises(CorruptRowError, match=f"format version {version};"):
            scene.stash["bad"]
    for flags in (8, 16, 0x80, 0xFF):
        scene.plant("bad", resealed(key, row[8:], flags))
        with pytest.raises(CorruptRowError, match="unknown flags"):
            scene.stash["bad"]
    for foreign in (b"", b"HS", b"\x80\x05N.", b"{}", b"SQLite format 3\0" * 9, bytes(100)):
        scene.plant("bad", foreign)
        with pytest.raises(CorruptRowError):
            scene.stash["bad"]
    scene.refuses("bad", CorruptRowError)
    scene.sets_aside("bad")


def test_code_in_a_row_of_another_format(scene: Scene) -> None:
    """What no later format may say is that rows of an earlier one need no signature."""
    for codec, payload in codes(str(scene.mark)).values():
        for version in (0, 2):
            body = body_of(codec.encode(), payload)
            scene.plant("bad", resealed(scene.key("bad"), body, 0, version=version))
            with pytest.raises(CorruptRowError):
                scene.stash["bad"]
    scene.sets_aside("bad")


# -- lengths and numbers that lie under a right checksum -------------------------------------

_MOST = b"\xff\xff\xff\xff"
LIES = {
    "a codec longer than the row": (0, body_of(b"abc", b"", 255)),
    "no codec": (0, body_of(b"", b"[1]")),
    "fields longer than the row": (FIELDS, body_of(b"hashstash", _MOST + b"[1]")),
    "fields cut short": (FIELDS, body_of(b"hashstash", b"\1\0")),
    "a field longer than all fields": (
        FIELDS,
        body_of(b"hashstash", b"\5\0\0\0" + b"\1" + _MOST + b"[1]"),
    ),
    "a field cut short": (FIELDS, body_of(b"hashstash", b"\3\0\0\0" + b"\1\0\0" + b"[1]")),
    "a version cut short": (VERSIONED, body_of(b"hashstash", bytes(10))),
    "version 0": (VERSIONED, body_of(b"hashstash", bytes(24) + b"[1]")),
    "the last version": (VERSIONED, body_of(b"hashstash", b"\xff" * 24 + b"[1]")),
    "all flags and nothing": (7, body_of(b"hashstash", b"")),
    "a head longer than the row": (0, body_of(b"hashstash", b"D" + b"\xff" * 8 + b"[1,[]]")),
    "a head cut short": (0, body_of(b"hashstash", b"D\6\0\0")),
    "a segment longer than the row": (
        0,
        body_of(b"hashstash", headed(b'[{"!bytes":0},[1000000000000]]')),
    ),
    "segments that go back": (0, body_of(b"hashstash", headed(b'[{"!bytes":0},[-5,5]]'))),
    "a segment that is used twice": (
        0,
        body_of(b"hashstash", headed(b'[[{"!bytes":0},{"!bytes":0}],[1]]') + b"x"),
    ),
    "an array of nothing": (
        0,
        body_of(b"hashstash", headed(b'[{"!np.array":["<f8",[1099511627776],"C",0]},[0]]')),
    ),
    "no payload": (0, body_of(b"hashstash", b"")),
}


def test_lengths_that_lie(scene: Scene) -> None:
    for name, (flags, body) in LIES.items():
        scene.plant("bad", resealed(scene.key("bad"), body, flags))
        error = DecodeError if name == "no codec" else CorruptRowError
        with pytest.raises(error):
            scene.stash["bad"]
    scene.refuses("bad", CorruptRowError)
    scene.sets_aside("bad")


@pytest.mark.parametrize("number", [2, 5_000, 1 << 40, (1 << 63) - 1])
def test_a_version_number_that_lies(make: MakeStash, number: int) -> None:
    """Reading, verifying and removing take no longer for it, and need no more memory."""
    stash = make(append_mode=True)
    for value in range(3):
        stash["good"] = value
    stored = stash.encode_key("bad")
    block = struct.pack("<Q16s", number, bytes(16))
    body = body_of(b"hashstash", block + b'"planted"')
    stash._engine.put(stored, resealed(stored, body, VERSIONED))
    assert stash["bad"] == "planted"
    assert stash.get_all("bad") == ["planted"]
    assert stash.versions("bad") == [number]
    assert len(list(stash.items(all_versions=True))) == 4
    assert stash.verify() == []
    assert stash.prune_versions(keep=1) == 2
    if number + 1 < 1 << 63:
        stash["bad"] = "next"
        assert stash.versions("bad") == [number, number + 1]
    del stash["bad"]
    assert list(stash) == ["good"]


def test_a_row_that_names_the_history_of_another_key(make: MakeStash) -> None:
    stash = make(append_mode=True)
    for value in range(5):
        stash["good"] = value
    head = stash._engine.get(stash.encode_key("good"))
    assert head is not None
    stored = stash.encode_key("bad")
    body = body_of(b"hashstash", struct.pack("<Q16s", 4, version_of(head)[1]) + b"1")
    stash._engine.put(stored, resealed(stored, body, VERSIONED))
    with pytest.raises(CorruptRowError, match="another key"):
        stash.get_all("bad")
    assert {one.key for one in stash.verify()} == {"bad"}
    assert stash.get_all("good") == [0, 1, 2, 3, 4]


# -- payloads --------------------------------------------------------------------------------

DEEP = 200_000
NESTED = {
    "lists": b"[" * DEEP + b"]" * DEEP,
    "dicts": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "open lists": b"[" * DEEP,
    "marked": headed(b"[" + b"[" * DEEP + b"]" * DEEP + b",[]]"),
    "tagged": headed(b"[" + b'{"!tuple":[' * DEEP + b"1" + b"]}" * DEEP + b",[]]"),
}


def test_nesting(scene: Scene) -> None:
    for payload in NESTED.values():
        scene.plant("bad", unsigned(scene.key("bad"), "hashstash", payload))
        with pytest.raises(CorruptRowError):
            scene.stash["bad"]
    scene.refuses("bad", CorruptRowError)
    scene.sets_aside("bad")


CODECS = ["", "+", "zip", "HASHSTASH", "hashstash+", "hashstash+rot13", "+zlib", "zlib+hashstash",
          "../../planted", "os:system", "planted_module:thing", "hashstash\0", "pickle ",
          "hashstash" + "+zlib" * 5]  # fmt: skip


def test_codecs_that_do_not_exist(scene: Scene) -> None:
    for codec in CODECS:
        scene.plant("bad", unsigned(scene.key("bad"), codec, b"[1]"))
        with pytest.raises(DecodeError) as caught:
            scene.stash["bad"]
        assert caught.value.stage == "codec"
        assert "codec" in str(caught.value)
    scene.plant("bad", resealed(scene.key("bad"), body_of(b"\xff\xfe", b"[1]"), 0))
    scene.refuses("bad", DecodeError, "codec")
    scene.leaves_alone("bad")


def test_payloads_that_another_codec_wrote(scene: Scene) -> None:
    for name in sorted(ENCODERS):
        try:
            chain = EncoderChain((name,))
        except MissingDependencyError as exc:
            missing(exc)
        for payload in (b"[1]", b"", bytes(100), b"\xff" * 100, chain.encode(b"[1]")[:-1]):
            scene.plant("bad", unsigned(scene.key("bad"), f"hashstash+{name}", payload))
            with pytest.raises(CorruptRowError):
                scene.stash["bad"]
    scene.sets_aside("bad")


WITHOUT = """
import sys
sys.modules["zstandard"] = sys.modules["jsonpickle"] = sys.modules["numpy"] = None
from hashstash import HashStash
stash = HashStash({root!r}, engine={engine!r})
for key, error, words in [
    ("zstd", ValueError, "pip install 'hashstash[zstd]'"),
    ("jsonpickle", ValueError, "pip install 'hashstash[jsonpickle]'"),
    ("array", ImportError, "pip install 'hashstash[numpy]'"),
]:
    try:
        stash[key]
    except error as exc:
        assert words in str(exc), exc
    else:
        raise AssertionError(key)
found = stash.verify()
assert sorted(one.key for one in found) == ["array", "jsonpickle", "zstd"], found
assert not any(one.damaged for one in found), found
assert stash.repair() == []
assert stash["plain"] == 1
"""


@pytest.mark.parametrize("engine", ["pairtree", "sqlite"])
def test_packages_that_are_not_installed(tmp_path: Path, engine: str) -> None:
    numpy = pytest.importorskip("numpy")
    HashStash(tmp_path, engine=engine, compress="zstd")["zstd"] = 1
    HashStash(tmp_path, engine=engine, serializer="jsonpickle")["jsonpickle"] = 1
    HashStash(tmp_path, engine=engine).update({"array": numpy.arange(3), "plain": 1})
    code = WITHOUT.format(root=str(tmp_path), engine=engine)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# -- bombs -----------------------------------------------------------------------------------

BOMB = 64 << 20
LIMIT = 1 << 20
FUEL = 24 << 20
"""How much more memory the process may take for all that it refuses."""

DEFUSE = """
import json, resource, sys
from hashstash import HashStash, SizeLimitError
root, limit, fuel = json.loads(sys.argv[1])
stash = HashStash(root, engine="pairtree", max_value_bytes=limit)
for key in [key for key in stash if key.startswith("good")]:
    stash[key]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
refused = 0
for key in [key for key in stash if not key.startswith("good")]:
    for act in (lambda: stash[key], lambda: stash.get_many([key]), lambda: stash.pop(key)):
        try:
            act()
        except SizeLimitError:
            refused += 1
assert len(stash.verify()) == refused / 3
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
assert grown < fuel, f"{grown >> 20} MB"
print(refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units elsewhere")
def test_bombs_take_no_memory(tmp_path: Path) -> None:
    stash = HashStash(tmp_path, engine="pairtree")
    chains: list[tuple[str, ...]] = [(name,) for name in sorted(ENCODERS) if name != "b64"]
    chains += [("zlib", "b64"), ("zlib", "zlib"), ("zlib", "gzip", "bz2", "b64")]
    zeros = b'"' + b"0" * BOMB + b'"'
    for chain in chains:
        for name, text in ("good", b"[1]"), ("bomb", zeros):
            key = stash.encode_key(f"{name} {chain}")
            payload = EncoderChain(chain).encode(text)
            stash._engine.put(key, unsigned(key, "+".join(("hashstash", *chain)), payload))
    arguments = json.dumps([str(tmp_path), LIMIT, FUEL])
    command = [sys.executable, "-c", DEFUSE, arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert int(done.stdout) == 3 * len(chains)


def test_a_bomb_among_good_items(make: MakeStash) -> None:
    stash = make(max_value_bytes=10_000)
    stash["good"] = 1
    make(compress="zlib")["bomb"] = "x" * 1_000_000
    for act in (
        lambda: stash["bomb"],
        lambda: list(stash.items()),
        lambda: stash.get_many(["bomb"]),
        lambda: stash.setdefault("bomb", 1),
    ):
        with pytest.raises(SizeLimitError, match="max_value_bytes"):
            act()
    assert stash["good"] == 1
    assert [(one.key, one.damaged) for one in stash.verify()] == [("bomb", False)]


def test_a_signed_bomb_is_checked_before_it_is_unpacked(make: MakeStash) -> None:
    stash, stored = make(), make().encode_key("bomb")
    payload = EncoderChain(("zlib",)).encode(b"0" * 1_000_000)
    row = seal(stored, b"\x0bpickle+zlib", payload, b"", lambda *_: bytes(32))
    stash._engine.put(stored, row)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UntrustedRowError) as caught:
        make(max_value_bytes=1000)["bomb"]  # else: SizeLimitError
    assert caught.value.stage == "signature"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


def test_rows_that_say_nothing_of_their_long_key(scene: Scene) -> None:
    key = "long " * 50
    row, stored = scene.row(key), scene.key(key)
    parts = parse(row, stored)
    bare = unsigned(stored, parts.codec.decode(), bytes(parts.payload))
    assert parts.fields[KEY]
    assert SIGNED & row[3] == 0
    scene.plant(key, bare)
    for act in (lambda: scene.stash[key], lambda: key in scene.stash):
        with pytest.raises(DecodeError, match="another key"):
            act()
    with pytest.raises(CorruptRowError, match="does not say"):
        list(scene.stash)
    found: list[Any] = [one.stored_key for one in scene.stash.verify()]
    assert found == [stored]
    assert [one.damaged for one in scene.stash.repair()] == [True]
    assert key not in scene.stash
