"""Sessions: the one importer of PyMySQL.

Secrets are resolved for each connection anew, so that a rotated password is
seen. Errors leave this module as ours, with the server's own number in `code_of`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import field, frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    DatabaseUnavailable,
    ObjectNotFound,
    TerminalError,
)
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import TlsMode
from engines import process
from engines.connecting import Connecting
from engines.mysql_family import beginning, credentials
from engines.mysql_family.credentials import Files, Login
from engines.mysql_family.family import Family, Spec
from engines.mysql_family.quoting import identifier

CONNECT_TIMEOUT_S = 20
#: The same when the job has to end: cleaning up is worth a try, and has to be brief.
_LAST_CONNECT_TIMEOUT_S = 3
#: What one statement of ours may take. Thousands of tables are moved by one; whose server is gone
#: is told by keepalive, and a job that has to end cuts its sessions.
_ANSWER_TIMEOUT_S = 86_400
_CANCEL_S = 3.0
_POLL_S = 0.2
#: A peer that is gone is noticed within 90 s of silence.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}

_UNKNOWN_VARIABLE = 1193
NO_SUCH_SCHEMA = 1049
LOCK_WAIT = 1205
NO_SUCH_TABLE = 1146
_UNKNOWN_VARIABLE, NO_PLUGIN = 1193, 2059
DENIED = {1044, 1045, 1142, 1143, 1227, 1370, 1396, 1419, 1418, 1698, 1820, 1862, 3118, 3955}
#: Locks, resources, shutdown, read-only servers; the driver's own from 2000 on.
PASSING = {1040, 1041, 1053, 1077, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317,
           1290, 1836, 1969, 3024}  # fmt: skip
#: The numbers of a limit of MariaDB's, of what statements sort or collect in files -> what helps.
LIMITED = dict.fromkeys(
    (41, 201), "raise max_tmp_session_space_usage on the server"
) | dict.fromkeys(
    (42, 202), "SET GLOBAL max_tmp_total_space_usage to more, or to 0, which is no limit"
)
#: The same, of a disk that is full, too.
_NO_ROOM = LIMITED | dict.fromkeys((1021, 1114), "make room on the server's disks, tmpdir's too")


class Session:
    """One connection in autocommit mode; its errors are ours.

    Threads: used by one at a time, but for `cut`.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(
        self, query: str, arguments: Sequence[object] = (), *, what: str = "while asking"
    ) -> list[tuple[Any, ...]]:
        """All rows of an answer, in memory.

        Args:
            what: completes the error: "while looking at rights".
        Raises: DatabaseUnavailable, AccessDenied, BackupError.
        """
        with driver_errors(what), self._connection.cursor() as cursor:
            # The driver would not take the bytes of `texts` back.
            sent = query if arguments else query.encode(errors="surrogateescape")
            cursor.execute(sent, arguments or None)
            return list(cursor.fetchall())

    def texts(self, query: str, *, what: str) -> list[tuple[Any, ...]]:
        """As `rows`, of code: a literal in it may hold any byte, which comes as a surrogate."""
        connection = self._connection
        connection.use_unicode = False
        try:
            found = self.rows(query, what=what)
        finally:
            connection.use_unicode = True
        return [
            tuple(
                one.decode(errors="surrogateescape") if isinstance(one, bytes) else one
                for one in row
            )
            for row in found
        ]

    def one(
        self, query: str, arguments: Sequence[object] = (), *, what: str = "while asking"
    ) -> Any:
        """The first value of the only row; None: there is no row."""
        rows = self.rows(query, arguments, what=what)
        return rows[0][0] if rows else None

    def run(self, *statements: str, what: str = "while changing") -> None:
        for statement in statements:
            self.rows(statement, what=what)

    def told(self, statement: str, *, what: str) -> str:
        """Run it; what the server tells of that: "Records: 3  Duplicates: 0  Warnings: 0"."""
        self.rows(statement, what=what)
        message: bytes | None = self._connection._result.message  # noqa: SLF001 - nor here
        return (message or b"").decode(errors="replace")

    @property
    def is_open(self) -> bool:
        return bool(self._connection.open)

    @property
    def number(self) -> int:
        """Of the connection, for KILL and the list of processes."""
        return int(self._connection.thread_id())

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it may be closed, cut, or half open
            self._connection.close()

    def cut(self) -> None:
        """End the connection from another thread, whatever the server does."""
        with contextlib.suppress(Exception):
            self._connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 - there is no other way


