"""The codec's parts as plain functions: objects to bytes, bytes to other bytes, and back."""

from __future__ import annotations

from .codec import Codec
from .encoders.chain import EncoderChain, encoder_names
from .errors import ConfigurationError, CorruptRowError
from .rows import parse
from .settings import MAX_VALUE_BYTES
from .signing import Keyring


def serialize(value: object, serializer: str = "hashstash") -> bytes:
    """Return ``value`` as bytes that ``deserialize`` turns back into an equal object.

    What needs code to come back (a function, an instance of a class of yours, everything under
    ``pickle`` and ``jsonpickle``) is signed with your own secret or ``HASHSTASH_KEYS``, as in
    a stash, so that nobody else's bytes run code here.

    Args:
        value: any object.
        serializer: ``hashstash``, ``pickle`` or ``jsonpickle``.

    Raises:
        SerializationError: it cannot be stored; the message names the offending part.

    Example:
        >>> deserialize(serialize({"cat": (1, 2)}))
        {'cat': (1, 2)}
    """
    return _codec(serializer, safe=False).encode(value, b"")


def deserialize(data: bytes, serializer: str | None = None, *, safe: bool = False) -> object:
    """Return the object that ``serialize`` was given.

    Args:
        data: what ``serialize`` returned.
        serializer: the name it was given, if that is to be checked; the bytes say it too.
        safe: whether to refuse bytes that need code, signed or not.

    Raises:
        CorruptRowError: the bytes are damaged, or another serializer's.
        UntrustedRowError: they need code and were not signed with a key held here.
    """
    if serializer is not None:
        found = parse(data, b"").codec.decode("ascii", "replace")
        if found != serializer:
            raise CorruptRowError(f"The bytes are {found!r}, not {serializer!r}", stage="codec")
    return _codec("hashstash", safe=safe).decode(data, b"")


def encode(data: bytes | str, compress: str | None = None, b64: bool = False) -> bytes:
    """Return ``data`` compressed and, on request, in base64.

    Args:
        data: bytes, or text (as UTF-8).
        compress: the compressor's name; None or ``raw`` for none.
        b64: whether the result is base64.

    Example:
        >>> encode(b"Hello, World!", b64=True)
        b'SGVsbG8sIFdvcmxkIQ=='
        >>> decode(encode(b"Hello, World!", compress="zlib"), compress="zlib")
        b'Hello, World!'
    """
    if isinstance(data, str):
        data = data.encode()
    return bytes(EncoderChain(encoder_names(compress, b64=b64)).encode(data))


def decode(
    data: bytes, compress: str | None = None, b64: bool = False, *, max_bytes: int = MAX_VALUE_BYTES
) -> bytes:
    """Return what ``encode`` was given.

    Args:
        data: what ``encode`` returned.
        compress: the compressor's name, as given to ``encode``.
        b64: whether it is base64, as given to ``encode``.
        max_bytes: the most bytes that the result may have.

    Raises:
        CorruptRowError: ``data`` is not what ``encode`` returns with these settings.
        SizeLimitError: the result would be larger than ``max_bytes``.
    """
    if max_bytes < 1:
        raise ConfigurationError(f"max_bytes is a number of bytes, not {max_bytes}")
    return bytes(EncoderChain(encoder_names(compress, b64=b64)).decode(data, max_bytes))


def _codec(serializer: str, *, safe: bool) -> Codec:
    keyring = Keyring(None, "hashstash.serialize")
    return Codec(serializer, (), keyring=keyring, safe=safe, max_value_bytes=MAX_VALUE_BYTES)
