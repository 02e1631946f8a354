"""A stash for event loops: every operation runs in a thread, so that the loop goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

THREADS = 32
PAGE = 100
"""How many items an asynchronous iteration reads in one visit to a thread."""


class _Threads:
    """Threads of our own: those of an event loop may all wait for what one of them is to store."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(THREADS, "hashstash-async")
        return self.pool


_threads = _Threads()
if hasattr(os, "register_at_fork"):
    # The threads of a parent are not in its forked child.
    os.register_at_fork(after_in_child=_threads.__init__)  # type: ignore[misc]


async def aside(function: Callable[[], T]) -> T:
    """Return ``function()``, run in a thread, so that the event loop goes on."""
    run = partial(copy_context().run, function)
    return await asyncio.get_running_loop().run_in_executor(_threads.get(), run)


class AsyncHashStash:
    """A stash whose operations are awaited; the same items and semantics as ``HashStash``.

    Args:
        *args: as for ``HashStash``; or one stash, to be used asynchronously.
        **kwargs: as for ``HashStash``.

    Example:
        >>> async def main():
        ...     async with AsyncHashStash("docs_example", engine="memory") as stash:
        ...         await stash.set("cat", "good")
        ...         return await stash.get("cat")
        >>> asyncio.run(main())
        'good'
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from .stash import HashStash

        if len(args) == 1 and not kwargs and isinstance(args[0], HashStash):
            self.stash = args[0]
        else:
            self.stash = HashStash(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Async{self.stash!r}"

    async def get(self, key: Any, default: Any = None, *, version: int | None = None) -> Any:
        """Return the value under ``key``, or ``default``."""
        return await aside(lambda: self.stash.get(key, default, version=version))

    async def set(self, key: Any, value: Any) -> None:
        """Store ``value`` under ``key``."""
        await aside(lambda: self.stash.__setitem__(key, value))

    async def delete(self, key: Any) -> None:
        """Remove ``key``.

        Raises:
            KeyError: there is none.
        """
        await aside(lambda: self.stash.__delitem__(key))

    async def contains(self, key: Any) -> bool:
        """Tell whether there is a value under ``key``."""
        return await aside(lambda: key in self.stash)

    async def length(self) -> int:
        """Return how many items there are."""
        return await aside(lambda: len(self.stash))

    async def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value under ``key``, storing ``default`` first if there is none."""
        return await aside(lambda: self.stash.setdefault(key, default))

    async def pop(self, key: Any, *default: Any) -> Any:
        """Remove ``key`` and return its value."""
        return await aside(lambda: self.stash.pop(key, *default))

    async def popitem(self) -> tuple[Any, Any]:
        """Remove and return some item."""
        return await aside(self.stash.popitem)

    async def update(self, other: Any = (), /, **kwargs: Any) -> None:
        """Store the items of a mapping, of pairs, and keywords."""
        await aside(lambda: self.stash.update(other, **kwargs))

    async def get_many(self, keys: Iterable[Any], default: Any = None) -> list[Any]:
        """Return the values under ``keys``, in their order."""
        return await aside(lambda: self.stash.get_many(keys, default))

    async def set_many(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        """Store many items."""
        await aside(lambda: self.stash.set_many(items))

    async def delete_many(self, keys: Iterable[Any]) -> int:
        """Remove many keys; return how many were there."""
        return await aside(lambda: self.stash.delete_many(keys))

    async def get_all(self, key: Any, default: Any = None, *, with_metadata: bool = False) -> Any:
        """Return all versions of the value under ``key``, oldest first."""
        return await aside(lambda: self.stash.get_all(key, default, with_metadata=with_metadata))

    async def clear(self) -> Self:
        """Remove every item; return the stash."""
        await aside(self.stash.clear)
        return self

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, computed now if there is none.

        A coroutine function is awaited here; any other function runs in a thread.
        """
        return await self.stash.arun(function, *args, **kwargs)

    def keys(self) -> AsyncIterator[Any]:
        """Yield the keys."""
        return _paged(lambda: iter(self.stash.keys()))

    def values(self) -> AsyncIterator[Any]:
        """Yield the values."""
        return _paged(lambda: iter(self.stash.values()))

    def items(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield pairs of key and value."""
        return _paged(lambda: iter(self.stash.items()))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.keys()

    async def close(self) -> None:
        """Release files and connections; the next use opens again."""
        await aside(self.stash.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await aside(lambda: self.stash.__exit__(*exc_info))


async def _paged(begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    iterator = await aside(begin)
    while page := await aside(lambda: list(islice(iterator, PAGE))):
        for item in page:
            yield item
