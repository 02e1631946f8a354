"""HashStash: a dict whose items outlive the process."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .codec import Codec
from .locations import shorten_home
from .mapping import StashMapping
from .repair import UnreadableRow, set_aside, unreadable_rows
from .settings import FILENAME, NEAR_OPTIONS, Settings, check_signing_keys, drop_derived, resolve
from .signing import Keyring

if TYPE_CHECKING:
    from datetime import timedelta

    from typing_extensions import Self

    from .engines import Engine
    from .functions.maps import StashMap
    from .functions.results import StashedFunction
    from .temporary import TemporaryStash

P = ParamSpec("P")
R = TypeVar("R")
Functions = weakref.WeakKeyDictionary[Any, Any]
"""The stashed functions of a stash, by function."""


class HashStash(StashMapping):
    """A dict whose items outlive the process: any key, any value, in an engine picked by name.

    Constructing a stash touches no file and no server; it opens on first use. It pickles as
    its settings, and may be used by threads, forks and spawned workers alike.

    Args:
        root_dir: a bare name (a folder below the user's cache folder, or below
            ``HASHSTASH_ROOT``), a path, or a URL such as ``"lmdb:///abs/path"`` or
            ``"sqlite://name"``. Default: ``default_stash``.
        dbname: a name below the root, ``/`` between several. Default: ``main``.
        engine: where items are kept: ``pairtree`` (default), ``lmdb``, ``sqlite``,
            ``memory``, ... (``HASHSTASH_ENGINE``).
        serializer: how new values become bytes: ``hashstash`` (default), ``pickle`` or
            ``jsonpickle`` (``HASHSTASH_SERIALIZER``). Earlier values stay readable.
        compress: ``raw`` (default), ``zlib``, ``gzip``, ``bz2``, ``lzma``, ``lz4``, ``blosc``
            or ``zstd`` (``HASHSTASH_COMPRESS``).
        b64: whether new values are base64 too (``HASHSTASH_B64``).
        append_mode: whether every version of a value is kept.
        clear: whether to start empty.
        safe: whether values that need code to be read are refused, signed or not; the default
            on engines that other machines can write to (``HASHSTASH_SAFE``).
        signing_keys: secrets of at least 16 bytes shared with other machines, the first to
            sign and all to verify (``HASHSTASH_KEYS``). Default: a secret of this user.
        durability: ``process`` (a write survives the death of the process; default) or
            ``system`` (power loss too), on engines that can (``HASHSTASH_DURABILITY``).
        namespace: what signatures name the stash by. Default: last part of the root and
            dbname, so that a stash may be moved to another folder or machine.
        max_value_bytes: the most bytes an encoded value may unfold to. Default: 1 GiB.
        near: the engine (below the user's cache folder), or the stash, that keeps copies of
            what is read, so that it is not transferred again.
        near_mode: ``validated`` (the far side is asked whether it has changed; default) or
            ``immutable`` (it is not asked: entries are never replaced).
        max_age: seconds for which a copy is used without asking.
        near_max_bytes: how many bytes of copies are kept. Default: 1 GiB.
        **options: the engine's own options.

    Raises:
        UnknownNameError: an engine, serializer or compressor of that name does not exist.
        MissingDependencyError: one needs a package that is not installed.
        ConfigurationError: a value cannot be used.
        TypeError: an option is not known.

    Example:
        >>> stash = HashStash("docs_example", engine="memory")
        >>> stash["cat"] = {"goodness": "good"}
        >>> stash["cat"]
        {'goodness': 'good'}
        >>> stash[{"unhashable", "key"}] = [1, 2, 3]
        >>> len(stash)
        2
    """

    def __init__(
        self,
        root_dir: str | os.PathLike[str] | None = None,
        dbname: str | None = None,
        engine: str | None = None,
        *,
        serializer: str | None = None,
        compress: str | None = None,
        b64: bool | None = None,
        append_mode: bool | None = None,
        clear: bool = False,
        safe: bool | None = None,
        signing_keys: Sequence[str | bytes] | None = None,
        durability: str | None = None,
        namespace: str | None = None,
        max_value_bytes: int | None = None,
        near: str | HashStash | None = None,
        near_mode: str | None = None,
        max_age: float | timedelta | None = None,
        near_max_bytes: int | None = None,
        **options: Any,
    ) -> None:
        settings = resolve(
            {
                "root_dir": root_dir, "dbname": dbname, "engine": engine,
                "serializer": serializer, "compress": compress, "b64": b64,
                "append_mode": append_mode, "safe": safe, "durability": durability,
                "namespace": namespace, "max_value_bytes": max_value_bytes, "near": near,
                "near_mode": near_mode, "max_age": max_age, "near_max_bytes": near_max_bytes,
                **options,
            }
        )  # fmt: skip
        keys = check_signing_keys(signing_keys)
        self._compose(settings, Keyring(keys, settings.namespace))
        if clear:
            self.clear()

    def _compose(self, settings: Settings, keyring: Keyring) -> None:
        engine = settings.make_engine()
        codec = Codec(
            settings.serializer, settings.encoders, keyring=keyring, safe=settings.safe,
            max_value_bytes=settings.max_value_bytes, where=engine.location,
        )  # fmt: skip
        engine = engine.under_stash(
            codec.encode, safe=settings.safe, max_value_bytes=settings.max_value_bytes
        )
        decode = codec.decode
        if settings.near is not None:
            engine = settings.near.before(engine)
            decode = engine.decoder(decode)
        super().__init__(engine, codec, append_mode=settings.append_mode)
        self._decode = decode
        self._settings = settings
        self._keyring = keyring
        self._cleanup: weakref.finalize[Any, Any] | None = None
        self._functions: Functions = weakref.WeakKeyDictionary()
        self._below: list[
            Engine
        ] = []  # of the results of functions, removed with a temporary stash

    # -- other ways to get one --------------------------------------------------------------

    @classmethod
    def recommended(cls, *args: Any, **kwargs: Any) -> Self:
        """Return a stash with the fastest good settings: lmdb and lz4.

        Takes the same arguments; those given win. Needs ``pip install 'hashstash[rec]'``.
        """
        if len(args) < 3:  # engine is the third
            kwargs.setdefault("engine", "lmdb")
        kwargs.setdefault("compress", "lz4")
        return cls(*args, **kwargs)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Return the stash that ``to_dict`` described.

        >>> stash = HashStash("docs_example", engine="memory", compress="zlib")
        >>> HashStash.from_dict(stash.to_dict()) == stash
        True
        """
        return cls(**drop_derived(settings))

    def tmp(self, **changes: Any) -> TemporaryStash:
        """Return an empty stash of these settings that is removed when you are done with it.

        Args:
            **changes: settings that differ, ``engine="memory"`` for example.

        Example:
            >>> with HashStash("docs_example", engine="memory").tmp() as tmp_stash:
            ...     tmp_stash["key"] = "value"
            ...     print("key" in tmp_stash)
            True
            >>> "key" in tmp_stash
            False
        """
        settings = drop_derived(self.to_dict())
        if changes.get("engine", self._settings.engine) != self._settings.engine:
            settings = {k: v for k, v in settings.items() if k not in self._settings.options}
            for name in ("safe", "durability", *NEAR_OPTIONS):
                settings.pop(name, None)
        settings = {k: v for k, v in settings.items() if k not in self._engine.borrowed}
        del settings["namespace"]
        settings["signing_keys"] = self._keyring.given
        from .temporary import TemporaryStash

        return TemporaryStash(**{**settings, **changes})

    def copy(self) -> TemporaryStash:
        """Return an independent stash in memory with the same items."""
        made = self.tmp(engine="memory")
        made.update(self)
        return made

    def __or__(self, other: Any) -> TemporaryStash:
        if not isinstance(other, Mapping):
            return NotImplemented
        made = self.copy()
        made.update(other)
        return made

    def __ror__(self, other: Any) -> TemporaryStash:
        if not isinstance(other, Mapping):
            return NotImplemented
        made = self.tmp(engine="memory")
        made.update(other)
        made.update(self)
        return made

    def warm(self, keys: Iterable[Any] | None = None) -> int:
        """Copy the items under ``keys``, or all, to the near side; return how many were copied.

        Raises:
            ConfigurationError: the stash has no near side.
        """
        from .near import warm

        return warm(self, keys)

    def copy_to(self, other: HashStash, *, progress: bool | None = None) -> int:
        """Copy all items to ``other``, earlier versions included; return how many were copied.

        Rows stay as they are, with their times. What ``other`` has already is passed over, so an
        interrupted copy goes on when it is called again. Results of functions are in stashes of
        their own: ``f.stash.copy_to(...)``.

        Args:
            other: a stash of any engine.
            progress: whether to show a bar; default: on a terminal or in a notebook, with tqdm.

        Raises:
            SerializationError: an item needs code, and ``other`` is safe.
            DecodeError: a row is damaged, or needs code and is not trusted here.

        Example:
            >>> old, new = HashStash("docs_old", engine="memory"), HashStash("docs_new")
            >>> old["cat"] = "good"
            >>> old.copy_to(new.clear()), old.copy_to(new), new["cat"]
            (1, 0, 'good')
        """
        from .moving import copy_entries

        return copy_entries(self, other, progress)

    @staticmethod
    def migrate(src: Any, dst: Any, *, progress: bool | None = None) -> int:
        """Copy all items from one place to another, as ``copy_to`` does; ``src`` stays as it is.

        Args:
            src: a stash, or its path, URL or settings.
            dst: likewise.
            progress: whether to show a bar.
        """
        from .moving import migrate

        return migrate(src, dst, progress)

    # -- function results -------------------------------------------------------------------

    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result of a call, computed now if there is none.

        Callers of the same missing call, in any thread or process, wait for one computation.
        A function of yours gets an attribute ``stash``: the stash of its results.

        Args:
            function: any callable.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Raises:
            TypeError: the function cannot be called like this.
            UnstableKeyError: an argument has no stable form.

        Example:
            >>> HashStash("docs_example", engine="memory").run(max, [1, 3, 2])
            3
        """
        from .functions.decorators import attach, stashed_once

        stashed = stashed_once(self, self._functions, function)
        result = stashed(*args, **kwargs)
        attach(function, stashed)
        return result

    @overload
    def stashed_result(
        self, function: Callable[P, R], /, **options: Any
    ) -> StashedFunction[P, R]: ...

    @overload
    def stashed_result(
        self, /, **options: Any
    ) -> Callable[[Callable[P, R]], StashedFunction[P, R]]: ...

    def stashed_result(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Decorate a function so that its results are stashed here.

        Args:
            function: what is decorated; left out where options are given.
            **options: ``ResultOptions``: ``ttl``, ``ignore``, ``key``, ``version``, ...

        Example:
            >>> stash = HashStash("docs_example", engine="memory")
            >>> @stash.stashed_result(ignore=["verbose"])
            ... def double(x, verbose=False):
            ...     return 2 * x
            >>> double(4), double(4, verbose=True), double.cache_info().hits
            (8, 8, 1)
        """
        from .functions.decorators import decorate

        return decorate(self, function, options)

    def map(
        self,
        function: Callable[..., Any],
        objects: Iterable[Any],
        options: Iterable[Mapping[str, Any]] | None = None,
        **common: Any,
    ) -> StashMap:
        """Return the results of a function over many objects, computed in the background.

        Results are stored as those of ``run`` are, so what was computed before is not computed
        again, and a map that was interrupted goes on where it was.

        Args:
            function: any callable; lambdas, closures and functions of a script too.
            objects: what it is called with, one each; a tuple is one object (but see ``star``).
            options: keyword arguments of each call, one dict for each object.
            **common: keyword arguments of every call; and how the map works, as ``MapOptions``
                has it: ``num_proc``, ``preload``, ``precompute``, ``progress``, ``desc``,
                ``ordered``, ``stash_runs``, ``stash_map``, ``force``, ``star``, ``executor``.

        Example:
            >>> stash = HashStash("docs_example", engine="memory")
            >>> stash.map(lambda name, n=1: name * n, ["a", "b"], n=2, num_proc=1).results
            ['aa', 'bb']
        """
        from .functions.decorators import begin_map

        return begin_map(self, self._functions, function, objects, options, common)

    def stash_mapped(
        self, **settings: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., StashMap]]:
        """Decorate a function so that it takes many objects and returns a ``StashMap``.

        Args:
            **settings: ``MapOptions`` (``num_proc``, ...) and ``ResultOptions`` (``ttl``, ...).
        """
        from .functions.decorators import mapped

        return mapped(self, settings)

    # -- for event loops --------------------------------------------------------------------

    async def aget(self, key: Any, default: Any = None) -> Any:
        """Return the value under ``key``, or ``default``, without blocking the event loop."""
        from .asynchronous import aside

        return await aside(lambda: self.get(key, default))

    async def aset(self, key: Any, value: Any) -> None:
        """Store ``value`` under ``key`` without blocking the event loop."""
        from .asynchronous import aside

        await aside(lambda: self.__setitem__(key, value))

    async def adelete(self, key: Any) -> None:
        """Remove ``key`` without blocking the event loop.

        Raises:
            KeyError: there is none.
        """
        from .asynchronous import aside

        await aside(lambda: self.__delitem__(key))

    async def arun(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, computed now if there is none.

        Args:
            function: a coroutine function, which is awaited, or any other, which runs in a thread.
            *args: its arguments.
            **kwargs: its keyword arguments.
        """
        from .asynchronous import aside
        from .functions.decorators import attach, stashed_once

        stashed = await aside(lambda: stashed_once(self, self._functions, function))
        if iscoroutinefunction(stashed.__wrapped__):
            result = await stashed(*args, **kwargs)
        else:
            result = await aside(lambda: stashed(*args, **kwargs))
        attach(function, stashed)
        return result

    # -- what it is -------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where the items are: a path, or a URL without passwords."""
        return self._engine.location

    @property
    def is_tmp(self) -> bool:
        """Whether the stash is removed when you are done with it."""
        return False

    @property
    def is_function_stash(self) -> bool:
        """Whether the keys are calls of a function."""
        return False

    def size_bytes(self) -> int:
        """Return about how many bytes the items take where they are kept."""
        return self._history.size_bytes()

    def verify(self) -> list[UnreadableRow]:
        """Return every row that cannot be read, earlier versions included, and why.

        Reads and decodes every row.
        """
        return list(unreadable_rows(self._engine, self._codec))

    def repair(self) -> list[UnreadableRow]:
        """Set damaged rows aside, and remove what dead writers left; return what was set aside.

        Nothing is deleted: damaged rows go to the table ``damaged`` of the same place. Where
        the latest version of a key is damaged, the one before becomes the latest. Rows that
        only cannot be read here, for want of a package or a signing key, stay.
        """
        return list(set_aside(self._engine, self._codec))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, as ``from_dict`` takes them; never a signing key."""
        return {
            **self._settings.to_dict(),
            "is_function_stash": self.is_function_stash,
            "is_tmp": self.is_tmp,
            "filename": FILENAME,
        }

    def __repr__(self) -> str:
        return f"{self._engine.title}HashStash({shorten_home(self.path)})"

    def _repr_html_(self) -> str:
        from .notebook import html_of

        return html_of(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HashStash) and self._settings == other._settings:
            return True
        return super().__eq__(other)

    __hash__ = None

    # -- life -------------------------------------------------------------------------------

    def close(self) -> None:
        """Release files and connections. Safe to call twice; the next use opens again."""
        self._history.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[Settings, tuple[str, ...]]:
        return self._settings, self._keyring.fingerprints()

    def __setstate__(self, state: tuple[Settings, tuple[str, ...]]) -> None:
        settings, fingerprints = state
        self._compose(settings, Keyring.recalled(fingerprints, settings.namespace))
