"""Names to classes, imported on first use; entry points of other packages included."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Generic, TypeVar

from .errors import ConfigurationError, MissingDependencyError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of names and import paths, ``module:Class``.

    Args:
        kind: what the names stand for, for messages: ``"engine"``.
        group: the entry-point group under which other packages add theirs.
        paths: the names we bring ourselves.
    """

    def __init__(self, kind: str, group: str, paths: dict[str, str]) -> None:
        self.kind, self.group = kind, group
        self._paths = dict(paths)
        self._ours = frozenset(paths)
        self._loaded: dict[str, type[T]] = {}
        self._scanned = False

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(self._paths)

    def __contains__(self, name: object) -> bool:
        if name not in self._paths:
            self._scan()
        return name in self._paths

    def register(self, name: str, path: str) -> None:
        """Add ``name``, found at ``path`` (``module:Class``).

        Raises:
            ConfigurationError: the name is taken by another path.
        """
        if self._paths.get(name, path) != path:
            raise ConfigurationError(
                f"The {self.kind} name {name!r} is taken by {self._paths[name]}; choose another."
            )
        self._paths[name] = path

    def load(self, name: str) -> type[T]:
        """Return the class called ``name``.

        Raises:
            UnknownNameError: nothing has this name.
            MissingDependencyError: it needs a package that is not installed.
        """
        try:
            return self._loaded[name]
        except (KeyError, TypeError):
            pass
        if not isinstance(name, str):
            raise TypeError(f"The {self.kind} is given by name, not {type(name).__name__} {name!r}")
        if name not in self._paths:
            self._scan()
            if name not in self._paths:
                raise UnknownNameError(self.kind, name, self._paths)
        module, _, attribute = self._paths[name].partition(":")
        try:
            found: type[T] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as exc:
            if name not in self._ours or (exc.name or "").startswith("hashstash"):
                raise  # a bug of ours or of the plug-in, not a missing extra
            raise MissingDependencyError(f"The {name!r} {self.kind}", name) from exc
        self._loaded[name] = found
        return found

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        from importlib.metadata import entry_points  # slow to import: only for names not ours

        for point in entry_points(group=self.group):
            self.register(point.name, point.value)
