from __future__ import annotations

import os
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from hashstash.errors import ConfigurationError
from hashstash.rows import codec_header, parse, seal
from hashstash.signing import Keyring, secret_path, user_secret

CODEC = codec_header("pickle")
KEY_A, KEY_B = "a" * 32, b"b" * 70


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HASHSTASH_KEYS", raising=False)


def signed(ring: Keyring, key: bytes = b"Pk", payload: bytes = b"payload") -> bytes:
    return seal(key, CODEC, payload, b"", lambda head, body: ring.mac(key, head, body))


def trusts(ring: Keyring, row: bytes, key: bytes) -> bool:
    parts = parse(row, key)
    return ring.verifies(key, parts.signed, parts.payload, parts.mac)


def test_the_first_key_signs_and_all_verify() -> None:
    old, new = Keyring([KEY_A], "s"), Keyring([KEY_B, KEY_A], "s")
    assert trusts(new, signed(old), b"Pk")
    assert trusts(new, signed(new), b"Pk")
    assert not trusts(old, signed(new), b"Pk")


def test_a_row_of_another_stash_or_key_is_not_believed() -> None:
    row = signed(Keyring([KEY_A], "one/main"))
    assert not trusts(Keyring([KEY_A], "two/main"), row, b"Pk")
    ring = Keyring([KEY_A], "one/main")
    other = seal(b"Pother", CODEC, b"payload", b"", lambda *_: parse(row, b"Pk").mac)
    assert not trusts(ring, other, b"Pother")


def test_payload_header_and_mac_are_each_covered() -> None:
    ring = Keyring([KEY_A], "s")
    mac = parse(signed(ring), b"Pk").mac
    other_payload = seal(b"Pk", CODEC, b"other", b"", lambda *_: mac)
    other_codec = seal(b"Pk", codec_header("jsonpickle"), b"payload", b"", lambda *_: mac)
    for row in (other_payload, other_codec):
        assert not trusts(ring, row, b"Pk")
    parts = parse(signed(ring), b"Pk")
    assert ring.verifies(b"Pk", parts.signed, parts.payload, parts.mac)
    assert not ring.verifies(b"Pk", parts.signed, parts.payload, bytes(32))
    assert not ring.verifies(b"Pk", parts.signed, parts.payload, b"")


def test_the_users_secret_is_made_once_and_private() -> None:
    assert not os.path.exists(secret_path())
    row = signed(Keyring(None, "s"))
    assert trusts(Keyring(None, "s"), row, b"Pk")
    assert stat.S_IMODE(os.stat(secret_path()).st_mode) == 0o600
    assert os.listdir(os.path.dirname(secret_path())) == ["signing.key"]


def test_the_users_secret_verifies_beside_given_keys() -> None:
    row = signed(Keyring(None, "s"))
    assert trusts(Keyring([KEY_A], "s"), row, b"Pk")


def test_given_keys_make_no_secret() -> None:
    ring = Keyring([KEY_A], "s")
    assert not trusts(ring, signed(Keyring([KEY_B], "s")), b"Pk")
    assert not os.path.exists(secret_path())


def test_processes_that_begin_at_once_share_one_secret() -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        found = set(pool.map(_secret, range(8)))
    assert len(found) == 1


def _secret(_: int) -> bytes:
    return user_secret()


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHSTASH_KEYS", f"{KEY_A}, {'c' * 20}")
    row = signed(Keyring(None, "s"))
    assert trusts(Keyring([KEY_A], "s"), row, b"Pk")
    monkeypatch.setenv("HASHSTASH_KEYS", "short")
    with pytest.raises(ConfigurationError, match="too short"):
        signed(Keyring(None, "s"))


def test_a_secret_that_others_can_read_is_refused() -> None:
    user_secret()
    os.chmod(secret_path(), 0o644)
    with pytest.raises(ConfigurationError, match="others"):
        user_secret()


def test_a_secret_behind_a_link_is_refused(tmp_path: Path) -> None:
    user_secret()
    elsewhere = tmp_path / "planted"
    elsewhere.write_bytes(b"p" * 32)
    elsewhere.chmod(0o600)
    os.unlink(secret_path())
    os.symlink(elsewhere, secret_path())
    with pytest.raises(ConfigurationError, match="Cannot read"):
        user_secret()


def test_a_damaged_secret_is_said() -> None:
    user_secret()
    with open(secret_path(), "wb"):
        pass
    with pytest.raises(ConfigurationError, match="damaged"):
        user_secret()


@pytest.mark.parametrize("keys", [[], ["short"], [b"x" * 15]])
def test_keys_that_cannot_be_used(keys: list[str | bytes]) -> None:
    with pytest.raises(ConfigurationError):
        Keyring(keys, "s")


def test_keys_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="text or bytes"):
        Keyring([1], "s")  # type: ignore[list-item]


def test_fingerprints_bring_keys_back_in_the_same_process() -> None:
    ring = Keyring([KEY_A, KEY_B], "s")
    again = Keyring.recalled(ring.fingerprints(), "s")
    assert trusts(again, signed(ring), b"Pk")
    assert KEY_A not in str(ring.fingerprints())


def test_fingerprints_of_unknown_keys_need_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hashstash.signing._given_here", {})
    names = Keyring([KEY_A], "s").fingerprints()
    row = signed(Keyring([KEY_A], "s"))
    monkeypatch.setattr("hashstash.signing._given_here", {})
    with pytest.raises(ConfigurationError, match="HASHSTASH_KEYS"):
        Keyring.recalled(names, "s").mac(b"Pk", b"", b"")
    monkeypatch.setenv("HASHSTASH_KEYS", KEY_A)
    again = Keyring.recalled(names, "s")
    assert trusts(again, row, b"Pk")
    assert again.fingerprints() == names