@frozen(kw_only=True)
class Server:
    """Where the database is and who we are there.

    Args:
        resolve: see InitOptions. scratch: folder for option files and certificates, 0700.
        environ: base for child processes. label: unique for the job.
        cancelled: set when the job has to end.
    """

    family: Family
    spec: Spec
    resolve: Callable[[SecretValue], Secret]
    scratch: Path
    environ: Mapping[str, str]
    label: str
    cancelled: threading.Event
    files: Files
    # Guards _sessions, the open ones.
    _opened: threading.Lock = field(factory=threading.Lock, init=False)
    _sessions: weakref.WeakSet[Session] = field(factory=weakref.WeakSet, init=False)

    def session(self, schema: str | None = None) -> Session:
        """A session whose default schema is `schema`.

        Raises: DatabaseUnavailable, AccessDenied, ObjectNotFound, DependencyMissing.
        """
        is_last = self.cancelled.is_set()
        login = self.login()
        timeout_s = _LAST_CONNECT_TIMEOUT_S if is_last else CONNECT_TIMEOUT_S
        connecting = Connecting(lambda: _connect(login, schema, timeout_s))
        connecting.start()
        waited_s = 0.0
        while not connecting.done.wait(_POLL_S):
            waited_s += _POLL_S
            if waited_s > timeout_s or (self.cancelled.is_set() and not is_last):
                connecting.abandon()
                raise DatabaseUnavailable(f"{self._where()} does not answer")
        try:
            session = Session(connecting.result())
        except Exception as error:  # noqa: BLE001 - the driver lets others' through here
            raise self._connect_error(error, schema, login) from None
        with self._opened:
            self._sessions.add(session)
        try:
            self._begin(session)
        except BaseException:
            session.close()
            raise
        return session

    def _begin(self, session: Session) -> None:
        statement = beginning.statement(is_mariadb=self.family.is_mariadb)
        try:
            session.run(statement, what="while preparing a session")
        except BackupError as error:
            # Only the other family does not know one: a preflight is about to say which this is.
            if code_of(error) != _UNKNOWN_VARIABLE:
                raise

    @contextlib.contextmanager
    def watched_at_the_end(self) -> Iterator[Self]:
        """In the block, cut all sessions when the job has to end and the server does not answer.

        A server that does answer is only slow, and is waited for.
        """
        done = threading.Event()
        watcher = threading.Thread(target=self._cut_if_hung, args=(done,), name="mysql-end")
        watcher.start()
        try:
            yield self
        finally:
            done.set()
            watcher.join()

    def _cut_if_hung(self, done: threading.Event) -> None:
        while not self.cancelled.is_set():
            if done.wait(_POLL_S):
                return
        with self._opened:
            sessions = list(self._sessions)
        if done.wait(_CANCEL_S) or self._answers():
            return
        for session in sessions:
            session.cut()

    def _answers(self) -> bool:
        try:
            self.session().close()
        except DatabaseUnavailable:
            return False
        except BackupError:
            return True  # with a refusal, but it is there
        return True

    def login(self) -> Login:
        """Raises: DependencyMissing."""
        values = credentials.secret_values(self.spec)
        resolved = {
            name: None if value is None else self.resolve(value) for name, value in values.items()
        }
        return credentials.login(self.spec, resolved, self.files, is_mariadb=self.family.is_mariadb)

    def option_file(
        self, tool: str, options: Sequence[tuple[str, str | None]] = (), *, stream: str = ""
    ) -> Path:
        """Write the option file of one tool: the login, and `options` that are its own.

        Args:
            stream: what it works on, where several run at once.
        """
        groups = {"client": self.login().options(), tool: options}
        return self.files.write(f"{tool}-{stream}.cnf", credentials.option_file(groups))

    def child_environment(self) -> dict[str, str]:
        """The environment of a client tool: English messages, and no setting of its own."""
        environment = {
            key: value
            for key, value in self.environ.items()
            if not key.startswith(("MYSQL_", "MARIADB_", "LC_"))
            and key not in ("LANG", "LANGUAGE", "HOME")
        }
        # ~/.mylogin.cnf is read even by who is told to read one file alone.
        return environment | {"LC_ALL": "C", "HOME": str(self.scratch)}

    def secrets(self) -> tuple[Secret, ...]:
        return self.login().secrets()

    def _where(self) -> str:
        host = self.spec.host
        return host if host.startswith("/") else f"{host}:{self.spec.port}"

    def _connect_error(self, error: Exception, schema: str | None, login: Login) -> BackupError:
        said = process.redact(_said(error), login.secrets())
        code = error.args[0] if error.args else None
        section = self.family.section
        if code == NO_SUCH_SCHEMA:
            return ObjectNotFound(f'the database "{schema}" does not exist on {self._where()}')
        if code in (1045, 1698):
            return AccessDenied(
                f"{self._where()} refused the login; look at {section}.user and {section}.pass, "
                f"and whether the account may come from this host{_unless_tls(login)}: {said}"
            )
        if code == 3159 or "insecure transport" in said:
            return AccessDenied(
                f"{self._where()} wants TLS: set {section}.sslMode to required or above: {said}"
            )
        if _is_about_tls(error):
            return AccessDenied(
                f"{self._where()}: the TLS handshake failed; look at sslMode, sslCA, sslCert and "
                f"sslKey in {section}, and at the name in the server's certificate: {said}"
            )
        if code in DENIED:
            return AccessDenied(f"{self._where()}: {said}")
        return DatabaseUnavailable(f"{self._where()} does not answer as it should: {said}")


