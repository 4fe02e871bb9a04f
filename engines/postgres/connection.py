"""Sessions and credentials: the one importer of psycopg.

Secrets are resolved for each connection anew, so that a rotated password is
seen. They reach child processes through the environment, and certificates
through files of mode 0600 in the job's scratch folder; never through argv.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from attrs import field, frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    Cancelled,
    DatabaseUnavailable,
    ObjectNotFound,
)
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import PostgresSpec
from engines import process
from engines.connecting import Connecting
from engines.postgres import session_settings
from engines.postgres.quoting import conninfo_value, identifier, sql

if TYPE_CHECKING:
    from psycopg import Connection

    Session = Connection[tuple[Any, ...]]
else:
    Session = Any  # the driver is loaded by who connects

#: What a server may take to answer a cancel request before its connection is cut.
_CANCEL_S = 3.0
_POLL_S = 0.2
CONNECT_TIMEOUT_S = 20
#: The same when the job has to end: it has to be brief, and cleaning up is worth a try.
_LAST_CONNECT_TIMEOUT_S = 3
#: A peer that is gone is noticed within 90 s of silence.
_KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
#: For sessions that only receive. Whoever sends may see a busy server's window closed for longer.
_RECEIVING = {"tcp_user_timeout": "120000"}


@frozen(kw_only=True)
class Server:
    """Where the database is and who we are there.

    Args:
        resolve: see InitOptions. scratch: folder for certificates, 0700.
        environ: base for child processes; every PG* in it is left out.
        label: names our sessions; unique for the job.
        cancelled: set when the job has to end.
        section, tls_fields: where a person finds the fields of `spec`; other databases speak
            this protocol, too.
        at_begin: statements that a session begins with.
    """

    spec: PostgresSpec
    resolve: Callable[[SecretValue], Secret]
    scratch: Path
    environ: Mapping[str, str]
    label: str
    cancelled: threading.Event
    section: str = "spec.postgres"
    tls_fields: str = "sslMode, sslRootCert, sslCert and sslKey"
    at_begin: Sequence[str] = session_settings.AT_BEGIN
    _files: threading.Lock = field(factory=threading.Lock, init=False)
    # Guards _sessions, the open ones.
    _opened: threading.Lock = field(factory=threading.Lock, init=False)
    _sessions: weakref.WeakSet[Session] = field(factory=weakref.WeakSet, init=False)

    @property
    def application_name(self) -> str:
        return f"db-backup {self.label}"

    def session(self, database: str) -> Session:
        """A session in autocommit mode, without time limits and with an empty search_path.

        What a database or a role has set (DateStyle, read-only transactions) does not reach it.

        Raises: DatabaseUnavailable, AccessDenied, ObjectNotFound, DependencyMissing.
        """
        import psycopg  # noqa: PLC0415

        is_last = self.cancelled.is_set()
        password = self._password()
        settings = {
            **self._address(),
            **_KEEPALIVE,
            **_RECEIVING,
            **self._tls(),
            "connect_timeout": str(_LAST_CONNECT_TIMEOUT_S if is_last else CONNECT_TIMEOUT_S),
            "application_name": self.application_name,
            "gssencmode": "disable",
            "client_encoding": "UTF8",
            "dbname": database,
        }

        def connect() -> Session:
            return psycopg.Connection.connect(
                autocommit=True,
                password=password.reveal() if password else None,
                prepare_threshold=None,
                **cast("dict[str, Any]", settings),
            )

        try:
            session = connect() if is_last else self._abandoned_at_the_end(connect)
        except psycopg.Error as error:
            raise self._connect_error(error, database, password) from None
        with self._opened:
            self._sessions.add(session)
        try:
            for statement in self.at_begin:
                session.execute(sql(statement))
        except psycopg.Error as error:
            session.close()
            raise from_driver(error, self._where()) from error
        return session

    def _abandoned_at_the_end(self, connect: Callable[[], Session]) -> Session:
        """Connect in a thread that is left behind if the job has to end: nothing wakes it."""
        connecting = Connecting(connect)
        connecting.start()
        while not connecting.done.wait(_POLL_S):
            if self.cancelled.is_set() and not connecting.done.wait(_LAST_CONNECT_TIMEOUT_S):
                connecting.abandon()
                raise DatabaseUnavailable(f"{self._where()} does not answer")
        return connecting.result()

    @contextlib.contextmanager
    def watched_at_the_end(self) -> Iterator[Self]:
        """In the block, cut all sessions when the job has to end and the server does not answer.

        Whoever waits for an answer through a hung network wakes with an error
        and can take back what it began, instead of being killed in its place. A
        server that does answer is only slow, and is waited for.
        """
        done = threading.Event()
        watcher = threading.Thread(target=self._cut_if_hung, args=(done,), name="postgres-end")
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
            cut(session)

    def _answers(self) -> bool:
        try:
            self.session(self.spec.database).close()
        except DatabaseUnavailable:
            return False
        except BackupError:
            return True  # with a refusal, but it is there
        return True

    def child_environment(self, **settings: str) -> dict[str, str]:
        """The environment of a client tool: credentials, English messages, `settings`.

        No PGCLIENTENCODING: not every text of every encoding has a form in UTF-8, so data passes
        in the database's own, which the archive names.
        """
        environment = {
            key: value
            for key, value in self.environ.items()
            if not key.startswith(("PG", "LC_")) and key not in ("LANG", "LANGUAGE")
        }
        environment |= {f"PG{key.upper()}": value for key, value in self._tls().items()}
        environment |= {
            "LC_ALL": "C",
            "PGAPPNAME": self.application_name,
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_S),
            "PGGSSENCMODE": "disable",
            "PGOPTIONS": session_settings.options(settings),
        }
        if password := self._password():
            environment["PGPASSWORD"] = password.reveal()
        return environment

    def conninfo(self, database: str, *, receiving: bool) -> str:
        """Connection string for a tool's ``--dbname``: what has no variable, and no secret.

        A bare name would be read as a connection string when it looks like one.
        """
        settings = {**self._address(), **_KEEPALIVE, "dbname": database}
        if receiving:
            settings |= _RECEIVING
        return " ".join(f"{key}={conninfo_value(value)}" for key, value in settings.items())

    def secrets(self) -> tuple[Secret, ...]:
        password = self._password()
        return (password,) if password else ()

    def _address(self) -> dict[str, str]:
        return {"host": self.spec.host, "port": str(self.spec.port), "user": self.spec.user}

    def _where(self) -> str:
        return f"{self.spec.host}:{self.spec.port}"

    def _password(self) -> Secret | None:
        return None if self.spec.password is None else self.resolve(self.spec.password)

    def _tls(self) -> dict[str, str]:
        settings = {"sslmode": self.spec.ssl_mode.value}
        for key, value in (
            ("sslrootcert", self.spec.ssl_root_cert),
            ("sslcert", self.spec.ssl_cert),
            ("sslkey", self.spec.ssl_key),
        ):
            if value is not None:
                settings[key] = str(self._file(key, self.resolve(value)))
        return settings

    def _file(self, name: str, content: Secret) -> Path:
        """Write a secret where libpq can read it: it refuses keys that others may read."""
        path = self.scratch / name
        fresh = self.scratch / f"{name}.new"
        with self._files:
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(content.reveal())
            fresh.replace(path)  # at once: a child that starts now may be reading it
        return path

    def _connect_error(
        self, error: Exception, database: str, password: Secret | None
    ) -> BackupError:
        said = process.redact(str(error).strip(), (password,) if password else ())
        text = said.lower()
        who = f'user "{self.spec.user}"'
        if any(words in text for words in ("certificate", "ssl error", "tls", "root.crt")):
            return AccessDenied(
                f"{self._where()}: the TLS handshake failed; look at {self.tls_fields} in "
                f"{self.section}, and at the name in the server's certificate: {said}"
            )
        if "password" in text or "authentication failed" in text:
            return AccessDenied(
                f"{self._where()} refused the login of {who}; look at {self.section}.user and "
                f"{self.section}.pass: {said}"
            )
        if "pg_hba.conf" in text:
            return AccessDenied(
                f"{self._where()} has no pg_hba.conf rule that lets {who} in; add one, or set "
                f"spec.postgres.sslMode to require: {said}"
            )
        if f'database "{database.lower()}" does not exist' in text:
            return ObjectNotFound(f'the database "{database}" does not exist on {self._where()}')
        if "permission denied for database" in text:
            return AccessDenied(
                f"{who} may not connect: GRANT CONNECT ON DATABASE "
                f"{identifier(database)} TO {identifier(self.spec.user)}; ({said})"
            )
        if "not currently accepting connections" in text and "database" in text:
            return DatabaseUnavailable(
                f"somebody has barred connections to it: ALTER DATABASE {identifier(database)} "
                f"ALLOW_CONNECTIONS true; ({said})"
            )
        if "role" in text and "does not exist" in text:
            return AccessDenied(f"{self._where()} does not know {who}: {said}")
        return DatabaseUnavailable(f"{self._where()} does not answer as it should: {said}")


def from_driver(error: Exception, what: str) -> BackupError:
    """Our error for one of psycopg's, by its SQLSTATE."""
    import psycopg  # noqa: PLC0415

    said = process.redact(str(error).strip())
    state = getattr(error, "sqlstate", None)
    if state is None and isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailable(f"{what}: the connection was lost: {said}")
    if state is not None and (state in ("42501", "0LP01") or state.startswith("28")):
        return AccessDenied(f"{what}: {said}")
    # connection, resources, operator intervention, locks, serialization
    if state is not None and state[:2] in ("08", "53", "57", "55", "40", "58"):
        return DatabaseUnavailable(f"{what}: {said}")
    return BackupError(f"{what}: {said}")


