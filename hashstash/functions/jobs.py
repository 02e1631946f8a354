"""Jobs: what is common to all calls of a map, and how a chunk of the calls is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hashstash.errors import HashStashError
from hashstash.keys import stored_key

from .chunks import FAILED, FOUND, STORED, UNSTORABLE, VALUE, Outcome, Task, pack, unpack
from .claims import Claim
from .identity import Callee
from .target import Address

if TYPE_CHECKING:
    from .results import StashedFunction

Settle = Callable[[int, Outcome], None]
"""Is told how a call ended, by its number in the chunk."""


class Job(NamedTuple):
    """What is common to all calls of a map.

    Attributes:
        stashed: the function and how its results are kept.
        common: keyword arguments of every call.
        store: whether results are stored here; otherwise they are sent back.
    """

    stashed: StashedFunction[..., Any]
    common: dict[str, Any]
    store: bool

    def run_chunk(self, tasks: Sequence[Task], settle: Settle, seconds: float, since: int) -> None:
        """Run calls until all of them ended or the time is over, but at least one.

        Those that were not begun are settled by nobody.

        Args:
            tasks: the calls.
            settle: is told how each ended, once its result is stored.
            seconds: how long to go on.
            since: results from before this time (ns since the epoch) are computed anew.
        """
        end = perf_counter() + seconds
        claim, found = self._claim(tasks, settle, since)
        held_by_others = []
        try:
            for number, task in enumerate(tasks):
                stored = task.address[0]
                if stored in found:
                    settle(number, (FOUND, None))
                elif claim is not None and not claim.holds(stored):
                    held_by_others.append(number)
                else:
                    self._run_in(claim, number, task, settle, since)
                    if perf_counter() > end:
                        return
            if claim is not None:
                claim.store()
            for number in held_by_others:
                self._run_in(claim, number, tasks[number], settle, since)
                if perf_counter() > end:
                    return
        finally:
            if claim is not None:
                claim.end()

    def run(self, task: Task, since: int, claim: Claim | None = None) -> Outcome:
        """Return how one call ended."""
        try:
            call = task.args, {**self.common, **task.kwargs}
            if not self.store:
                return VALUE, self.stashed.compute(*self.stashed.complete(*call))
            address = task.address
            if address[1] is None and address[0][:1] in b"DE":
                address = self._whole_address(address, call)
            answer = self.stashed.answer(call, task.key, address, since, claim)
        except BaseException as exc:  # noqa: BLE001 - it is the item's, and told where it is asked for
            return FAILED, exc
        if answer.problem is not None:
            return UNSTORABLE, (answer.value, answer.problem)
        return (STORED if answer.computed else FOUND), None

    def _run_in(
        self, claim: Claim | None, number: int, task: Task, settle: Settle, since: int
    ) -> None:
        outcome = self.run(task, since, claim)
        if claim is None or not claim.finish((number, outcome)):
            settle(number, outcome)

    def _claim(
        self, tasks: Sequence[Task], settle: Settle, since: int
    ) -> tuple[Claim | None, set[bytes]]:
        """Return a claim to all calls, where it pays; and which of them are done already."""
        target = self.stashed.target() if self.store and len(tasks) > 1 else None
        if target is None or target.flight is None or not target.flight.claims:
            return None, set()

        def stored(tag: Any, error: Exception | None) -> None:
            number, outcome = tag
            settle(number, outcome if error is None else (FAILED, error))

        assert target.flight.lessor is not None
        claim = Claim(target.flight.lessor, target.results, stored)
        try:
            keys = [task.address[0] for task in tasks]
            return claim, claim.take(keys, target.good_since(since))
        except HashStashError:  # each call by itself will tell what is wrong
            return None, set()

    def _whole_address(self, address: Address, call: Any) -> Address:
        """Return the address with its canonical key, which was too large to be sent along."""
        stash = self.stashed.target().stash
        whole = stored_key(stash.call_key(*self.stashed.complete(*call)))
        if whole[0] != address[0]:
            raise ValueError(
                "The key of this call is not the same in this process: see key=, hash="
            )
        return whole


def pack_job(job: Job) -> bytes:
    """Return a job as bytes; signing keys go along, as workers act for their parent."""
    stashed = job.stashed
    function, identity, options = stashed.portable()
    stash = stashed.stash
    return pack((function, identity, options, stash._settings, stash._keyring.given, job[1:]))


def unpack_job(data: bytes) -> Job:
    """Return the job that ``pack_job`` was given, to be run in this process."""
    from .decorators import stashed_class
    from .results import StashedFunction

    function, identity, options, settings, keys, rest = unpack(data)
    callee = function._callee if isinstance(function, StashedFunction) else Callee(*function)
    kind = stashed_class(callee.function)
    return Job(kind.from_portable(callee, identity, options, settings, keys), *rest)
