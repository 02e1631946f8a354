"""What is compared: each engine's own client with bare pickle (the floor), peers, and ours."""

from __future__ import annotations

import os
import pickle
import shelve
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from hashstash import HashStash


class Contender(ABC):
    """Something that keeps values under text keys."""

    @abstractmethod
    def set(self, key: str, value: Any) -> None: ...

    @abstractmethod
    def get(self, key: str) -> Any:
        """Return the value, or None."""

    def contains(self, key: str) -> bool:
        """Tell whether there is a value."""
        return self.get(key) is not None

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def update(self, items: Iterable[tuple[str, Any]]) -> None: ...

    @abstractmethod
    def read_all(self) -> int:
        """Read every item; return how many."""

    def close(self) -> None:  # noqa: B027 - nothing to close by default
        """Release what is open."""


class PlainFiles(Contender):
    """A file per item, replaced atomically."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(folder)

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key}"

    def set(self, key: str, value: Any) -> None:
        path = self._path(key)
        with open(path + ".tmp", "wb") as file:
            file.write(pickle.dumps(value, 5))
        os.replace(path + ".tmp", path)

    def get(self, key: str) -> Any:
        try:
            with open(self._path(key), "rb") as file:
                return pickle.loads(file.read())
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        os.unlink(self._path(key))

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        for key, value in items:
            self.set(key, value)

    def read_all(self) -> int:
        return sum(self.get(name) is not None for name in os.listdir(self.folder))


class PlainLmdb(Contender):
    """The lmdb package, without syncing, as durability="process" is."""

    def __init__(self, folder: str) -> None:
        import lmdb

        self.env = lmdb.open(folder, map_size=1 << 34, sync=False)

    def set(self, key: str, value: Any) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(key.encode(), pickle.dumps(value, 5))

    def get(self, key: str) -> Any:
        with self.env.begin() as txn:
            found = txn.get(key.encode())
        return None if found is None else pickle.loads(found)

    def delete(self, key: str) -> None:
        with self.env.begin(write=True) as txn:
            txn.delete(key.encode())

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        with self.env.begin(write=True) as txn:
            for key, value in items:
                txn.put(key.encode(), pickle.dumps(value, 5))

    def read_all(self) -> int:
        with self.env.begin() as txn:
            return sum(
                pickle.loads(value) is not None for value in txn.cursor().iternext(keys=False)
            )

    def close(self) -> None:
        self.env.close()


class PlainSqlite(Contender):
    """The sqlite3 module in WAL mode, synchronous=NORMAL."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder)
        self.db = sqlite3.connect(f"{folder}/db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute("CREATE TABLE t (k BLOB PRIMARY KEY, v BLOB)")

    def set(self, key: str, value: Any) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO t VALUES (?, ?)", (key.encode(), pickle.dumps(value, 5))
        )

    def get(self, key: str) -> Any:
        row = self.db.execute("SELECT v FROM t WHERE k = ?", (key.encode(),)).fetchone()
        return None if row is None else pickle.loads(row[0])

    def delete(self, key: str) -> None:
        self.db.execute("DELETE FROM t WHERE k = ?", (key.encode(),))

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT OR REPLACE INTO t VALUES (?, ?)",
            ((key.encode(), pickle.dumps(value, 5)) for key, value in items),
        )
        self.db.execute("COMMIT")

    def read_all(self) -> int:
        return sum(pickle.loads(row[0]) is not None for row in self.db.execute("SELECT v FROM t"))

    def close(self) -> None:
        self.db.close()


class PlainDict(Contender):
    """A dict of pickles."""

    def __init__(self, folder: str) -> None:
        self.rows: dict[bytes, bytes] = {}

    def set(self, key: str, value: Any) -> None:
        self.rows[key.encode()] = pickle.dumps(value, 5)

    def get(self, key: str) -> Any:
        found = self.rows.get(key.encode())
        return None if found is None else pickle.loads(found)

    def delete(self, key: str) -> None:
        del self.rows[key.encode()]

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        for key, value in items:
            self.set(key, value)

    def read_all(self) -> int:
        return sum(pickle.loads(row) is not None for row in self.rows.values())


class DictLike(Contender):
    """A peer that is a mapping."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def set(self, key: str, value: Any) -> None:
        self.store[key] = value

    def get(self, key: str) -> Any:
        return self.store.get(key)

    def contains(self, key: str) -> bool:
        return key in self.store

    def delete(self, key: str) -> None:
        del self.store[key]

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        for key, value in items:
            self.store[key] = value

    def read_all(self) -> int:
        return sum(self.store.get(key) is not None for key in self.store)

    def close(self) -> None:
        self.store.close()


class Ours(DictLike):
    """A stash."""

    store: HashStash

    def update(self, items: Iterable[tuple[str, Any]]) -> None:
        self.store.update(items)

    def read_all(self) -> int:
        return sum(value is not None for value in self.store.values())

    def close(self) -> None:
        self.store._engine.destroy()
        super().close()


FLOORS: dict[str, Callable[[str], Contender]] = {
    "pairtree": PlainFiles,
    "lmdb": PlainLmdb,
    "shm": PlainLmdb,
    "sqlite": PlainSqlite,
    "memory": PlainDict,
}


def floor(engine: str, folder: str) -> Contender | None:
    """Return the engine's own client with bare pickle, if there is one here."""
    made = FLOORS.get(engine)
    return None if made is None else made(folder)


def peers(folder: str) -> dict[str, Contender]:
    """Return the peer libraries that are installed."""
    found: dict[str, Contender] = {"shelve": DictLike(shelve.open(f"{folder}/shelve"))}  # noqa: SIM115 - closed by its contender
    try:
        from diskcache import Cache
    except ImportError:
        print("diskcache is not installed: left out")
    else:
        found["diskcache"] = DictLike(Cache(f"{folder}/diskcache", eviction_policy="none"))
    try:
        from sqlitedict import SqliteDict
    except ImportError:
        print("sqlitedict is not installed: left out")
    else:
        found["sqlitedict"] = DictLike(
            SqliteDict(f"{folder}/sqlitedict", autocommit=True, journal_mode="WAL")
        )
    return found
