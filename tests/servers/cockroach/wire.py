"""The server's side of PostgreSQL's protocol, version 3: enough for libpq and psycopg."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

from attrs import Factory, define, frozen

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
#: In a text of several; a semicolon within quotes ends none.
_STATEMENT = re.compile(r"""(?:"[^"]*"|'[^']*'|[^;"'])+""")
#: The state of what a node that is drained says: its session's last word.
NODE_ENDS = "57P01"
_OIDS = {bool: 16, int: 20, float: 701, str: 25, dt.datetime: 1184, list: 1009}


class SqlError(Exception):
    """An error of the server: a SQLSTATE and what it says."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


@frozen
class Result:
    """What a statement gives: columns with an example of their type, rows, and the tag."""

    columns: Sequence[tuple[str, type]] = ()
    rows: Sequence[Sequence[Any]] = ()
    tag: str = "SELECT"


@define
class Login:
    """Who connects, and how.

    Args:
        certified: the name in the client's certificate; empty without one.
        settings: what the session has set.
        number: of the session; who knows it may cancel its statement.
    """

    user: str
    database: str
    certified: str = ""
    settings: dict[str, str] = Factory(dict)
    number: int = Factory(lambda: secrets.randbits(31))


@frozen(kw_only=True)
class Answers:
    """What the protocol asks the server.

    Args:
        password_of: of a user; None lets them in without. Raises SqlError.
        execute: a statement with its arguments.
        cancel: what the session of a number executes.
    """

    password_of: Callable[[Login], str | None]
    execute: Callable[[Login, str, Sequence[str | None]], Result]
    cancel: Callable[[int], None]


@define
class _Portal:
    statement: str
    arguments: Sequence[str | None]
    result: Result | None = None


class Listener:
    """Takes connections on loopback until it is closed."""

    def __init__(self, answers: Answers, tls: ssl.SSLContext | None) -> None:
        self._answers = answers
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()  # guards the two below
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="stand-in-accept")
        self._accepting.start()

    def drop_connections(self) -> None:
        """Cut every connection, as the end of a node does."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._accepting.join()
        self.drop_connections()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            # An answer is several small messages: each would wait for the other side's ACK.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name="stand-in")
            with self._lock:
                self._open.add(connection)
                self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        connection = Connection(raw, self._answers, self._tls)
        with contextlib.suppress(OSError, EOFError, ssl.SSLError):
            connection.run()
        with self._lock:
            self._open.discard(raw)
        connection.close()


