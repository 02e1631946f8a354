"""Every error HashStash raises on purpose, in one family."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest of ``known``, or an empty string."""
    near = difflib.get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class HashStashError(Exception):
    """The base of all errors of this library. All of them come back whole from a worker."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle as a call with their message, which is not how ours are made.
        return _made, (type(self), self.args), self.__dict__


def _made(kind: type[HashStashError], args: tuple[Any, ...]) -> HashStashError:
    return kind.__new__(kind, *args)


class ConfigurationError(HashStashError, ValueError):
    """An option has a value that cannot be used, or two options contradict each other."""


class UnknownNameError(HashStashError, ValueError):
    """No engine, serializer or encoder has this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        hint = suggestion(name, names) or f" Known: {', '.join(names)}."
        super().__init__(f"Unknown {kind} {name!r}.{hint}")
        self.kind, self.name = kind, name


class MissingDependencyError(HashStashError, ImportError):
    """A part needs a package that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs: pip install 'hashstash[{extra}]'")
        self.extra = extra


class UnstableKeyError(HashStashError, TypeError):
    """An object has no form that is equal in every process, so it cannot be a key."""


class SerializationError(HashStashError, TypeError):
    """A value cannot be stored; ``path`` leads to the part that cannot.

    Attributes:
        path: where in the value the offending part is, such as ``value['a'][3].conn``.
    """

    def __init__(self, message: str, path: str = "value") -> None:
        super().__init__(message)
        self.path = path


class EngineError(HashStashError):
    """The storage below failed; the driver's error is the cause.

    Attributes:
        engine: the engine's name.
        operation: what was being done (``get``, ``put``, ...).
        place: where the data are.
    """

    def __init__(self, message: str, *, engine: str, operation: str, place: str) -> None:
        super().__init__(message)
        self.engine, self.operation, self.place = engine, operation, place


class EngineUnavailableError(EngineError):
    """The server behind an engine cannot be reached, or did not answer in time."""


class DecodeError(HashStashError, ValueError):
    """A stored row cannot be turned back into an object.

    Attributes:
        stage: which step refused it (``row``, ``key``, ``signature``, ``codec``, an
            encoder's name or a serializer's name).
    """

    def __init__(self, message: str, *, stage: str) -> None:
        super().__init__(message)
        self.stage = stage


class CorruptRowError(DecodeError):
    """The stored bytes are damaged or are not ours."""


class UntrustedRowError(DecodeError):
    """Reading this row would run code, and nothing shows that we wrote it ourselves."""


class KeyCollisionError(DecodeError):
    """The row stored under this key's digest belongs to another key."""


class SizeLimitError(DecodeError):
    """A value is, or would become, larger than ``max_value_bytes``."""
