"""The way to the cluster: PostgreSQL's protocol, CockroachDB's certificates and errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen

from controller.api.errors import (
    AccessDenied,
    BackupError,
    InvalidSpec,
    NoKey,
    Problem,
    RetriableError,
    TerminalError,
    TruncatedBackup,
)
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import CockroachSpec, PostgresSpec, SslMode
from engines import process
from engines.cockroach.statements import Arguments
from engines.cockroach.versions import Version, version_of
from engines.interface import InitOptions, JobContext
from engines.postgres.connection import Server, Session, driver_error, from_driver
from engines.postgres.quoting import sql

#: A database that every cluster has, and every user may connect to.
MAINTENANCE = "system"
#: Where a pod finds the certificate of its Kubernetes cluster's own authority.
CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
_AT_BEGIN = ("SET timezone = 'UTC'", "SET statement_timeout = '0'")
#: What versions up to 24.2 say of history, encryption and incremental backups without one.
LICENCE = "enterprise license"
#: What the cluster says of a passphrase that is another one, or that it was not given.
_WRONG_KEY = ("failed to decrypt", "encryption_passphrase", "message authentication failed")
#: And of files that should be there.
_MISSING = (
    "are missing from the backup",
    "cannot be read from the backup",
    "error checking metadata file",
    "latest file could not be read",
    "does not contain a completed latest backup",
    "file does not exist",
    "object does not exist",
    "checksum mismatch",
)
_DENIED = ("42501", "0LP01")
#: Class 58 is what happens outside of the server, and so to the bucket, but for these two: a range
#: that no node serves, and nodes that do not reach each other.
_OUTSIDE, _INSIDE = "58", ("58C00", "58C01")


class ClusterFailed(RetriableError):
    """The cluster did not do what it was asked, for the reason that it says."""

    reason = "ClusterFailed"


def server_of(
    spec: CockroachSpec, options: InitOptions, context: JobContext, *, label: str
) -> Server:
    """The cluster as the driver is to reach it; nothing is sent yet.

    Raises: InvalidSpec: the authority's certificate is nowhere.
    """
    return Server(
        spec=_login(spec),
        resolve=options.resolve,
        scratch=context.scratch,
        environ=options.environ,
        label=label,
        cancelled=context.cancelled,
        section="spec.cockroach",
        tls_fields="cert, certKey, certCA and certCAFromCluster",
        at_begin=_AT_BEGIN,
    )


def _login(spec: CockroachSpec) -> PostgresSpec:
    authority = spec.cert_ca
    if authority is None and spec.cert_ca_from_cluster:
        authority = _cluster_authority()
    mode = SslMode.PREFER
    if authority is not None:
        mode = SslMode.VERIFY_FULL
    elif spec.cert is not None:
        mode = SslMode.REQUIRE
    return PostgresSpec(
        database=MAINTENANCE,
        host=spec.host,
        port=spec.port,
        user=spec.user,
        password=spec.password,
        ssl_mode=mode,
        ssl_root_cert=authority,
        ssl_cert=spec.cert,
        ssl_key=spec.cert_key,
    )


def _cluster_authority() -> SecretValue:
    try:
        return SecretValue(value=Secret(CLUSTER_CA.read_text()))
    except OSError as error:
        raise InvalidSpec(
            [
                Problem(
                    "spec.cockroach.certCAFromCluster",
                    f"is true, and {CLUSTER_CA} cannot be read ({error.strerror}): outside of a "
                    "pod give the certificate as certCA",
                )
            ]
        ) from None


@define(eq=False)
class Link:
    """A session, and another in its place once that is lost.

    All copies of a Cluster have the same.

    Threads: used by the job's own.
    """

    server: Server
    _session: Session | None = None
    #: What the node that the session is with said of its version.
    said: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether the next statement needs another session."""
        return self._session is None or bool(self._session.closed)

    def session(self) -> Session:
        """The session; a new one at the first call, and after a loss.

        Raises: DatabaseUnavailable, AccessDenied; TerminalError: this is no CockroachDB.
        """
        if self._session is not None and not self.is_lost:
            return self._session
        session = self.server.session(MAINTENANCE)
        try:
            self.said = _begin(session, self.server.spec.host)
        except BaseException:
            session.close()
            raise
        self._session = session
        return session

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


