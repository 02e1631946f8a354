"""Real servers for the tests: found or fetched, started on free ports, stopped afterwards.

In this order: the server that a URL in the environment names (``HASHSTASH_TEST_REDIS_URL``,
``HASHSTASH_TEST_MONGO_URL``, ``HASHSTASH_TEST_S3_URL``), a binary on the path, a build kept in
``cache_folder()``. Each test process starts its own, so that tests in parallel share nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

# Read at import: the test session moves the user's folders into its own.
os.environ.setdefault(
    "HASHSTASH_TEST_SERVERS", os.path.expanduser("~/.cache/hashstash-test-servers")
)

PATIENCE = 60.0
"""Seconds that a server may take to start or stop: the machine may be busy."""


_starter = ThreadPoolExecutor(1)
"""Starts all servers: they die with the thread that started them, so that one has to last."""


class ServerMissingError(Exception):
    """No server of this kind can be had here; the message says how to get one."""


def cache_folder() -> Path:
    """Return the folder outside the checkout in which fetched servers are kept."""
    folder = Path(os.environ["HASHSTASH_TEST_SERVERS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on.

    It lies below those that systems give to outgoing connections, so that none of them takes
    it before the server does.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return when ``true()`` is; raise TimeoutError naming ``what`` if that takes too long."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {patience:g} s for {what}")
        time.sleep(0.02)


class ServerProcess:
    """A server that a test may start, stop, freeze and kill.

    Args:
        command: program and arguments.
        ready: tells whether it serves.
        log: where its output goes.
        env: its environment; None for this process's.
    """

    unsuitable: ClassVar[str] = ""
    """What it says, before it ends, if this build of it lacks what a test needs."""

    def __init__(
        self,
        command: Sequence[str],
        ready: Callable[[], object],
        log: Path,
        env: dict[str, str] | None = None,
    ) -> None:
        self.command, self.ready, self.log, self.env = list(command), ready, log, env
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it serves."""
        dies_with_us = shutil.which("setpriv")
        prefix = [dies_with_us, "--pdeathsig", "KILL"] if dies_with_us else []
        with self.log.open("ab") as log:
            command = [*prefix, *self.command]
            self.process = _starter.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env,
            ).result()  # fmt: skip
        try:
            wait_until(self._is_ready, f"{self.command[0]} to start")
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-2000:]
            if self.unsuitable and self.unsuitable in said:
                raise ServerMissingError(f"{self.command[0]} is too old, or built without:\n{said}")
            raise RuntimeError(f"{self.command[0]} ended with {self.process.returncode}:\n{said}")
        return bool(self.ready())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal: ``SIGSTOP`` freezes it, ``SIGCONT`` lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def stop(self) -> None:
        """Ask it to end, and make it if it does not."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None
