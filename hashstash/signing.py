"""Signatures on rows that need code to come back: who wrote them, for which key and stash."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence

from .errors import ConfigurationError
from .locations import data_root
from .rows import MAC_BYTES, Buffer

SHORTEST = 16
"""The fewest bytes a signing key may have."""

_given_here: dict[str, bytes] = {}
"""The keys given to stashes of this process, by fingerprint, for stashes that are unpickled."""

_PERSON = b"hashstash-row-1"


class Keyring:
    """The keys with which a stash signs rows and believes signatures.

    The first key signs and all verify. Without keys, ``HASHSTASH_KEYS`` (separated by commas)
    is used, and without that a secret of this user, made on first need in the user's data
    folder (mode 0600). The user's own secret always verifies.

    Args:
        keys: secrets shared with other machines, of at least 16 bytes each.
        namespace: the stash's own name, so that a row of another stash is not believed.

    Raises:
        ConfigurationError: a key is too short.
    """

    def __init__(self, keys: Sequence[str | bytes] | None, namespace: str) -> None:
        self.given = tuple(_checked(key) for key in keys) if keys is not None else None
        if self.given == ():
            raise ConfigurationError("signing_keys is empty: leave it out to use your own secret")
        self._expected: tuple[str, ...] = ()
        for key in self.given or ():
            _given_here[_fingerprint(key)] = key
        self._namespace = _framed(namespace.encode("utf-8", "surrogatepass"))
        self._bases: list[hashlib.blake2b] | None = None
        self._own: hashlib.blake2b | None = None

    def fingerprints(self) -> tuple[str, ...]:
        """Return what names the given keys in a pickle, where the keys themselves never go."""
        return self._expected or tuple(_fingerprint(key) for key in self.given or ())

    @classmethod
    def recalled(cls, fingerprints: Sequence[str], namespace: str) -> Keyring:
        """Return the keyring that ``fingerprints`` name.

        The keys are those given to some stash of this process (or of the parent, after a
        fork), else those of ``HASHSTASH_KEYS``, asked for on first need.
        """
        if not fingerprints:
            return cls(None, namespace)
        known = [_given_here[name] for name in fingerprints if name in _given_here]
        if len(known) == len(fingerprints):
            return cls(known, namespace)
        made = cls(None, namespace)
        made._expected = tuple(fingerprints)
        return made

    def at(self, namespace: str) -> Keyring:
        """Return a keyring of the same keys for another stash."""
        made = Keyring(self.given, namespace)
        made._expected = self._expected
        return made

    def mac(self, stored_key: bytes, header: bytes, payload: Buffer) -> bytes:
        """Return the signature of a row."""
        bases = self._bases
        if bases is None:
            bases = self._load()
        return _mac(bases[0], stored_key, header, payload)

    def verifies(self, stored_key: bytes, header: bytes, payload: Buffer, mac: bytes) -> bool:
        """Tell whether ``mac`` was made by a key held here, for this stash, key and row."""
        bases = self._bases
        if bases is None:
            bases = self._load()
        for base in bases:
            if hmac.compare_digest(_mac(base, stored_key, header, payload), mac):
                return True
        own = self._own_base()
        return own is not None and hmac.compare_digest(_mac(own, stored_key, header, payload), mac)

    def _load(self) -> list[hashlib.blake2b]:
        keys = self.given
        if keys is None:
            shared = os.environ.get("HASHSTASH_KEYS", "")
            keys = tuple(_checked(key.strip()) for key in shared.split(",") if key.strip())
            if self._expected and self._expected[0] not in map(_fingerprint, keys):
                raise ConfigurationError(
                    "This stash was pickled in a process that gave it signing_keys, and keys do "
                    "not travel in pickles: set HASHSTASH_KEYS here to the same keys."
                )
        self._bases = [self._base(key) for key in keys or (user_secret(),)]
        return self._bases

    def _own_base(self) -> hashlib.blake2b | None:
        if self._own is None:
            secret = existing_secret()
            if secret is not None:
                self._own = self._base(secret)
        return self._own

    def _base(self, key: bytes) -> hashlib.blake2b:
        folded = hashlib.blake2b(key, person=_PERSON).digest()  # a key of any length
        base = hashlib.blake2b(key=folded, digest_size=MAC_BYTES, person=_PERSON)
        base.update(self._namespace)
        return base


def _mac(base: hashlib.blake2b, stored_key: bytes, header: bytes, payload: Buffer) -> bytes:
    state = base.copy()
    state.update(_framed(stored_key) + _framed(header))
    state.update(payload)
    return state.digest()


def _fingerprint(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=16, person=b"hashstash-name").hexdigest()


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _checked(key: str | bytes) -> bytes:
    if not isinstance(key, (str, bytes)):
        raise TypeError(f"A signing key is text or bytes, not {type(key).__name__}")
    data = key.encode() if isinstance(key, str) else key
    if len(data) < SHORTEST:
        raise ConfigurationError(
            f"A signing key of {len(data)} bytes is too short; use at least {SHORTEST}, for "
            'example from: python -c "import secrets; print(secrets.token_hex())"'
        )
    return data


def secret_path() -> str:
    """Return where this user's own signing secret is kept."""
    return os.path.join(data_root(), "signing.key")


def user_secret() -> bytes:
    """Return this user's own signing secret, made now if there is none yet.

    Raises:
        ConfigurationError: it cannot be made, or others could read or replace it.
    """
    found = existing_secret()
    if found is not None:
        return found
    path = secret_path()
    try:
        _make_secret(path)
        return _read_secret(path)
    except OSError as exc:
        raise ConfigurationError(
            f"Cannot make the signing secret {path}: {exc}. Set HASHSTASH_KEYS instead."
        ) from exc


def existing_secret() -> bytes | None:
    """Return this user's own signing secret, or None if none was made yet."""
    path = secret_path()
    try:
        return _read_secret(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigurationError(f"Cannot read the signing secret {path}: {exc}") from exc


def _read_secret(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if os.name == "posix" and (
            found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o77
        ):
            raise ConfigurationError(
                f"The signing secret {path} belongs to or is open to others; remove it to have a "
                f"new one made, or: chown {os.getuid()} and chmod 600"
            )
        data = file.read()
    if len(data) < SHORTEST:
        raise ConfigurationError(
            f"The signing secret {path} is damaged; remove it to get a new one"
        )
    return data


def _make_secret(path: str) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    draft = f"{path}.{os.getpid()}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(descriptor)  # rows signed with a secret that is lost are lost
        try:
            os.link(draft, path)  # unlike a rename, never replaces what another process made
        except FileExistsError:
            pass
    finally:
        os.unlink(draft)
