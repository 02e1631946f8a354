"""Run work in threads and in processes, and hear about every failure in them."""

from __future__ import annotations

import multiprocessing
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

PATIENCE = 120.0
"""Seconds after which work that does not end is taken to be stuck."""

METHODS = [name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()]
"""How this system starts processes."""


def in_threads(
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    patience: float = PATIENCE,
) -> list[Any]:
    """Return what ``work`` returns for each tuple of arguments, each in a thread of its own.

    Raises:
        BaseException: the first one that any of them raised.
        TimeoutError: a thread is stuck.
    """
    results: list[Any] = [None] * len(arguments)
    failures: list[BaseException] = []

    def run(place: int, given: tuple[Any, ...]) -> None:
        try:
            results[place] = work(*given)
        except BaseException as exc:  # noqa: BLE001 - raised again where the test sees it
            failures.append(exc)

    threads = [
        threading.Thread(target=run, args=numbered, daemon=True)
        for numbered in enumerate(arguments)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
    if failures:
        raise failures[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError(f"{work} is stuck in a thread")
    return results


class Child:
    """One process that runs ``work(*arguments)``.

    Args:
        method: ``fork`` or ``spawn``.
        work: a function; under ``spawn`` at the top level of an importable module.
        arguments: what it is called with.
    """

    def __init__(self, method: str, work: Callable[..., Any], *arguments: Any) -> None:
        context: Any = multiprocessing.get_context(method)
        self._results, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=_report, args=(sender, work, arguments), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns when threads are running; that the engine copes is the test.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        sender.close()

    def result(self, patience: float = PATIENCE) -> Any:
        """Return what the work returned within so many seconds.

        Raises:
            AssertionError: it raised; the message is its traceback.
            TimeoutError: it is stuck.
        """
        try:
            if not self._results.poll(patience):
                raise TimeoutError(f"process {self.process.pid} is stuck")
            succeeded, outcome = self._results.recv()
        except EOFError:
            self.process.join(PATIENCE)
            raise AssertionError(f"process died with {self.process.exitcode}") from None
        finally:
            self.kill()
        if not succeeded:
            raise AssertionError(f"in process {self.process.pid}:\n{outcome}")
        return outcome

    def wait(self) -> int | None:
        """Return the exit code of a process that dies before its work returns."""
        self.process.join(PATIENCE)
        code: int | None = self.process.exitcode
        self.kill()
        return code

    def kill(self) -> None:
        """End the process at once, if it still runs."""
        self.process.kill()
        self.process.join()
        self._results.close()


def in_processes(
    method: str,
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    patience: float = PATIENCE,
) -> list[Any]:
    """Return what ``work`` returns for each tuple of arguments, each in a process of its own."""
    children = [Child(method, work, *given) for given in arguments]
    try:
        return [child.result(patience) for child in children]
    finally:
        for child in children:
            child.kill()


def _report(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        outcome = (True, work(*arguments))
    except BaseException:  # noqa: BLE001 - the parent raises it
        outcome = (False, traceback.format_exc())
    sender.send(outcome)
    sender.close()
