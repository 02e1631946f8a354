"""Why a call would hit or miss."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING, Any, Literal

from hashstash.expiry import is_expired
from hashstash.keys import stable_bytes, stored_key
from hashstash.rows import time_of

from .states import known_states, stash_of_state

if TYPE_CHECKING:
    from hashstash.stash import HashStash

    from .function_stash import FunctionStash
    from .target import Target

MOST_ENTRIES = 1000
"""How many entries are looked through for the nearest one."""

Reason = Literal[
    "stored", "expired", "raised before", "code changed", "other arguments", "no results"
]


@dataclass(frozen=True)
class Explanation:
    """Why a call would hit or miss; ``print`` it.

    Attributes:
        hit: whether it would be answered from the stash.
        reason: in a word or two.
        details: what a person wants to know next, a line each.
    """

    hit: bool
    reason: Reason
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{'hit' if self.hit else 'miss'}: {self.reason}"
        return "\n  ".join((head, *self.details))


def explain(parent: HashStash, target: Target, key: Any) -> Explanation:
    """Return why the call that ``key`` stands for would hit or miss.

    Args:
        parent: the stash below which results are kept.
        target: where those of the present state of the function are.
        key: the key of the call.
    """
    stash = target.stash
    stored, _ = stored_key(key)
    row = stash._get(stored)
    if row is not None and not is_expired(row, stored):
        return Explanation(True, "stored", (_age(row),))
    if target.kept and (error := target.kept_error(stored)) is not None:
        return Explanation(False, "raised before", (f"raises again what is kept: {error!r}",))
    if row is not None:
        return Explanation(False, "expired", (_age(row),))
    for state in known_states(parent, stash.identity):
        if state != stash.identity.version:
            earlier = stash_of_state(parent, stash, state)
            if earlier._get(stored) is not None:
                told = "this call was stored for an earlier state of the function's code"
                return Explanation(False, "code changed", (told, f"in {earlier.path}"))
    return _nearest(stash, key)


def _age(row: bytes) -> str:
    return f"stored {(time_ns() - time_of(row)) / 1e9:.1f} s ago"


def _nearest(stash: FunctionStash, key: Any) -> Explanation:
    wanted = _parts(key)
    best: dict[str, tuple[Any, Any]] | None = None
    for other in islice(stash, MOST_ENTRIES):
        differences = _differences(wanted, _parts(other))
        if best is None or len(differences) < len(best):
            best = differences
    if best is None:
        return Explanation(False, "no results", ("nothing is stored for this function yet",))
    lines = [
        f"{name}: {_short(mine)}, and in the nearest entry {_short(its)}"
        for name, (mine, its) in best.items()
    ]
    return Explanation(False, "other arguments", tuple(lines))


_ABSENT = object()


def _parts(key: Any) -> dict[str, Any]:
    if (
        isinstance(key, tuple)
        and len(key) == 2
        and isinstance(key[0], tuple)
        and isinstance(key[1], dict)
    ):
        args, kwargs = key
        return {**{f"argument {n}": value for n, value in enumerate(args, 1)}, **kwargs}
    return {"key": key}


def _differences(mine: dict[str, Any], its: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        name: (mine.get(name, _ABSENT), its.get(name, _ABSENT))
        for name in {**mine, **its}
        if name not in mine
        or name not in its
        or stable_bytes(mine[name]) != stable_bytes(its[name])
    }


def _short(value: object) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
