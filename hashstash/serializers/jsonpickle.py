"""The ``jsonpickle`` serializer: objects as JSON text, read only where its rows are trusted."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any, ClassVar

import jsonpickle
from jsonpickle.errors import ClassNotFoundError

from hashstash.errors import (
    CorruptRowError,
    DecodeError,
    HashStashError,
    SerializationError,
    UntrustedRowError,
)

from .base import Buffer, Serializer
from .culprit import find_culprit
from .hashstash import HashstashSerializer
from .hashstash_format.objects import is_native_iterator
from .likeness import unlike

_PACKED = frozenset({"numpy", "pandas"})
_hashstash = HashstashSerializer()


class JsonpickleSerializer(Serializer):
    """Objects as the text of jsonpickle, which can run any code when it is read.

    Arrays and tables are kept as our own bytes, in base64, within the text.
    """

    name: ClassVar[str] = "jsonpickle"
    code_only: ClassVar[bool] = True

    def dumps(self, value: object) -> bytes:
        """Return ``value`` as text, after making sure that it reads back as the same.

        Raises:
            SerializationError: it does not: jsonpickle leaves out in silence what it cannot store.

        Example:
            >>> JsonpickleSerializer().dumps({1: (2, 3)})
            b'{"json://1": {"py/tuple": [2, 3]}}'
        """
        try:
            data = _encoded(value)
            path = unlike(value, _decoded(data))
        except (Exception, ClassNotFoundError) as exc:
            path, _ = find_culprit(value, _fails)
            raise SerializationError(
                f"{path} cannot be stored by jsonpickle: {type(exc).__name__}: {exc}; {_HINT}", path
            ) from exc
        if path is not None:
            raise SerializationError(
                f"{path} does not come back from jsonpickle as it is; {_HINT}", path
            )
        return data

    def loads(self, data: Buffer, *, trusted: bool) -> object:
        """Return the object that ``dumps`` was given.

        Raises:
            UntrustedRowError: ``trusted`` is false; the bytes are not looked at.
            CorruptRowError: they are not the text of jsonpickle.
            DecodeError: they need something that is not here.
        """
        if not trusted:
            raise UntrustedRowError(
                "The text of jsonpickle can run any code when it is read, and nothing shows that "
                "this one was written by you: it was written by someone else, or the signing keys "
                "that it was written with are missing here.",
                stage=self.name,
            )
        try:
            return _decoded(data)
        except HashStashError:
            raise
        except ValueError as exc:
            raise CorruptRowError(
                f"The stored text of jsonpickle is damaged: {exc}", stage=self.name
            ) from exc
        except (Exception, ClassNotFoundError) as exc:
            raise DecodeError(
                f"The stored text of jsonpickle cannot be read: {type(exc).__name__}: {exc}",
                stage=self.name,
            ) from exc

    def needs_trust(self, data: Buffer) -> bool:
        """Tell that loading can run code, whatever ``data`` is."""
        return True


_HINT = 'serializer="hashstash" stores more, such as lambdas and local classes'


def _encoded(value: object) -> bytes:
    return json.dumps(_Pickler(unpicklable=True, keys=True).flatten(value)).encode()


def _fails(value: object) -> bool:
    try:
        return unlike(value, _decoded(_encoded(value))) is not None
    except (Exception, ClassNotFoundError):  # noqa: BLE001 - whatever it is, the answer is yes
        return True


def _decoded(data: Buffer) -> object:
    tree = json.loads(str(data, "utf-8"))
    return jsonpickle.Unpickler(keys=True, on_missing="error", safe=True).restore(tree)


class _Packed:
    """Stands for an array or table in the text, and becomes it again when it is read."""

    def __init__(self, value: object) -> None:
        self.data = _hashstash.dumps(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (b64encode(self.data).decode(),)


def unpacked(text: str) -> object:
    """Return the array or table that is in the text under this function's name."""
    return _hashstash.loads(b64decode(text, validate=True), trusted=False)


class _Pickler(jsonpickle.Pickler):  # type: ignore[misc]
    """Handle arrays and tables without changing the handlers of the whole process.

    And refuse iterators, which jsonpickle would use up.
    """

    def _flatten_obj_instance(self, obj: Any) -> Any:
        if is_native_iterator(type(obj)):
            raise TypeError(f"a {type(obj).__name__} can be gone through once; store a list")
        if type(obj).__module__.partition(".")[0] in _PACKED and not isinstance(obj, type):
            packed = _Packed(obj)
            if not _hashstash.needs_trust(packed.data):
                obj = packed
        return super()._flatten_obj_instance(obj)
