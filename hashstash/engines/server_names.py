"""Names of stashes as names that a server takes: readable, never two for one, never too long."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from string import ascii_letters, digits

PLAIN = frozenset(ascii_letters + digits + "_-")
"""Characters that every server takes in a name."""

_DIGEST_BYTES = 16
_TAIL = 23  # "~" and a digest of 16 bytes in base64


def escaped(text: str, keep: frozenset[str] = PLAIN) -> str:
    """Return ``text`` with every character that is not in ``keep`` as ``=XX`` for each byte.

    Args:
        text: any text.
        keep: ASCII characters that stay as they are; never ``=`` and ``~``.

    >>> escaped("my stash/λ")
    'my=20stash=2F=CE=BB'
    """
    if keep.issuperset(text):
        return text
    return "".join(
        char if char in keep else "".join(f"={byte:02X}" for byte in _bytes(char)) for char in text
    )


def bounded(name: str, limit: int) -> str:
    """Return ``name`` if it has at most ``limit`` characters, else its beginning and a digest.

    >>> bounded("short", 40)
    'short'
    >>> len(bounded("long" * 100, 40))
    40
    """
    if len(name) <= limit:
        return name
    digest = blake2b(_bytes(name), digest_size=_DIGEST_BYTES).digest()
    return f"{name[: limit - _TAIL]}~{urlsafe_b64encode(digest).decode().rstrip('=')}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
