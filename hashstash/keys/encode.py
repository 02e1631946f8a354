"""Objects to canonical bytes, without recursion: the walk, and the builtin containers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from itertools import pairwise
from typing import Any, ClassVar

from hashstash.errors import UnstableKeyError

from .items import SCALARS, flat, head, in_order, int_body, item, str_item

PLAIN_DEPTH = 3_000
"""How deep plain data may be nested and still be decoded; hashing it takes stack in C."""

_MAX_DEPTH = 50_000
"""Deeper is an object whose parts are new objects at every look."""

Steps = Generator[object, bytes, bytes]
"""Yields what is inside, is sent its bytes, returns the whole."""

Handler = Callable[[Any, "Encoder"], "bytes | Steps"]


class Attributes(dict[str, object]):
    """An object's attributes: encoded as a dict, and named as attributes in messages."""


class UnstableError(Exception):
    """Something inside has no stable form. The walk adds where it is.

    Args:
        reason: why it has none.
        advice: what to do, if there is anything better than a hook.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice
        self.trail: list[object] = []


class Encoder:
    """One walk over one object.

    Attributes:
        plain: nothing was met that ``decode_canonical`` could not bring back.
    """

    __slots__ = ("_frames", "_levels", "_trail", "plain")

    def __init__(self) -> None:
        self.plain = True
        self._frames: list[Steps] = []
        self._trail: list[object] = []
        self._levels: dict[int, int] = {}

    def encode(self, root: object) -> bytes:
        """Return the canonical bytes of ``root``.

        Raises:
            UnstableKeyError: it, or something in it, has no stable form.
        """
        wanted = root
        while True:
            data = None
            failure: UnstableError | None = None
            try:
                data = self._begin(wanted)
            except UnstableError as exc:
                failure = self._located(exc, wanted)
            while True:
                if not self._frames:
                    if failure is not None:
                        raise _described(failure) from failure.__cause__
                    assert data is not None
                    return data
                frame = self._frames[-1]
                try:
                    # A new frame is started by sending it None.
                    wanted = frame.throw(failure) if failure else frame.send(data)  # type: ignore[arg-type]
                    break
                except StopIteration as stop:
                    data, failure = stop.value, None
                except UnstableError as exc:
                    failure = self._located(exc)
                self._end()

    def opaque(self, kind: str, *parts: bytes) -> bytes:
        """Return the item for an object of a kind that is not decoded from its key.

        Args:
            kind: what keeps it apart from all other kinds.
            parts: encoded items.
        """
        self.plain = False
        return item(b"O", str_item(kind) + b"".join(parts))

    def _begin(self, value: object) -> bytes | None:
        """Return the value's bytes, or None with a new frame for it."""
        data = flat(value)
        if data is not None:
            return data
        depth = len(self._frames)
        above = self._levels.get(id(value))
        if above is not None:
            self.plain = False
            return item(b"R", int_body(depth - above))
        steps = handler_of(type(value))(value, self)
        if isinstance(steps, bytes):
            return steps
        if depth >= PLAIN_DEPTH:
            self.plain = False
            if depth >= _MAX_DEPTH:
                raise UnstableError(f"it is nested more than {_MAX_DEPTH} levels deep")
        self._levels[id(value)] = depth
        self._trail.append(value)  # keeps it alive, so that its id stays its own
        self._frames.append(steps)
        return None

    def _end(self) -> None:
        self._frames.pop()
        del self._levels[id(self._trail.pop())]

    def _located(self, exc: UnstableError, *culprit: object) -> UnstableError:
        if not exc.trail:
            exc.trail = [*self._trail, *culprit]
        return exc


def encode(value: object) -> tuple[bytes, bool]:
    """Return the canonical bytes of ``value``, and whether they can be decoded again.

    Raises:
        UnstableKeyError: it, or something in it, has no stable form.
    """
    data = flat(value)
    if data is not None:
        return data, True
    encoder = Encoder()
    return encoder.encode(value), encoder.plain


# -- the handler of each type -----------------------------------------------------------------

_MAX_HANDLERS = 4096


class _Handlers:
    """The handlers found so far; a new table when a hook is registered."""

    table: ClassVar[dict[type, Handler]] = {}


def handler_of(kind: type) -> Handler:
    """Return what encodes instances of exactly ``kind``."""
    table = _Handlers.table
    handler = table.get(kind)
    if handler is None:
        from .resolve import resolve

        if len(table) >= _MAX_HANDLERS:
            table.clear()
        # What another thread registers meanwhile makes a new table, which this never enters.
        handler = table[kind] = BUILTINS.get(kind) or resolve(kind)
    return handler


def forget_handlers() -> None:
    """Look every type up anew: a hook was registered."""
    _Handlers.table = {}


def _sequence(tag: bytes) -> Handler:
    def steps(value: Any, _: Encoder) -> Steps:
        parts = []
        for part in value:
            leaf = SCALARS.get(type(part))
            parts.append((yield part) if leaf is None else leaf(part))
        body = b"".join(parts)
        return head(tag, len(body)) + body

    return steps


def _unordered(tag: bytes) -> Handler:
    def steps(value: Any, _: Encoder) -> Steps:
        parts = []
        for part in list(value):
            parts.append((yield part))  # noqa: PERF401 - a yield cannot stand in a comprehension
        return item(tag, in_order(parts))

    return steps


def _dict(value: dict[object, object], _: Encoder) -> Steps:
    pairs = []
    for key, part in list(value.items()):
        leaf = SCALARS.get(type(key))
        name = (yield key) if leaf is None else leaf(key)
        leaf = SCALARS.get(type(part))
        pairs.append(name + ((yield part) if leaf is None else leaf(part)))
    return item(b"d", in_order(pairs))


def attributes(found: dict[str, Any]) -> Steps:
    """Encode an object's attributes as a dict."""
    data = flat(found)
    return (yield Attributes(found)) if data is None else data


def _slice(value: slice, _: Encoder) -> Steps:
    start = yield value.start
    stop = yield value.stop
    step = yield value.step
    return item(b"x", start + stop + step)


BUILTINS: dict[type, Handler] = {
    tuple: _sequence(b"t"),
    list: _sequence(b"l"),
    dict: _dict,
    Attributes: _dict,
    set: _unordered(b"e"),
    frozenset: _unordered(b"z"),
    slice: _slice,
}


# -- what to say where there is no stable form ------------------------------------------------


def _described(exc: UnstableError) -> UnstableKeyError:
    kind = type(exc.trail[-1])
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    advice = exc.advice or (
        f"Give {kind.__name__} a __stable_key__ method that returns what stands for it, or call "
        f"register_key({kind.__name__}, function)."
    )
    where = _path(exc.trail)
    return UnstableKeyError(f"{where}: {name} has no stable form as a key, {exc.reason}. {advice}")


def _path(trail: list[object]) -> str:
    """Return where the last object is in the first: ``key[0]['a'].name``."""
    path = "key"
    for outer, inner in pairwise(trail):
        path += _step(outer, inner)
    return path


def _step(outer: object, inner: object) -> str:
    if isinstance(outer, list | tuple):
        places = [place for place, part in enumerate(outer) if part is inner]
        return f"[{places[0]}]" if places else ""
    if isinstance(outer, Attributes):
        return next((f".{name}" for name, part in outer.items() if part is inner), "")
    if isinstance(outer, Mapping):
        return next((f"[{_short(k)}]" for k, v in outer.items() if v is inner), "")
    return ""


def _short(value: object) -> str:
    return repr(value) if type(value) in SCALARS else type(value).__name__