class Connection:
    """One client."""

    def __init__(self, raw: socket.socket, answers: Answers, tls: ssl.SSLContext | None) -> None:
        self._socket: socket.socket = raw
        self._answers = answers
        self._tls = tls
        self._login = Login("", "")
        self._statements: dict[str, str] = {}
        self._portals: dict[str, _Portal] = {}

    def run(self) -> None:
        if not self._start():
            return
        failed = False  # after an error of the extended protocol everything is passed over
        while True:
            kind, body = self._message()
            if kind == b"X":
                return
            if kind == b"S":
                failed = False
                self._ready()
            elif not failed:
                try:
                    self._handle(kind, body)
                except SqlError as error:
                    self._error(error)
                    if error.state == NODE_ENDS:
                        return
                    failed = kind != b"Q"
                    if kind == b"Q":
                        self._ready()

    def close(self) -> None:
        """Also what TLS has made of it."""
        self._socket.close()

    # -- begin ------------------------------------------------------------------

    def _start(self) -> bool:
        while True:
            (length,) = struct.unpack("!i", self._exactly(4))
            body = self._exactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code == _CANCEL:
                self._answers.cancel(struct.unpack("!i", body[4:8])[0])
                return False
            if code in (_SSL, _GSS):
                self._negotiate(code)
                continue
            break
        words = body[4:].split(b"\0")
        given = dict(zip(words[::2], words[1::2], strict=False))
        self._login.user = given.get(b"user", b"").decode()
        self._login.database = given.get(b"database", b"").decode()
        try:
            self._authenticate()
        except SqlError as error:
            self._error(error)
            return False
        self._send(b"R", struct.pack("!i", 0))
        for name, value in (
            ("server_version", "13.0.0"),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("DateStyle", "ISO"),
            ("TimeZone", "UTC"),
            ("integer_datetimes", "on"),
        ):
            self._send(b"S", f"{name}\0{value}\0".encode())
        self._send(b"K", struct.pack("!ii", self._login.number, 1))
        self._ready()
        return True

    def _negotiate(self, code: int) -> None:
        if code == _GSS or self._tls is None:
            self._socket.sendall(b"N")
            return
        self._socket.sendall(b"S")
        wrapped = self._tls.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False
        )
        self._socket = wrapped
        wrapped.do_handshake()
        subject = (wrapped.getpeercert() or {}).get("subject", ())
        names = {key: value for part in subject for key, value in part}
        self._login.certified = names.get("commonName", "")

    def _authenticate(self) -> None:
        wanted = self._answers.password_of(self._login)
        if wanted is None:
            return
        self._send(b"R", struct.pack("!i", 3))
        kind, body = self._message()
        if kind != b"p" or body.rstrip(b"\0").decode() != wanted:
            user = self._login.user
            raise SqlError("28P01", f"password authentication failed for user {user}")

    # -- statements ---------------------------------------------------------------

    def _handle(self, kind: bytes, body: bytes) -> None:
        handler = {
            b"Q": self._query,
            b"P": self._parse,
            b"B": self._bind,
            b"D": self._describe,
            b"E": self._execute,
            b"C": self._close,
        }.get(kind)
        if handler:
            handler(body)
        elif kind != b"H":
            raise SqlError("08P01", f"unexpected message {kind!r}")

    def _query(self, body: bytes) -> None:
        statements = [one for one in _STATEMENT.findall(body.rstrip(b"\0").decode()) if one.strip()]
        for statement in statements:
            result = self._answers.execute(self._login, statement.strip(), ())
            if result.columns:
                self._send(b"T", _described(result))
            self._rows(result)
        if not statements:
            self._send(b"I", b"")
        self._ready()

    def _parse(self, body: bytes) -> None:
        name, statement, _ = body.split(b"\0", 2)
        self._statements[name.decode()] = statement.decode()
        self._send(b"1", b"")

    def _bind(self, body: bytes) -> None:
        portal, name, rest = body.split(b"\0", 2)
        (formats,) = struct.unpack("!h", rest[:2])
        rest = rest[2 + 2 * formats :]
        (count,) = struct.unpack("!h", rest[:2])
        rest = rest[2:]
        arguments: list[str | None] = []
        for _ in range(count):
            (length,) = struct.unpack("!i", rest[:4])
            rest = rest[4:]
            arguments.append(None if length < 0 else rest[:length].decode())
            rest = rest[max(0, length) :]
        statement = self._statements[name.decode()]
        used = {int(number) for number in re.findall(r"\$(\d+)", statement)}
        if used != set(range(1, count + 1)):
            raise SqlError("08P01", f"expected {len(used)} arguments, got {count}")
        self._portals[portal.decode()] = _Portal(statement, arguments)
        self._send(b"2", b"")

    def _describe(self, body: bytes) -> None:
        portal = self._portals[body[1:].rstrip(b"\0").decode()]
        result = self._run(portal)
        if result.columns:
            self._send(b"T", _described(result))
        else:
            self._send(b"n", b"")

    def _execute(self, body: bytes) -> None:
        self._rows(self._run(self._portals[body.split(b"\0", 1)[0].decode()]))

    def _close(self, _body: bytes) -> None:
        self._send(b"3", b"")

    def _run(self, portal: _Portal) -> Result:
        if portal.result is None:
            portal.result = self._answers.execute(self._login, portal.statement, portal.arguments)
        return portal.result

    def _rows(self, result: Result) -> None:
        for row in result.rows:
            cells = b"".join(_cell(value) for value in row)
            self._send(b"D", struct.pack("!h", len(row)) + cells)
        tag = f"{result.tag} {len(result.rows)}" if result.columns else result.tag
        self._send(b"C", tag.encode() + b"\0")

    # -- bytes ----------------------------------------------------------------------

    def _ready(self) -> None:
        self._send(b"Z", b"I")

    def _error(self, error: SqlError) -> None:
        fields = {"S": "ERROR", "V": "ERROR", "C": error.state, "M": str(error)}
        text = "".join(f"{key}{value}\0" for key, value in fields.items())
        self._send(b"E", text.encode() + b"\0")

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _message(self) -> tuple[bytes, bytes]:
        kind = self._exactly(1)
        (length,) = struct.unpack("!i", self._exactly(4))
        return kind, self._exactly(length - 4)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def _described(result: Result) -> bytes:
    fields = b"".join(
        name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, _OIDS[kind], -1, -1, 0)
        for name, kind in result.columns
    )
    return struct.pack("!h", len(result.columns)) + fields


def _cell(value: Any) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    text = _text(value).encode()
    return struct.pack("!i", len(text)) + text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return str(value)