def _unless_tls(login: Login) -> str:
    """MariaDB says the same to who comes without TLS where it is required."""
    return ", with sslMode disabled" if login.mode is TlsMode.DISABLED else ""


def _connect(login: Login, schema: str | None, timeout_s: float) -> Any:
    import pymysql  # noqa: PLC0415

    spec = login.spec
    # By TCP encrypted if the server can; a socket needs no TLS unless somebody asks for it.
    plain = not login.is_tls_enforced and (login.is_socket or login.mode is TlsMode.DISABLED)
    connection = pymysql.connect(
        host=None if login.is_socket else spec.host,
        port=spec.port,
        unix_socket=spec.host if login.is_socket else None,
        user=login.user.reveal(),
        password=login.password.reveal().encode() if login.password else b"",
        database=schema,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=timeout_s,
        read_timeout=_ANSWER_TIMEOUT_S,
        ssl=login.tls_context() if login.is_tls_enforced else None,
        ssl_disabled=plain,
        program_name="db-backup",
    )
    if not login.is_socket:
        for name, value in _KEEPALIVE.items():
            option = getattr(socket, name)
            connection._sock.setsockopt(socket.IPPROTO_TCP, option, value)  # noqa: SLF001
    return connection


@contextlib.contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Turn PyMySQL's errors into ours."""
    import pymysql  # noqa: PLC0415

    try:
        yield
    except pymysql.MySQLError as error:
        raise _ours(error, what) from error


def code_of(error: BaseException) -> int | None:
    """The server's number for an error that came out of a session."""
    cause = error.__cause__
    number = cause.args[0] if cause is not None and cause.args else None
    return number if isinstance(number, int) else None


def _ours(error: Exception, what: str) -> BackupError:
    said = process.redact(_said(error))
    code = error.args[0] if error.args else 0
    if not isinstance(code, int):
        code = 0
    if code in DENIED:
        return AccessDenied(f"{what}: {said}")
    if cure := _NO_ROOM.get(code):
        return TerminalError(f"{what}: {said}: {cure}")
    if code in PASSING or code == 0 or 2000 <= code < 3000:
        return DatabaseUnavailable(f"{what}: {said}")
    return BackupError(f"{what}: {said}")


def _said(error: Exception) -> str:
    """A driver's error as the server says it, with its number."""
    if len(error.args) > 1 and isinstance(error.args[0], int):
        return f"{error.args[1]} ({error.args[0]})"
    return str(error).strip()


def _is_about_tls(error: Exception) -> bool:
    origin = getattr(error, "original_exception", None)
    code = error.args[0] if error.args else None
    return isinstance(error, ssl.SSLError) or isinstance(origin, ssl.SSLError) or code == 2026


def use(session: Session, schema: str) -> None:
    """Make `schema` the default of a session."""
    session.run(f"USE {identifier(schema)}", what=f'while looking into "{schema}"')
