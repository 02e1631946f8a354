"""Existing files of ``sqlitedict.SqliteDict``."""

from __future__ import annotations

from collections.abc import Iterator

from hashstash.errors import ConfigurationError, CorruptRowError

from .database import Database
from .view import ExistingView, Handle, Source, from_json, unpickled

FORMATS = ("pickle", "json", "raw")
"""How the values were encoded: by default, with ``encode=json.dumps``, or not at all."""

_PAGE = 1000


class SqlitedictView(ExistingView):
    """A table of a ``SqliteDict`` as an engine that only reads."""

    name = "sqlitedict"
    title = "Sqlitedict"


class SqlitedictSource(Source):
    """The entries in one table of a ``SqliteDict`` file.

    Args:
        path: the file.
        table: the table; the library's default is ``unnamed``.
        written_as: one of ``FORMATS``.
        trusted: whether pickles in it may be loaded.
    """

    def __init__(self, path: str, *, table: str, written_as: str, trusted: bool) -> None:
        self.path = path
        self._table, self._checked = table, False
        self._quoted = '"' + table.replace('"', '""') + '"'
        self._written_as, self._trusted = written_as, trusted
        self._database = Database(path, "sqlitedict")

    def handles(self) -> Iterator[Handle]:
        """Yield the key of every entry."""
        self._check_table()
        where, after = "key IS NOT NULL", ()
        while True:
            page = self._database.rows(
                f"SELECT key FROM {self._quoted} WHERE {where} ORDER BY key LIMIT {_PAGE}",
                after,
            )
            yield from page
            if len(page) < _PAGE:
                return
            where, after = "key > ?", page[-1]

    def stores_plainly(self, key: object) -> bool:
        """Tell whether the library keeps such a key as it is."""
        return type(key) in {str, bytes}

    def handle_of(self, key: object) -> Handle | None:
        """Return the handle of the entry under ``key``, if it is there."""
        self._check_table()
        try:
            found = self._database.rows(
                f"SELECT key FROM {self._quoted} WHERE key = ?",
                (key,),
            )
        except UnicodeEncodeError:  # a lone surrogate, which SQLite does not take
            return None
        return found[0] if found else None

    def key(self, handle: Handle) -> object:
        """Return the key of an entry: a text, as the library stores it, or bytes."""
        cell: object = handle[0]
        return cell

    def value(self, handle: Handle) -> object:
        """Return the value of an entry."""
        found = self._database.rows(
            f"SELECT value FROM {self._quoted} WHERE key = ?",
            handle,
        )
        if not found:
            raise KeyError(handle)
        cell: object = found[0][0]
        what = f"The value of {handle[0]!r:.80}"
        if self._written_as == "raw":
            return cell
        if self._written_as == "json" and isinstance(cell, (str, bytes)):
            return from_json(cell, what, self.path)
        if self._written_as == "pickle" and isinstance(cell, bytes):
            return unpickled(cell, what, self.path, trusted=self._trusted)
        raise CorruptRowError(
            f"{what} in {self.path} is no {self._written_as} but {cell!r:.80}: "
            f"existing_format is one of {', '.join(map(repr, FORMATS))}",
            stage="existing",
        )

    def count(self) -> int:
        """Return how many entries there are."""
        self._check_table()
        ((count,),) = self._database.rows(
            f"SELECT COUNT(*) FROM {self._quoted} WHERE key IS NOT NULL"
        )
        return int(count)

    def state(self) -> int:
        """Return a number that changes when another connection changes the entries."""
        return self._database.state()

    def size_bytes(self) -> int:
        """Return about how many bytes the entries take."""
        self._check_table()
        ((size,),) = self._database.rows(
            f"SELECT TOTAL(LENGTH(key) + LENGTH(value)) FROM {self._quoted}"
        )
        return int(size)

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def _check_table(self) -> None:
        if self._checked:
            return
        names = [
            name
            for (name,) in self._database.rows(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            )
        ]
        if self._table not in names:
            raise ConfigurationError(
                f"existing_table: {self.path} has no table {self._table!r}; it has: "
                f"{', '.join(map(repr, names)) or 'none'}"
            )
        self._checked = True
