"""Proxies on loopback that misbehave on demand.

`TcpProxy` knows bytes only and fits databases and storages alike; `HttpProxy`
knows requests, for faults between a request and its answer.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from attrs import define

_CHUNK_BYTES = 64 * 1024
_TICK_S = 0.02


class TcpProxy:
    """Forwards connections to one address; the faults can change at any time.

    Args:
        listen_host: where it is reached; loopback, but for who comes from a node's pod.
    Attributes:
        is_hanging: bytes stay where they are, in both directions; connections stay open.
        is_refusing: new connections are closed at once.
        bytes_per_s: speed limit for each connection and direction, None for none.
        cut_after_bytes: a connection is cut, with a reset, when so many bytes came
            from the server; None for never. Cleared once it happened.
        cut_after_request: the connection on which these bytes are sent to the server
            is cut when it answers, and the answer is lost. Cleared once it happened.
    """

    def __init__(
        self, target_port: int, target_host: str = "127.0.0.1", *, listen_host: str = "127.0.0.1"
    ) -> None:
        self._target = (target_host, target_port)
        self.is_hanging = False
        self.is_refusing = False
        self.bytes_per_s: float | None = None
        self.cut_after_bytes: int | None = None
        self.cut_after_request: bytes | None = None
        self.accepted_count = 0
        self.bytes_to_client = 0
        self._stop = threading.Event()
        # Guards the open connections.
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        # Of these, the ones of which one direction has ended.
        self._half: set[tuple[socket.socket, socket.socket]] = set()
        self._unanswered: tuple[socket.socket, socket.socket] | None = None
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((listen_host, 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def endpoint(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._start("proxy-accept", self._accept)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stop.set()
        with contextlib.closing(self._listener):
            self.cut()
            for thread in list(self._threads):
                thread.join(5)
        self.cut()

    def cut(self) -> int:
        """Reset every open connection; returns how many there were."""
        with self._lock:
            pairs = list(self._pairs)
            self._pairs.clear()
            self._half.clear()
        for pair in pairs:
            for one in pair:
                _reset(one)
        return len(pairs)

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            if not _readable(self._listener):
                continue
            client, _ = self._listener.accept()
            self.accepted_count += 1
            if self.is_refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
                # For the connection alone: a server that takes no bytes for a while is no fault.
                server.settimeout(None)
            except OSError:
                _reset(client)
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            self._start("proxy-up", lambda p=pair: self._pump(p, p[0], p[1], is_answer=False))  # type: ignore[misc]
            self._start("proxy-down", lambda p=pair: self._pump(p, p[1], p[0], is_answer=True))  # type: ignore[misc]

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        *,
        is_answer: bool,
    ) -> None:
        forwarded_bytes = 0
        with contextlib.suppress(OSError, ValueError):  # cut from outside
            while not self._stop.is_set():
                if self.is_hanging or not _readable(source):
                    self._stop.wait(_TICK_S if self.is_hanging else 0)
                    continue
                data = source.recv(_CHUNK_BYTES)
                if not data:
                    with contextlib.suppress(OSError):
                        sink.shutdown(socket.SHUT_WR)
                    self._half_ended(pair)
                    return
                if is_answer and self._unanswered == pair:
                    self._drop(pair)
                    return
                if not is_answer and self.cut_after_request and self.cut_after_request in data:
                    self.cut_after_request, self._unanswered = None, pair
                limit = self.cut_after_bytes
                if is_answer and limit is not None and forwarded_bytes + len(data) > limit:
                    self.cut_after_bytes = None
                    sink.sendall(data[: max(0, limit - forwarded_bytes)])
                    self._drop(pair)
                    return
                sink.sendall(data)
                forwarded_bytes += len(data)
                if is_answer:
                    self.bytes_to_client += len(data)
                if self.bytes_per_s:
                    self._stop.wait(len(data) / self.bytes_per_s)
            return
        self._drop(pair)

    def _half_ended(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """The second direction to end closes both: who is done must leave no descriptor behind."""
        with self._lock:
            if pair not in self._half:
                self._half.add(pair)
                return
            self._half.discard(pair)
            self._pairs.discard(pair)
        for one in pair:
            one.close()

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
            self._half.discard(pair)
        for one in pair:
            _reset(one)


def _readable(connection: socket.socket) -> bool:
    """Whether there is something to read within a tick."""
    # Not select(): it takes no descriptor from 1024 on.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(_TICK_S * 1000))


def _reset(connection: socket.socket) -> None:
    """Close with RST, so that the other side cannot take it for a regular end."""
    with contextlib.suppress(OSError):
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@define
class Fault:
    """What happens to the next `times` requests that match.

    Args:
        method: HTTP method, "" for any.
        path_part: text in path or query, "" for any.
        status: answer so without asking the server; 0: ask it.
        is_answer_lost: close the connection instead of passing the answer on.
        is_body_damaged: one bit of what is sent flips on its way.
        delay_s: wait before the answer.
    """

    method: str = ""
    path_part: str = ""
    status: int = 0
    body: bytes = b""
    is_answer_lost: bool = False
    is_body_damaged: bool = False
    delay_s: float = 0.0
    times: int = 1
    hits: int = 0

    def takes(self, method: str, path: str) -> bool:
        if self.hits >= self.times or self.method not in {"", method}:
            return False
        return self.path_part in path


class HttpProxy:
    """Passes requests on to a plain HTTP server, except for the faults.

    The Host header is passed on as it came, so signatures stay valid.

    Attributes:
        requests: method and path of all that came.
        replaced_headers: lower-case names of answers' headers and their new
            values; an empty one drops the header.
    """

    def __init__(self, target_port: int) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.replaced_headers: dict[str, str] = {}
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self, "target_port": target_port})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _TICK_S}, name="http-proxy"
        )

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self.faults.append(fault)
        return fault

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, counted."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.takes(method, path):
                    fault.hits += 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: HttpProxy
    target_port: int

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def log_message(self, *_args: object) -> None:
        pass

    def _relay(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            del self.headers["Expect"]  # answered by this server already
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.take(self.command, self.path) or Fault()
        if fault.delay_s:
            time.sleep(fault.delay_s)
        if fault.status:
            self._answer(fault.status, [], fault.body)
            return
        if fault.is_body_damaged and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        upstream = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=60)
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            content = answer.read()
        if fault.is_answer_lost:
            self.close_connection = True
            _reset(self.connection)
            return
        self._answer(answer.status, answer.getheaders(), content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = None
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in {"transfer-encoding", "connection"} and (
                sent := self.proxy.replaced_headers.get(name.lower(), value)
            ):
                self.send_header(name, sent)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", length if is_head and length else str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815 - the names http.server looks for
