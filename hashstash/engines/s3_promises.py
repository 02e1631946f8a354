"""Whether a server honours the conditions that keep two writers from overwriting each other."""

from __future__ import annotations

from botocore.exceptions import ClientError

from .lost_answers import LostAnswerError
from .s3_link import Link, code_of
from .s3_objects import Objects

WRITES, REMOVALS, PARTS = "writes", "removals", "parts"

_OTHER = '"00000000000000000000000000000000"'


def honours(objects: Objects, name: str, promise: str) -> bool:
    """Return whether the server keeps a promise, found out by trying, once for each client.

    A server that does not know a condition ignores it and stores what it had to refuse.

    Args:
        objects: the bucket.
        name: the name of an object that nobody else has, to try it on.
        promise: ``WRITES`` (of an object in one piece, under ``IfMatch`` or ``IfNoneMatch``),
            ``PARTS`` (the same of an object in parts) or ``REMOVALS`` (under ``IfMatch``).
    """
    link: Link = objects.link
    if promise not in link.promises:
        try:
            link.promises[promise] = _TRIALS[promise](objects, name)
            objects.remove(name)
        except ClientError as exc:
            if code_of(exc) != "NotImplemented":
                raise
            link.promises[promise] = False
        except LostAnswerError as lost:  # what was asked for was not even begun
            raise LostAnswerError(lost.error, sent=False) from lost
    return link.promises[promise]


def _writes(objects: Objects, name: str) -> bool:
    tag = objects.write(name, b"1", IfNoneMatch="*")
    return (
        tag is not None
        and objects.write(name, b"2", IfNoneMatch="*") is None
        and objects.write(name, b"3", IfMatch=_OTHER) is None
        and objects.write(name, b"4", IfMatch=tag) is not None
    )


def _removals(objects: Objects, name: str) -> bool:
    objects.write(name, b"1")
    return not objects.remove(name, IfMatch=_OTHER) and objects.see(name) is not None


def _parts(objects: Objects, name: str) -> bool:
    small = Objects(objects.link, create_bucket=False, multipart_bytes=0)
    tag = small.write(name, b"1")
    return (
        tag is not None
        and small.write(name, b"2", IfNoneMatch="*") is None
        and small.write(name, b"3", IfMatch=_OTHER) is None
        and small.write(name, b"4", IfMatch=tag) is not None
    )


_TRIALS = {WRITES: _writes, REMOVALS: _removals, PARTS: _parts}
