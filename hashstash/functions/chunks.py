"""Chunks of a map's calls on their way to workers, and what became of them on the way back.

Both travel in columns: a column of plain data costs next to nothing to serialize.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hashstash.codec import DIGEST, OPAQUE, OPAQUE_DIGEST
from hashstash.errors import HashStashError, SerializationError
from hashstash.serializers import SERIALIZERS

from .target import Address

FOUND, STORED, VALUE, UNSTORABLE, FAILED, UNBEGUN = range(6)
"""How a call ended: its result was in the stash, is there now, comes with this, comes with why
it could not be stored; or it raised; or it was not begun, as the chunk took long."""

Outcome = tuple[int, Any]

LARGE = 1 << 16
"""From this size on, bytes that a worker can find by itself are not sent with each call."""


class Task(NamedTuple):
    """One call of a map.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments that are not common to all.
        address: the stored key and canonical key of its result, as the map made them: classes
            that were sent to a worker are not quite those of the parent. Of a large key of
            plain data the canonical form is left out.
        key: the key itself, if the row has to keep it.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    address: Address
    key: Any


def task_of(args: tuple[Any, ...], kwargs: dict[str, Any], address: Address, key: Any) -> Task:
    """Return a call with what a worker needs to store its result."""
    stored, canonical = address
    kind = stored[:1]
    if kind == _PLAIN_DIGEST and canonical is not None and len(canonical) > LARGE:
        canonical = None
    return Task(args, kwargs, (stored, canonical), key if kind in _NEED_KEY else None)


_PLAIN_DIGEST = bytes((DIGEST,))
_NEED_KEY = frozenset((bytes((OPAQUE,)), bytes((OPAQUE_DIGEST,))))


def pack(value: object) -> bytes:
    """Return ``value`` as bytes for a worker, or from one."""
    return SERIALIZERS.load("hashstash")().dumps(value)


def unpack(data: bytes) -> Any:
    """Return what ``pack`` was given; what comes from our own workers is trusted."""
    return SERIALIZERS.load("hashstash")().loads(data, trusted=True)


def pack_tasks(tasks: Sequence[Task]) -> bytes:
    """Return calls as bytes."""
    single = all(len(task.args) == 1 for task in tasks)
    stored = b"".join(bytes((len(task.address[0]),)) + task.address[0] for task in tasks)
    canonical = {n: task.address[1] for n, task in enumerate(tasks) if task.address[1] is not None}
    keys = {n: task.key for n, task in enumerate(tasks) if task.key is not None}
    return pack(
        (
            single,
            [task.args[0] if single else list(task.args) for task in tasks],
            {n: task.kwargs for n, task in enumerate(tasks) if task.kwargs},
            stored,
            canonical,
            keys,
        )
    )


def unpack_tasks(data: bytes) -> list[Task]:
    """Return the calls that ``pack_tasks`` was given."""
    single, objects, kwargs, stored, canonical, keys = unpack(data)
    return [
        Task(
            (given,) if single else tuple(given),
            kwargs.get(number, {}),
            (address, canonical.get(number)),
            keys.get(number),
        )
        for number, (given, address) in enumerate(zip(objects, _split(stored), strict=True))
    ]


def _split(joined: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(joined):
        end = start + 1 + joined[start]
        yield joined[start + 1 : end]
        start = end


class WorkerTraceback(Exception):  # noqa: N818 - it is a cause, not an error
    """The cause of an exception from a worker: where in the worker it was raised, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Return how calls ended as bytes; what cannot be sent is a failure of its call."""
    sent = [_packed_failure(value) if code == FAILED else value for code, value in outcomes]
    codes = bytes(code for code, _ in outcomes)
    try:
        return pack((codes, _but_for_nones(sent)))
    except SerializationError:
        pass
    for number, (code, value) in enumerate(outcomes):
        if code in {VALUE, UNSTORABLE}:
            try:
                pack(value)
            except SerializationError as exc:
                error = SerializationError(f"The result cannot be sent back by its worker: {exc}")
                sent[number] = _packed_failure(error)
                codes = codes[:number] + bytes((FAILED,)) + codes[number + 1 :]
    return pack((codes, _but_for_nones(sent)))


def unpack_outcomes(data: bytes) -> list[Outcome]:
    """Return how calls ended; exceptions have a ``WorkerTraceback`` as their cause."""
    codes, values = unpack(data)
    found = ((code, values.get(number)) for number, code in enumerate(codes))
    return [(code, _unpacked_failure(*value) if code == FAILED else value) for code, value in found]


def _but_for_nones(values: list[Any]) -> dict[int, Any]:
    return {number: value for number, value in enumerate(values) if value is not None}


def _packed_failure(error: BaseException) -> tuple[bytes, str, str]:
    text = "".join(traceback.format_exception(error))
    try:
        data = pack(error)
    except SerializationError:
        data = b""
    return data, f"{type(error).__name__}: {error}", text


def _unpacked_failure(data: bytes, told: str, text: str) -> BaseException:
    error: BaseException = RuntimeError(told)
    if data:
        try:
            found = unpack(data)
        except (HashStashError, TypeError, AttributeError, ImportError):
            pass  # a class of exceptions that cannot be made again: its text is left
        else:
            error = found if isinstance(found, BaseException) else error
    error.__cause__ = WorkerTraceback(text)
    return error
