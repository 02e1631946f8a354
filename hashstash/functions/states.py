"""Which states of its code a function was seen in: what ``prune`` and ``explain`` look through."""

from __future__ import annotations

import json
from time import time
from typing import TYPE_CHECKING

from hashstash.engines.base import ETAG
from hashstash.errors import CorruptRowError
from hashstash.keys import stored_key
from hashstash.rows import codec_header, parse, seal

from .function_stash import FunctionStash
from .identity import Identity

if TYPE_CHECKING:
    from hashstash.stash import HashStash

_HEADER = codec_header("json")
_TABLE = "functions"


def remember_state(parent: HashStash, identity: Identity) -> None:
    """Note below ``parent`` that there are results of this state of a function."""
    table, (key, _) = parent._engine.sibling(_TABLE), stored_key(identity.place)
    while True:
        row = table.get(key)
        known = _states(row, key)
        if identity.version in known:
            return
        payload = json.dumps({**known, identity.version: time()}).encode()
        if table.compare_and_set(key, row and row[ETAG], seal(key, _HEADER, payload)):
            return


def known_states(parent: HashStash, identity: Identity) -> dict[str, float]:
    """Return the states that a function was seen in, each with the time of the first sight."""
    table, (key, _) = parent._engine.sibling(_TABLE), stored_key(identity.place)
    return _states(table.get(key), key)


def forget_other_states(parent: HashStash, current: FunctionStash) -> int:
    """Remove the results of all states but the one of ``current``; return how many those were."""
    identity = current.identity
    others = [state for state in known_states(parent, identity) if state != identity.version]
    for state in others:
        stash_of_state(parent, current, state)._engine.destroy()
    table, (key, _) = parent._engine.sibling(_TABLE), stored_key(identity.place)
    while (row := table.get(key)) is not None:
        left = {s: t for s, t in _states(row, key).items() if s not in others}
        new = seal(key, _HEADER, json.dumps(left).encode())
        if table.compare_and_set(key, row[ETAG], new):
            break
    return len(others)


def stash_of_state(parent: HashStash, current: FunctionStash, state: str) -> FunctionStash:
    """Return the stash of the results of another state of the same function."""
    assert current._binder is not None
    assert current._options is not None
    identity = current.identity._replace(version=state)
    return FunctionStash.below(parent, identity, current._binder, current._options)


def _states(row: bytes | None, key: bytes) -> dict[str, float]:
    """Return what a row says; one that is damaged or not ours says nothing, and is replaced."""
    if row is None:
        return {}
    try:
        found = json.loads(bytes(parse(row, key).payload))
    except (CorruptRowError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: float(first)
        for name, first in found.items()
        if _is_state(name) and isinstance(first, (int, float))
    }


def _is_state(name: str) -> bool:
    """Tell whether a name can be part of a path: a table may be written to by others."""
    return name.isalnum() and name.isascii()