def one_row(session: Session, query: str, arguments: Sequence[object] = ()) -> tuple[Any, ...]:
    """The row of a query that always has one."""
    row = session.execute(sql(query), arguments or None).fetchone()
    if row is None:
        raise BackupError(f"the server gave no row for: {query}")
    return row


def has_state(error: Exception, *states: str) -> bool:
    """Whether a driver's error is one of these SQLSTATEs."""
    return getattr(error, "sqlstate", None) in states


@contextlib.contextmanager
def driver_errors(what: str) -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    import psycopg  # noqa: PLC0415

    try:
        yield
    except psycopg.Error as error:
        raise from_driver(error, what) from error


def driver_error() -> type[Exception]:
    """The base of psycopg's errors, for those who look at the SQLSTATE themselves."""
    import psycopg  # noqa: PLC0415

    return psycopg.Error


def cut(session: Session) -> None:
    """End a session's connection from another thread, whatever the server does.

    A server behind a hung network answers nothing, not even a cancel request:
    who waits for it wakes with an error.
    """
    with (
        contextlib.suppress(OSError, driver_error()),
        socket.socket(fileno=os.dup(session.pgconn.socket)) as connection,
    ):
        connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def bounded(session: Session, seconds: float) -> Iterator[None]:
    """Cut the session if the block takes longer: the end of a job must not wait for a server."""
    timer = threading.Timer(seconds, cut, (session,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@contextlib.contextmanager
def cancelling(session: Session, cancelled: threading.Event) -> Iterator[None]:
    """Cancel the session's statement when the job has to end.

    Raises: Cancelled, in place of what the server says then.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if cancelled.is_set() and not session.closed:
                with contextlib.suppress(Exception):  # the server may be gone already
                    session.cancel_safe(timeout=_CANCEL_S)
                if not done.wait(_CANCEL_S):
                    cut(session)

    watcher = threading.Thread(target=watch, name="postgres-cancel")
    watcher.start()
    try:
        if cancelled.is_set():
            raise Cancelled("the job was ended")
        yield
    except driver_error() as error:
        if cancelled.is_set():
            raise Cancelled("the job was ended") from error
        raise
    finally:
        done.set()
        watcher.join()
