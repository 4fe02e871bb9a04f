"""An HTTP server on loopback that does to a connection what a test tells it, byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from typing import Any, Self

from attrs import frozen


@frozen
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One connection, whose request has been read."""

    def __init__(self, connection: socket.socket, stop: threading.Event) -> None:
        self._connection = connection
        self._stop = stop

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self, status: int, body: bytes | Mapping[str, Any] = b"", **headers: str) -> None:
        """A whole answer; underscores in names of headers become hyphens."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + content)

    def begin_chunks(self) -> None:
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_chunks(self) -> None:
        self.send(b"0\r\n\r\n")

    def stall(self) -> None:
        """Say nothing more until the test is over."""
        self._stop.wait()

    def reset(self) -> None:
        """Close with RST, so that nobody can take it for a regular end."""
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionResetError("by the script")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)


Script = Callable[[Wire], None]


class ScriptedHttp:
    """Treats each request by the next script; after the last, connections are refused by reset.

    A connection is kept for the next request unless the script closed it.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self._tls = tls
        self._stop = threading.Event()
        # Guards the two below and `seen`.
        self._lock = threading.Lock()
        self._scripts = list(scripts)
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self._connections:
            connection.close()

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="scripted-http")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        # What the client does to its end is what the tests are about.
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with contextlib.closing(connection), connection.makefile("rb") as reader:
                while first := reader.readline():
                    method, target, _ = first.decode().split(" ", 2)
                    head = b"".join(iter(reader.readline, b"\r\n"))
                    headers = dict(BytesParser().parsebytes(head).items())
                    body = reader.read(int(headers.get("Content-Length", 0)))
                    wire = Wire(connection, self._stop)
                    with self._lock:
                        self.seen.append(Seen(method, target, headers, body))
                        script = self._scripts.pop(0) if self._scripts else Wire.reset
                    script(wire)
