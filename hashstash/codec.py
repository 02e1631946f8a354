"""Values to stored rows and back: a serializer, an encoder chain and signatures, composed once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .encoders.chain import EncoderChain
from .errors import (
    CorruptRowError,
    DecodeError,
    HashStashError,
    KeyCollisionError,
    SerializationError,
    SizeLimitError,
    UnstableKeyError,
    UntrustedRowError,
)
from .keys import decode_canonical, stored_key
from .keys.stored import MAX_BYTES
from .rows import (
    KEY,
    KEY_OBJECT,
    LARGE,
    MAC_BYTES,
    SIGNED,
    Buffer,
    Row,
    check,
    codec_header,
    pack_field,
    parse,
    seal,
)
from .serializers import SERIALIZERS, Serializer
from .signing import Keyring

PLAIN, OPAQUE, DIGEST, OPAQUE_DIGEST = b"PODE"
"""The first byte of a stored key: whether the key can be read from it, and its digest."""
_PLAIN, _DIGEST = bytes((PLAIN,)), bytes((DIGEST,))

KeyPart = tuple[bytes, bool]
NO_KEY_PART: KeyPart = (b"", False)
"""The key part of a row whose key is read from the stored key."""

_START = 33


@lru_cache(maxsize=64)
def _serializer(name: str) -> Serializer:
    return SERIALIZERS.load(name)()


@lru_cache(maxsize=256)
def _reader(codec: bytes) -> tuple[EncoderChain | None, Callable[..., object]]:
    """Return the chain, if any, and the ``loads`` that a row's header names."""
    try:
        name, *encoders = codec.decode("ascii").split("+")
        chain = EncoderChain(tuple(encoders)) if encoders else None
        return chain, _serializer(name).loads
    except (HashStashError, UnicodeDecodeError) as exc:
        raise DecodeError(
            f"The row's codec {codec!r} cannot be used: {exc}", stage="codec"
        ) from exc


