"""The ``pickle`` serializer: the fastest for objects, read only where its rows are trusted."""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar
from weakref import WeakSet

from hashstash.errors import (
    CorruptRowError,
    DecodeError,
    HashStashError,
    SerializationError,
    UntrustedRowError,
)

from .base import Buffer, Serializer
from .culprit import find_culprit

PROTOCOL = 5
"""The newest that every Python reads which this library runs on."""

_proved: WeakSet[type] = WeakSet()
"""Classes of which an object has been read back."""


class PickleSerializer(Serializer):
    """Objects as the standard library's pickles, which can run any code when they are read."""

    name: ClassVar[str] = "pickle"
    code_only: ClassVar[bool] = True

    def dumps(self, value: object) -> bytes:
        """Return ``value`` as a pickle.

        Raises:
            SerializationError: it cannot be pickled, or not be unpickled again.

        Example:
            >>> PickleSerializer().loads(PickleSerializer().dumps({1: "a"}), trusted=True)
            {1: 'a'}
        """
        try:
            data, met = _pickled(value)
        except Exception as exc:
            raise _refusal(value, exc) from exc
        unproved = [kind for kind in met if kind not in _proved]
        if unproved:
            try:
                pickle.loads(data)
            except Exception as exc:
                raise _refusal(value, exc) from exc
            _proved.update(unproved)
        return data

    def loads(self, data: Buffer, *, trusted: bool) -> object:
        """Return the object that ``dumps`` was given.

        Raises:
            UntrustedRowError: ``trusted`` is false; the bytes are not looked at.
            CorruptRowError: they are not a pickle.
            DecodeError: they need something that is not here.
        """
        if not trusted:
            raise UntrustedRowError(
                "A pickle can run any code when it is read, and nothing shows that this one was "
                "written by you: it was written by someone else, or the signing keys that it was "
                "written with are missing here.",
                stage=self.name,
            )
        try:
            return pickle.loads(data)
        except (pickle.UnpicklingError, EOFError, IndexError, KeyError, UnicodeError) as exc:
            raise CorruptRowError(f"The stored pickle is damaged: {exc}", stage=self.name) from exc
        except HashStashError:
            raise
        except MemoryError:
            raise
        except Exception as exc:
            raise DecodeError(
                f"The stored pickle cannot be read: {type(exc).__name__}: {exc}", stage=self.name
            ) from exc

    def needs_trust(self, data: Buffer) -> bool:
        """Tell that loading can run code, whatever ``data`` is."""
        return True


class _Pickler(pickle.Pickler):
    """Note the classes of all objects that are not builtin."""

    met: set[type]

    def reducer_override(self, obj: Any) -> Any:
        self.met.add(type(obj))
        return NotImplemented


def _pickled(value: object) -> tuple[bytes, set[type]]:
    sink = io.BytesIO()
    pickler = _Pickler(sink, PROTOCOL)
    pickler.met = set()
    pickler.dump(value)
    return sink.getvalue(), pickler.met


def _fails(value: object) -> bool:
    try:
        pickle.loads(_pickled(value)[0])
    except Exception:  # noqa: BLE001 - whatever it is, the answer is yes
        return True
    return False


def _refusal(value: object, error: Exception) -> SerializationError:
    path, part = find_culprit(value, _fails)
    return SerializationError(
        f"{path} cannot be pickled: a {type(part).__qualname__} ({error}); "
        'serializer="hashstash" stores more, such as lambdas and local classes',
        path,
    )
