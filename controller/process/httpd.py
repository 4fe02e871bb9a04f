"""A process's HTTP side: /metrics, /healthz and /readyz, for GET and HEAD.

It faces the pod network, so a client gets little: a few threads, one request
per connection, and so many seconds for it whatever it does.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import orjson
from attrs import frozen

from controller.api.errors import InvalidSpec, Problem

log = logging.getLogger(__name__)

#: Health or readiness: whether it is well, and what a person wants to know about it.
Check = Callable[[], tuple[bool, Mapping[str, object]]]

_POLL_S = 0.25
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_JSON = "application/json"


@frozen(kw_only=True)
class Endpoints:
    """What is served. All are called from several threads and must not block for long.

    Args:
        metrics: gives the whole text.
        metrics_type: its content type.
        health: False: the process is of no use any more, restart it.
        readiness: False: what it says is not yet, or not now, to be relied on.
    """

    metrics: Callable[[], bytes]
    metrics_type: str
    health: Check
    readiness: Check


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``:3000``, ``127.0.0.1:3000`` or ``[::1]:0``; an empty host is every address.

    Raises: InvalidSpec.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not colon or not is_port or (":" in host) != bracketed or "[" in host or "]" in host:
        raise InvalidSpec([Problem("LISTEN", f"{text!r} must be :PORT, HOST:PORT or [IPv6]:PORT")])
    return host, int(port)


class HttpServer:
    """Serves Endpoints. `bind` takes the port, `run` serves until told to stop.

    Args:
        listen: as for `parse_listen`.
        request_timeout_s: after so many seconds a connection is cut.
        max_connections: further ones are cut at once.
    """

    def __init__(
        self,
        listen: str,
        endpoints: Endpoints,
        *,
        request_timeout_s: float = 10.0,
        max_connections: int = 16,
    ) -> None:
        self._host, self._port = parse_listen(listen)
        self._endpoints = endpoints
        self._request_timeout_s = request_timeout_s
        self._max_connections = max_connections
        self._server: _Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that were bound."""
        if self._server is None:
            raise RuntimeError("not bound")
        host, port = self._server.socket.getsockname()[:2]
        return host, port

    def bind(self) -> None:
        """Take the port, so that a port in use ends the start of the process.

        Raises: InvalidSpec.
        """
        self._server = self._bound()

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`; cuts open connections and returns when their threads ended."""
        self._server = server = self._server or self._bound()
        try:
            while not stop.is_set():
                server.handle_request()
                server.cut_connections(older_than_s=self._request_timeout_s)
        finally:
            server.cut_connections(older_than_s=-1.0)
            server.server_close()
            self._server = None

    def _bound(self) -> _Server:
        try:
            if self._host:
                found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                return self._server_at(self._host, found[0][0])
            try:
                return self._server_at("::", socket.AF_INET6)
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
                return self._server_at("0.0.0.0", socket.AF_INET)  # noqa: S104 - LISTEN says so
        except OSError as error:
            raise InvalidSpec([Problem("LISTEN", f"cannot listen: {error}")]) from error

    def _server_at(self, host: str, family: socket.AddressFamily) -> _Server:
        return _Server((host, self._port), family, self._endpoints, self._max_connections)


class _Server(ThreadingMixIn, TCPServer):
    """A thread per connection, so many at most, all joined by `server_close`."""

    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    timeout = _POLL_S

    def __init__(
        self,
        address: tuple[str, int],
        family: socket.AddressFamily,
        endpoints: Endpoints,
        max_connections: int,
    ) -> None:
        self.address_family = family
        self.endpoints = endpoints
        self._max_connections = max_connections
        # Guards _since: open connections and when they came. Sockets are shut
        # down under it, so that none is closed and its number reused meanwhile.
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
        # A client that is gone again before it was accepted must not block the loop.
        self.socket.settimeout(_POLL_S)

    def cut_connections(self, *, older_than_s: float) -> None:
        """Wake the threads of overdue connections: their reads and writes fail now."""
        limit = time.monotonic() - older_than_s
        with self._lock:
            for connection, since in self._since.items():
                if since < limit:
                    _shut_down(connection)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - given
        with self._lock:
            if len(self._since) >= self._max_connections:
                return False
            self._since[request] = time.monotonic()
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - given
        """Called while an exception is handled: a client that went away is no news."""
        log.debug("connection broken", exc_info=True)  # noqa: LOG014 - see above


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("connection was gone already")


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.0 semantics: the connection ends with the answer."""

    server: _Server

    def do_GET(self) -> None:
        endpoints = self.server.endpoints
        path = self.path.partition("?")[0]
        try:
            if path == "/metrics":
                self._answer(200, endpoints.metrics_type, endpoints.metrics())
            elif path == "/healthz":
                self._answer_check(endpoints.health)
            elif path == "/readyz":
                self._answer_check(endpoints.readiness)
            else:
                self._refuse(404)
        except OSError:
            raise
        except Exception:
            log.exception("request failed", extra={"path": path})
            self._refuse(500)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """Answer in our form what the base class refuses; it knows no method but ours."""
        self.close_connection = True
        self._refuse(405 if code == HTTPStatus.NOT_IMPLEMENTED else code)

    def version_string(self) -> str:
        return "db-backup-controller"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        log.debug("http request", extra={"request": format % args})

    def _answer_check(self, check: Check) -> None:
        ok, detail = check()
        self._answer(200 if ok else 503, _JSON, orjson.dumps({"ok": ok, **detail}) + b"\n")

    def _refuse(self, status: int) -> None:
        reason = HTTPStatus(status).phrase
        self._answer(status, _JSON, orjson.dumps({"ok": False, "reason": reason}) + b"\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