class Codec:
    """Turn values into stored rows and back.

    Rows name their own codec, so whatever earlier settings wrote stays readable.

    Args:
        serializer: the name of the serializer for new rows.
        encoders: the names of the encoders for new rows, in the order of encoding.
        keyring: signs and verifies rows that need code.
        safe: refuse such rows altogether.
        max_value_bytes: the most bytes that an encoded value may unfold to.
        where: the place of the rows, for messages.
    """

    def __init__(
        self,
        serializer: str,
        encoders: tuple[str, ...],
        *,
        keyring: Keyring,
        safe: bool,
        max_value_bytes: int,
        where: str = "memory",
    ) -> None:
        self._serializer = _serializer(serializer)
        self._chain = EncoderChain(encoders) if encoders else None
        self._header = codec_header("+".join((serializer, *encoders)))
        self._keyring = keyring
        self._safe = safe
        self._max_bytes = max_value_bytes
        self._where = where
        self._dumps, self._needs_trust = self._serializer.dumps, self._serializer.needs_trust

    def encode(
        self, value: object, key: bytes, canonical: bytes | None = None, key_object: object = None,
        fields: bytes = b"",
    ) -> bytes:  # fmt: skip
        """Return the row that stores ``value`` under the stored key ``key``.

        Args:
            value: what is stored.
            key: the stored key.
            canonical: the whole canonical key, if ``key`` is its digest.
            key_object: the key itself, kept in the row if ``key`` cannot be decoded.
            fields: further packed fields.

        Raises:
            SerializationError: the value cannot be stored, or needs code in a safe stash.
            SizeLimitError: it is larger than could be read back.
        """
        if key and key[0] != PLAIN:
            return self.encode_under(value, key, self.key_part(key, canonical, key_object), fields)
        return self.encode_under(value, key, NO_KEY_PART, fields)

    def encode_under(self, value: object, key: bytes, key_part: KeyPart, fields: bytes) -> bytes:
        """Return the row that stores ``value``, with what ``key_part`` returned for its key."""
        payload = self._dumps(value)
        signed = self._needs_trust(payload)
        if key_part is not NO_KEY_PART:
            fields += key_part[0]
            signed = signed or key_part[1]
        if signed and self._safe:
            raise SerializationError(
                f"This stash is safe=True and keeps data only, but a {type(value).__name__} or "
                "its key needs code to be read back. Store plain data, or open the stash with "
                "safe=False."
            )
        if self._chain is not None:
            if len(payload) > self._max_bytes:
                raise SizeLimitError(
                    f"The value takes {len(payload)} bytes and could not be read back with "
                    f"max_value_bytes={self._max_bytes}; raise that option.",
                    stage="size",
                )
            payload = self._chain.encode(payload)
        if not signed:
            return seal(key, self._header, payload, fields)
        return seal(
            key, self._header, payload, fields,
            lambda header, body: self._keyring.mac(key, header, body),
        )  # fmt: skip

    def decode(self, row: bytes, key: bytes, canonical: bytes | None = None) -> object:
        """Return the value in ``row``, found under the stored key ``key``.

        Args:
            row: the stored row.
            key: the stored key.
            canonical: the whole canonical key that was looked up, if ``key`` is its digest;
                compared with the row's.

        Raises:
            CorruptRowError: the row is damaged.
            UntrustedRowError: it needs code and is not signed by a key held here.
            KeyCollisionError: it is another key's.
            DecodeError: it names a codec that cannot be used.
        """
        try:
            flags = check(row, key)
            if flags & ~SIGNED or canonical is not None or len(row) >= LARGE:
                return self._decode_whole(row, key, canonical)
            # the most common rows, taken apart without the generality of ``parse``
            end = _START + row[32]
            start = end + MAC_BYTES if flags else end
            if start > len(row):
                return self._decode_whole(row, key, canonical)  # which says what is wrong
            chain, loads = _reader(row[_START:end])
            payload: Buffer = row[start:]
            trusted = bool(flags) and self._trusts(
                row[end:start], row[:4] + row[8:end], payload, key
            )
            if chain is not None:
                payload = chain.decode(payload, self._max_bytes)
            return loads(payload, trusted=trusted)
        except DecodeError as exc:
            if not key:  # bytes of ``serialize``, which are in no stash
                raise
            raise self._located(exc, key) from exc

    def _decode_whole(self, row: bytes, key: bytes, canonical: bytes | None) -> object:
        parts = parse(row, key)
        if canonical is not None:
            _match(parts, canonical)
        trusted = self._trusts(parts.mac, parts.signed, parts.payload, key)
        chain, loads = _reader(parts.codec)
        payload = parts.payload
        if chain is not None:
            payload = chain.decode(payload, self._max_bytes)
        return loads(payload, trusted=trusted)

    def holds(self, row: bytes, key: bytes, canonical: bytes) -> bool:
        """Confirm that ``row`` was stored under the whole key ``canonical``.

        Raises:
            KeyCollisionError: it was stored under another key.
        """
        return _match(parse(row, key), canonical)

    def decode_key(self, key: bytes, row: bytes | None) -> object:
        """Return the key object that ``key`` stands for.

        Args:
            key: the stored key.
            row: its row, needed where ``key_needs_row(key)`` is true.
        """
        if len(key) > MAX_BYTES:
            raise CorruptRowError(f"A stored key of {len(key)} bytes is not ours", stage="key")
        if not key_needs_row(key):
            return decode_canonical(key[1:])
        assert row is not None
        parts = parse(row, key)
        tag = KEY if key[:1] == _DIGEST else KEY_OBJECT
        stored = parts.fields.get(tag)
        if stored is None:
            raise CorruptRowError("The row does not say which key it belongs to", stage="key")
        trusted = False
        if tag == KEY_OBJECT:
            trusted = self._trusts(parts.mac, parts.signed, parts.payload, key)
            found = _serializer("hashstash").loads(stored, trusted=trusted)
        else:
            found = decode_canonical(stored)
        if not trusted and not _is_stored_under(found, key):
            raise KeyCollisionError("The row names another key than its own", stage="key")
        return found

    def _located(self, exc: DecodeError, key: bytes) -> DecodeError:
        """Return ``exc`` saying which row of which stash it is about."""
        try:
            name = repr(decode_canonical(key[1:])) if not key_needs_row(key) else key.hex()
        except DecodeError:
            name = key.hex()
        short = name if len(name) <= 80 else f"{name[:77]}..."
        told = str(exc)
        if self._safe and isinstance(exc, UntrustedRowError):
            told = (
                "This stash is safe=True and refuses rows that need code, signed or not; open it "
                "with safe=False to read those that you or your keys signed."
            )
        return type(exc)(f"{told} (key {short} at {self._where})", stage=exc.stage)

    def _trusts(self, mac: bytes, header: bytes, payload: Buffer, key: bytes) -> bool:
        """Tell whether the row may run code; raise if it claims so without being ours."""
        if not mac or self._safe:
            return False
        if not self._keyring.verifies(key, header, payload, mac):
            raise UntrustedRowError(
                "The row needs code and its signature does not verify: it was signed with another "
                "key, for another key or stash, or was tampered with. If you trust who wrote it, "
                "give their key in signing_keys=[...] or HASHSTASH_KEYS (and their namespace=).",
                stage="signature",
            )
        return True

    def key_part(self, key: bytes, canonical: bytes | None, key_object: object) -> KeyPart:
        """Return the fields of a row that keep its key, and whether reading them needs code."""
        fields, needs = b"", False
        if canonical is not None:
            fields = pack_field(KEY, canonical)
        if key[0] in (OPAQUE, OPAQUE_DIGEST):
            serializer = _serializer("hashstash")
            data = serializer.dumps(key_object)
            fields += pack_field(KEY_OBJECT, data)
            needs = serializer.needs_trust(data)
        return fields, needs


def _match(parts: Row, canonical: bytes) -> bool:
    if parts.fields.get(KEY) != canonical:
        raise KeyCollisionError(
            "The row under this key's digest was stored under another key", stage="key"
        )
    return True


def key_needs_row(key: bytes) -> bool:
    """Tell whether the key object is not in the stored key itself but in its row."""
    return key[:1] != _PLAIN


def _is_stored_under(found: object, key: bytes) -> bool:
    try:
        return stored_key(found)[0] == key
    except UnstableKeyError:
        return False
