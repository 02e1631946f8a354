"""A TCP proxy that cuts connections where a test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"
_ABORT = struct.pack("ii", 1, 0)  # close with a reset instead of an orderly end


class Proxy:
    """Passes bytes on between clients and a server; a context manager.

    Args:
        port: where the server listens on the loopback interface.

    Attributes:
        port: where clients are to connect.
        cuts: how many connections were cut.
    """

    def __init__(self, port: int) -> None:
        self._server = (HOST, port)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._lock = threading.Lock()
        self._replies_left: int | None = None
        self._requests_left: int | None = None
        self._links: list[socket.socket] = []

    def cut_reply(self, after: int = 0) -> None:
        """Pass on all requests and ``after`` more bytes of replies, then cut that connection.

        The request whose reply is cut has been executed by then.
        """
        with self._lock:
            self._replies_left = after

    def cut_request(self, after: int = 0) -> None:
        """Pass on ``after`` more bytes of requests, then cut that connection."""
        with self._lock:
            self._requests_left = after

    def cut_all(self) -> None:
        """Cut every connection there is, as a firewall does with idle ones."""
        with self._lock:
            links, self._links = self._links, []
            self.cuts += len(links) // 2
        for link in links:
            _abort(link)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                _abort(client)
                continue
            with self._lock:
                self._links += [client, server]
            for source, sink, replies in ((client, server, False), (server, client, True)):
                threading.Thread(
                    target=self._pump, args=(source, sink, replies), daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                allowed = self._allowed(len(data), replies)
                sink.sendall(data[:allowed])
                if allowed < len(data):
                    break
        _abort(sink)
        _abort(source)

    def _allowed(self, size: int, replies: bool) -> int:
        """Return how many of ``size`` bytes may pass; fewer than all of them only once."""
        with self._lock:
            left = self._replies_left if replies else self._requests_left
            if left is None:
                return size
            cut = size > left
            rest = None if cut else left - size
            if replies:
                self._replies_left = rest
            else:
                self._requests_left = rest
            self.cuts += cut
            return min(size, left)


def _abort(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        link.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for it
    link.close()
