"""S3 servers: versitygw over a folder."""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from . import PATIENCE, ServerMissingError, ServerProcess, cache_folder, free_port

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
ACCESS_KEY, SECRET_KEY = "tester", "only/for+tests"


def find() -> str:
    """Return the path of the server's program.

    Raises:
        ServerMissingError: it is not on the path, and cannot be built.
    """
    found = shutil.which("versitygw")
    if found:
        return found
    kept = cache_folder() / "versitygw"
    if not kept.exists():
        _fetch(kept)
    return str(kept)


def _fetch(kept: Path) -> None:
    """Build it from the Go module."""
    scratch = kept.with_name(f"versitygw-{os.getpid()}")
    home = pwd.getpwuid(os.getuid()).pw_dir  # not the one of the test session
    try:
        subprocess.run(
            ["go", "install", PACKAGE],
            env={**os.environ, "HOME": home, "GOBIN": str(scratch)},
            check=True, capture_output=True, timeout=10 * PATIENCE,
        )  # fmt: skip
        (scratch / "versitygw").replace(kept)
    except (OSError, subprocess.SubprocessError) as exc:
        raise ServerMissingError(
            f"No versitygw on the path, and `go install {PACKAGE}` failed: {exc}"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class S3Server(ServerProcess):
    """One S3 server; a context manager that starts and stops it.

    Args:
        folder: where its objects and its log go.
        bucket: the bucket to make.
    """

    def __init__(self, folder: Path, bucket: str = "tests") -> None:
        self.port, self.bucket = free_port(), bucket
        data = folder / "objects"
        (data / bucket).mkdir(parents=True)
        options = ["--port", f"{HOST}:{self.port}", "--keep-alive", "--quiet"]
        command = [find(), *options, "posix", str(data)]
        env = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        super().__init__(command, self.answers, folder / "log", env)

    @property
    def url(self) -> str:
        """The bucket, as the engine takes it."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The bucket, as it is found through another port."""
        user = f"{quote(ACCESS_KEY)}:{quote(SECRET_KEY, safe='')}"
        return f"s3://{user}@{self.bucket}?endpoint_url=http://{HOST}:{port}"

    def answers(self) -> bool:
        """Report whether it serves, though it lets nobody in without a signature."""
        link = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        with contextlib.closing(link), contextlib.suppress(OSError, http.client.HTTPException):
            link.request("GET", "/")
            return link.getresponse().status == http.client.FORBIDDEN
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
