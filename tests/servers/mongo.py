"""MongoDB servers: ``mongod`` where it is installed, else mongo-java-server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import PATIENCE, ServerMissingError, ServerProcess, cache_folder, free_port

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
VERSION = "1.47.0"
LAUNCHER = Path(__file__).with_name("MongoLauncher.java")
DEPENDENCIES = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>mongo-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>de.bwaldvogel</groupId>
      <artifactId>mongo-java-server-h2-backend</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>2.0.17</version>
    </dependency>
  </dependencies>
</project>
"""

# OP_QUERY on admin.$cmd: {isMaster: 1}, as every client begins
_BODY = b"\x10isMaster\0" + struct.pack("<i", 1) + b"\0"
_ASK = struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<iii", 0, -1, len(_BODY) + 4) + _BODY
PING = struct.pack("<iiii", len(_ASK) + 16, 1, 0, 2004) + _ASK


def find() -> list[str]:
    """Return the command of a server, without its port and file.

    Raises:
        ServerMissingError: none is on the path, and none can be fetched.
    """
    mongod = shutil.which("mongod")
    if mongod:
        return [mongod]
    java = shutil.which("java")
    source = hashlib.sha256((LAUNCHER.read_text() + DEPENDENCIES).encode()).hexdigest()[:12]
    kept = cache_folder() / f"mongo-{source}"
    if java and not kept.exists():
        _fetch(kept)
    if not java:
        raise ServerMissingError("No mongod on the path, and no java: apt-get install maven")
    # The first of these flags halves the time to start; the others keep it small.
    flags = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"]
    return [java, *flags, "-cp", f"{kept}:{kept}/*", "MongoLauncher"]


def _fetch(kept: Path) -> None:
    """Take mongo-java-server from Maven Central and compile what starts it."""
    scratch = kept.with_name(f"{kept.name}-{os.getpid()}")
    scratch.mkdir()
    try:
        (scratch / "pom.xml").write_text(DEPENDENCIES)
        maven = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={scratch}"]
        _run([*maven, "-DincludeScope=runtime"], scratch)
        _run(["javac", "-cp", f"{scratch}/*", "-d", str(scratch), str(LAUNCHER)], scratch)
        with contextlib.suppress(OSError):  # another process was first
            scratch.rename(kept)
    except (OSError, subprocess.SubprocessError) as exc:
        raise ServerMissingError(
            "No mongod on the path, and mongo-java-server cannot be fetched with mvn and javac "
            f"(apt-get install maven default-jdk-headless): {exc}"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=10 * PATIENCE)


class MongoServer(ServerProcess):
    """One MongoDB server; a context manager that starts and stops it.

    Args:
        folder: where its files go.
        durable: whether it keeps its data when it is killed and started again.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        command = find()
        if command[0].endswith("mongod"):
            command += ["--port", str(self.port), "--bind_ip", HOST, "--dbpath", str(folder)]
        else:
            command += [str(self.port), *([str(folder / "data")] if durable else [])]
        super().__init__(command, self.answers, folder / "log")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mongodb://{HOST}:{self.port}"

    def answers(self) -> bool:
        """Report whether it serves."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection((HOST, self.port), PATIENCE) as link,
        ):
            link.settimeout(PATIENCE)
            link.sendall(PING)
            return b"maxWireVersion" in link.recv(65536)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
