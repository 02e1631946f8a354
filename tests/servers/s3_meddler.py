"""An S3 server with habits: one in front of a real one that leaves out what a test says."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .s3 import ACCESS_KEY, HOST, SECRET_KEY, S3Server

if TYPE_CHECKING:
    from typing_extensions import Self

ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>says the meddler</Message></Error>"
Refuse = Callable[[str, str], "tuple[int, str] | None"]


class Meddler:
    """Passes requests on to a server under a signature of its own; a context manager.

    Args:
        server: the real one.

    Attributes:
        ignored: headers that it does not pass on, in lower case.
        refuse: what it answers by itself: given method and path, a status and a code, or None.
        log: method and path of every request.
    """

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.ignored: set[str] = set()
        self.refuse: Refuse = lambda method, path: None
        self.log: list[tuple[str, str]] = []
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                meddler.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._listener = Listener((HOST, 0), Handler)
        self.port: int = self._listener.server_address[1]

    @property
    def url(self) -> str:
        """The bucket, as it is found here."""
        return self.server.url_at(self.port)

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.log.append((request.command, request.path))
        refused = self.refuse(request.command, request.path)
        if refused is not None:
            status, code = refused
            self._answer(request, status, ERROR.format(code).encode(), {})
            return
        status, said, headers = self._forward(request, body)
        self._answer(request, status, said, headers)

    def _forward(
        self, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        left_out = self.ignored | {"authorization", "host", "expect", "connection"}
        kept = {k: v for k, v in request.headers.items() if k.lower() not in left_out}
        address = f"{HOST}:{self.server.port}"
        signed = AWSRequest(request.command, f"http://{address}{request.path}", kept, body)
        credentials = Credentials(ACCESS_KEY, SECRET_KEY)
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(signed)
        link = http.client.HTTPConnection(HOST, self.server.port, timeout=60)
        try:
            link.request(request.command, request.path, body, dict(signed.headers.items()))
            answer = link.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            link.close()

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                request.send_header(name, value)
        if status != http.client.NO_CONTENT:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
