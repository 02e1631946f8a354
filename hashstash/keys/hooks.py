"""What a user says an object is as a key: ``register_key`` and ``__stable_key__``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hashstash.errors import ConfigurationError

from . import plain
from .encode import BUILTINS, Encoder, Handler, Steps, UnstableError, forget_handlers
from .items import SCALARS

T = TypeVar("T")

HOOK = "__stable_key__"

_registered: dict[type, Callable[[Any], object]] = {}


def register_key(kind: type[T], function: Callable[[T], object]) -> None:
    """Make instances of ``kind`` usable as keys, or parts of keys.

    Two of them are the same key if the function returns the same for both and they are of the
    same class. Register in every program that uses such keys; the last registration holds.

    Args:
        kind: the class. Subclasses follow, unless they have a function or a
            ``__stable_key__`` of their own.
        function: is called with an instance and returns what stands for it: anything with a
            stable form, such as a tuple of its defining attributes.

    Raises:
        ConfigurationError: it is a builtin type, whose form is fixed.

    >>> from hashstash.keys import stable_hash
    >>> class Connection:
    ...     def __init__(self, host):
    ...         self.host, self.socket = host, object()
    >>> register_key(Connection, lambda connection: connection.host)
    >>> stable_hash(Connection("a")) == stable_hash(Connection("a"))
    True
    """
    if not isinstance(kind, type):
        raise TypeError(f"register_key takes a class, not {kind!r}")
    fixed = kind in SCALARS or kind in BUILTINS or plain.handler_for(kind) is not None
    if fixed or kind is object:
        raise ConfigurationError(f"The form of {kind.__name__} keys is fixed; subclass it instead.")
    if not callable(function):
        raise TypeError(f"register_key takes a function, not {function!r}")
    _registered[kind] = function
    forget_handlers()


def handler_for(kind: type) -> Handler | None:
    """Return the handler that calls the nearest hook of ``kind``, if it has any."""
    for base in kind.__mro__:
        if base in _registered:
            return _standing_in(_registered[base])
        if HOOK in vars(base):
            if vars(base)[HOOK] is None:
                raise UnstableError(f"because its {HOOK} is None")
            return _standing_in(lambda value: getattr(value, HOOK)())
    return None


def _standing_in(function: Callable[[Any], object]) -> Handler:
    from .names import class_item  # not needed until an object is met

    def steps(value: object, encoder: Encoder) -> Steps:
        name = yield from class_item(type(value), encoder)
        stand_in = function(value)
        if stand_in is value:
            raise UnstableError(
                "because what stands for it is itself",
                f"Its {HOOK} or registered function must return something else.",
            )
        return encoder.opaque("stand-in", name, (yield stand_in))

    return steps