@frozen(kw_only=True)
class Cluster:
    """A link with the cluster.

    Args:
        link: also says where it is, for a session beside this one.
        id: of the cluster; of one that does not say it, its address.
        hidden: secrets that an error of the next statements might repeat.
    """

    link: Link
    id: str
    version: Version
    server_version: str
    hidden: tuple[Secret, ...] = ()

    def hiding(self, *secrets: Secret) -> Cluster:
        return evolve(self, hidden=(*self.hidden, *secrets))

    def rows(
        self, what: str, statement: str, arguments: Arguments = ()
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement; its rows, by the names of their columns, which versions add to.

        Of one on which the connection is lost nobody knows whether it was done. The next one has
        another session.

        Raises: AccessDenied, NoKey, TruncatedBackup, DatabaseUnavailable, ClusterFailed.
        """
        with self._errors(what):
            cursor = self.link.session().execute(sql(statement), arguments or None)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor] if names else []

    def row(self, what: str, statement: str, arguments: Arguments = ()) -> Mapping[str, Any]:
        """The first row of a statement that always has one."""
        found = self.rows(what, statement, arguments)
        if not found:
            raise ClusterFailed(f"{what}: the cluster gave no answer")
        return found[0]

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except driver_error() as error:
            # Without its cause: that one may show what is hidden.
            raise our_error(error, what, self.hidden) from None


def our_error(error: Exception, what: str, hidden: Sequence[Secret] = ()) -> BackupError:
    """Our error for one of the driver's."""
    ours = from_driver(error, what)
    state = getattr(error, "sqlstate", None) or ""
    # For PostgreSQL class 58 is its own disk.
    is_of_bucket = state.startswith(_OUTSIDE) and state not in _INSIDE
    kind = ClusterFailed if is_of_bucket or type(ours) is BackupError else type(ours)
    return classified(process.redact(str(ours), hidden), kind, state)


def classified(
    said: str, kind: type[BackupError] = ClusterFailed, state: str | None = None
) -> BackupError:
    """Our error for what the cluster says, in an answer or as the reason of a job."""
    text = said.lower()
    if LICENCE in text:
        return AccessDenied(said)
    if any(words in text for words in _WRONG_KEY):
        return NoKey(said)
    if state in _DENIED or "privilege" in text or "admin role" in text:
        return AccessDenied(said)
    if any(words in text for words in _MISSING):
        return TruncatedBackup(said)
    return kind(said)


@contextlib.contextmanager
def connected(server: Server) -> Iterator[Cluster]:
    """A session, ended with the block.

    Raises: DatabaseUnavailable, AccessDenied; TerminalError: this is no CockroachDB.
    """
    with server.watched_at_the_end(), contextlib.closing(Link(server)) as link:
        session = link.session()
        yield Cluster(
            link=link,
            id=_id(session) or f"{server.spec.host}:{server.spec.port}",
            version=version_of(link.said),
            server_version=_short(link.said),
        )


def _begin(session: Session, host: str) -> str:
    """Make a session as all are here; what it says of its version.

    Raises: see `Link.session`.
    """
    try:
        row = session.execute(sql("SELECT version()")).fetchone()
    except driver_error() as error:
        raise our_error(error, "while asking for the version") from None
    said = str(row[0]) if row else ""
    if not said.startswith("CockroachDB"):
        raise TerminalError(f"{host} is no CockroachDB: {said[:80]}")
    try:
        version = version_of(said)
    except ValueError as error:
        raise TerminalError(str(error)) from None
    if version.numbers_backups:
        with contextlib.suppress(driver_error()):  # a preview, which may go again
            session.execute(sql("SET use_backups_with_ids = 'off'"))
    return said


def _id(session: Session) -> str:
    try:
        row = session.execute(sql("SELECT crdb_internal.cluster_id()")).fetchone()
    except driver_error():
        return ""  # newer versions do not show everyone what is inside
    return str(row[0]) if row else ""


def _short(said: str) -> str:
    """``v24.3.1`` of what `version()` says."""
    return next((word for word in said.split() if word.startswith("v")), said[:40])
