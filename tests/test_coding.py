from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from hashstash import (
    CorruptRowError,
    SerializationError,
    UnknownNameError,
    UntrustedRowError,
    decode,
    deserialize,
    encode,
    serialize,
)


@pytest.mark.parametrize("serializer", ["hashstash", "pickle", "jsonpickle"])
def test_serialize_and_back(serializer: str) -> None:
    value = {"name": ["cat", "dog"], "n": (1, 2.5, None)}
    assert deserialize(serialize(value, serializer=serializer), serializer=serializer) == value
    assert deserialize(serialize(value, serializer=serializer)) == value


def test_a_table_comes_back_equal() -> None:
    pd = pytest.importorskip("pandas")
    data = pd.DataFrame({"name": ["cat", "dog"], "goodness": ["good", "bad"]})
    assert data.equals(deserialize(serialize(data, serializer="hashstash"), serializer="hashstash"))


def test_functions_come_back_on_the_same_machine_and_not_when_safe() -> None:
    data = serialize(lambda x: x + 1)
    found = deserialize(data)
    assert callable(found)
    assert found(1) == 2
    with pytest.raises(UntrustedRowError):
        deserialize(data, safe=True)


def test_bytes_of_others_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHSTASH_KEYS", "k" * 32)
    data = serialize(lambda x: x + 1)
    monkeypatch.setenv("HASHSTASH_KEYS", "l" * 32)
    with pytest.raises(UntrustedRowError):
        deserialize(data)
    with pytest.raises(CorruptRowError):
        deserialize(pickle.dumps({"a": 1}))
    with pytest.raises(CorruptRowError, match="pickle"):
        deserialize(serialize(1, serializer="pickle"), serializer="hashstash")


def test_wrong_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'pickle'"):
        serialize(1, serializer="pickel")
    with pytest.raises(UnknownNameError, match="Did you mean 'lz4'"):
        encode(b"x", compress="lz5")
    with pytest.raises(SerializationError):
        serialize(iter([1]))


@pytest.mark.parametrize(
    "compress", [None, "raw", "zlib", "gzip", "bz2", "lzma", "lz4", "blosc", "zstd"]
)
@pytest.mark.parametrize("b64", [False, True])
def test_encode_and_back(compress: str | None, b64: bool) -> None:
    data = b"Hello, World!" * 100
    encoded = encode(data, compress=compress, b64=b64)
    assert decode(encoded, compress=compress, b64=b64) == data
    assert not b64 or encoded.isascii()
    assert decode(encode("text ü"), None) == "text ü".encode()
    if b64:
        with pytest.raises(CorruptRowError):
            decode(b"not base64!", compress=compress, b64=True)
