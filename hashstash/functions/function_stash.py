"""The stash of one function's results, whose keys are calls."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hashstash.errors import CorruptRowError
from hashstash.expiry import is_expired
from hashstash.keys import stored_key
from hashstash.rows import META, parse
from hashstash.stash import HashStash

from .calls import Binder

if TYPE_CHECKING:
    from collections.abc import Callable

    from hashstash.settings import Settings
    from hashstash.signing import Keyring

    from .identity import Identity
    from .options import ResultOptions


class FunctionStash(HashStash):
    """A stash whose keys are calls of one function: ``((args...), {kwargs...})``.

    A key may be written in any way that the function may be called; it is bound to the
    signature, with defaults filled in. One that was unpickled in another process no longer
    knows the function, and takes keys as ``keys()`` gives them.
    """

    identity: Identity
    """Which function it is, and which state of its code."""

    _binder: Binder | None = None
    _options: ResultOptions | None = None

    @classmethod
    def below(
        cls, parent: HashStash, identity: Identity, binder: Binder, options: ResultOptions
    ) -> FunctionStash:
        """Return the stash, below ``parent``, of the results of one state of a function."""
        below = f"stashed_result/{identity.place}/{identity.version}"
        settings = replace(
            parent._settings,
            dbname=f"{parent._settings.dbname}/{below}",
            namespace=f"{parent._settings.namespace}/{below}",
        )
        made = cls.at(settings, parent._keyring.at(settings.namespace), identity, binder, options)
        if parent.is_tmp:
            parent._below.append(made._engine)
        return made

    @classmethod
    def at(
        cls,
        settings: Settings,
        keyring: Keyring,
        identity: Identity,
        binder: Binder,
        options: ResultOptions,
    ) -> FunctionStash:
        """Return the stash of the results of one state of a function, wherever it is kept."""
        made = cls.__new__(cls)
        made._compose(settings, keyring)
        made._binder, made._options, made.identity = binder, options, identity
        made._stored_key = made._stored_call
        return made

    @property
    def is_function_stash(self) -> bool:
        """Whether the keys are calls of a function."""
        return True

    def get_func(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or None if there is none; nothing is computed.

        Args:
            *args: arguments of the function.
            **kwargs: keyword arguments of the function.
        """
        return self.get((args, kwargs))

    def get_metadata(self, *args: Any, **kwargs: Any) -> Any:
        """Return the metadata kept with the result of this call, or None."""
        stored, _ = self._stored_key((args, kwargs))
        row = self._get(stored)
        found = None if row is None else parse(row, stored).fields.get(META)
        if found is None:
            return None
        try:
            return json.loads(found)
        except (ValueError, RecursionError) as exc:
            raise CorruptRowError(f"The metadata are no JSON: {exc}", stage="row") from exc

    def call_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the key of a call: its bound form, or what ``key=`` and ``hash=`` make of it."""
        assert self._binder is not None
        assert self._options is not None
        bound: Any = self._binder.bind(args, kwargs)  # raises for a call that cannot be
        if self._options.key is not None:
            bound = self._options.key(*args, **kwargs)
        return bound if self._options.hash is None else self._hashed(bound, self._options.hash)

    def get(self, key: Any, default: Any = None, *, version: int | None = None) -> Any:
        """Return the result under ``key``, or ``default`` if there is none or it has expired."""
        if self._options is not None and self._options.ttl is not None and version is None:
            stored, _ = self._stored_key(key)
            row = self._get(stored)
            if row is not None and is_expired(row, stored):
                return default
        return super().get(key, default, version=version)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(self._bound(key), value)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the result under ``key``, storing ``default`` first if there is none."""
        return super().setdefault(self._bound(key), default)

    def set_many(self, items: Any) -> None:
        """Store many results."""
        pairs = items.items() if hasattr(items, "items") else items
        super().set_many((self._bound(key), value) for key, value in pairs)

    def _bound(self, key: Any) -> Any:
        """Return ``key`` as it is kept, where the row keeps the key itself."""
        options = self._options
        if options is None or self._binder is None:
            return key
        if options.key is None and options.hash is None:
            return self._binder.rebind(key)
        return self.call_key(*key) if _is_call(key) else key

    def _stored_call(self, key: Any) -> tuple[bytes, bytes | None]:
        """Return the stored key of what reads as a call, or of what ``key=`` returned."""
        return stored_key(self._bound(key))

    @staticmethod
    def _hashed(key: Any, make: Callable[[Any], str]) -> str:
        made = make(key)
        if not isinstance(made, str):
            raise TypeError(f"hash= returns text, not {type(made).__name__}: {made!r}")
        return made


def _is_call(key: Any) -> bool:
    return (
        isinstance(key, tuple)
        and len(key) == 2
        and isinstance(key[0], tuple)
        and isinstance(key[1], dict)
    )
