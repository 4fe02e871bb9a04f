"""One instant of a database, held still for as long as a dump needs it.

A snapshot alone is not enough: a TRUNCATE or a rewriting ALTER that gets in
between the snapshot and a reader's own lock makes the reader see an empty
table, without an error. So the tables are locked first and the snapshot is
taken after that. A queued TRUNCATE then stands between holder and readers, a
deadlock that the server cannot see: every wait for a lock is short, and who
runs into it lets go of everything and starts again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from attrs import frozen

from controller.api.errors import DatabaseUnavailable
from engines.postgres import catalogue, lock_table
from engines.postgres.catalogue import Table
from engines.postgres.connection import (
    Server,
    Session,
    cancelling,
    driver_error,
    from_driver,
    has_state,
    one_row,
)
from engines.postgres.quoting import sql

#: How long anybody waits for one lock.
LOCK_WAIT_S = 10.0
#: Tables per LOCK TABLE.
_BATCH = 500
_LOCK_NOT_AVAILABLE = "55P03"
_UNDEFINED_TABLE = "42P01"
_UNDEFINED_SCHEMA = "3F000"
_WRONG_OBJECT_TYPE = "42809"


class LocksQueued(DatabaseUnavailable):
    """Someone waits for, or holds, a lock that keeps readers out. Start again."""


@frozen(kw_only=True)
class Snapshot:
    """A held snapshot.

    Args:
        session: inside of the snapshot's transaction.
        name: for ``pg_dump --snapshot``.
        at: the server's clock when it was taken; on a standby the time of the
            last transaction that it had replayed, or of the checkpoint that it
            started from.
        lineage: system identifier and timeline. position: where in the log.
    """

    session: Session
    name: str
    at: datetime
    lineage: str
    position: Mapping[str, str]
    on_standby: bool
    tables: Sequence[Table]


@contextlib.contextmanager
def held(
    server: Server, cancelled: threading.Event, *, lock_wait_s: float = LOCK_WAIT_S
) -> Iterator[Snapshot]:
    """Lock every table, take a snapshot, and hold both until the block ends.

    Raises: LocksQueued, DatabaseUnavailable, AccessDenied, PreflightFailed, Cancelled.
    """
    session = server.session(server.spec.database)
    try:
        with cancelling(session, cancelled), _locks_queued():
            snapshot = _take(
                session, _lineage(session, server), _no_later_than(session), lock_wait_s
            )
        yield snapshot
    finally:
        session.close()  # ends the transaction, whatever state it is in


@contextlib.contextmanager
def _locks_queued() -> Iterator[None]:
    try:
        yield
    except driver_error() as error:
        if has_state(error, _LOCK_NOT_AVAILABLE):
            raise LocksQueued(f"waited for a lock: {str(error).strip()}") from error
        if has_state(error, _UNDEFINED_TABLE, _UNDEFINED_SCHEMA, _WRONG_OBJECT_TYPE):
            raise LocksQueued(f"a table went away: {str(error).strip()}") from error
        if lock_table.is_full(error):
            raise lock_table.full() from error
        raise from_driver(error, "while taking the snapshot") from error


def _take(
    session: Session, lineage: str, started_at: datetime | None, lock_wait_s: float
) -> Snapshot:
    known = catalogue.tables(session)
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    session.execute(sql(f"SET LOCAL lock_timeout = {int(lock_wait_s * 1000)}"))
    # LOCK takes no snapshot; the first SELECT does.
    for first in range(0, len(known), _BATCH):
        names = ", ".join(f"ONLY {table.quoted}" for table in known[first : first + _BATCH])
        session.execute(sql(f"LOCK TABLE {names} IN ACCESS SHARE MODE"))
    row = one_row(
        session,
        """
        SELECT clock_timestamp(), pg_catalog.pg_export_snapshot(),
               pg_catalog.pg_is_in_recovery(),
               CASE WHEN pg_catalog.pg_is_in_recovery()
                    THEN pg_catalog.pg_last_wal_replay_lsn()
                    ELSE pg_catalog.pg_current_wal_lsn() END::text,
               pg_catalog.pg_last_xact_replay_timestamp()
        """,
    )
    now, name, on_standby, lsn, replayed_at = row
    if on_standby and replayed_at is None:
        replayed_at = started_at
    tables = catalogue.tables(session, sizes=True)
    _insist_on_locks(session, tables)
    at = min(now, replayed_at) if on_standby and replayed_at is not None else now
    return Snapshot(
        session=session,
        name=name,
        at=at.astimezone(UTC),
        lineage=lineage,
        position={"lsn": lsn} if lsn else {},
        on_standby=on_standby,
        tables=tables,
    )


def _insist_on_locks(session: Session, tables: Sequence[Table]) -> None:
    """Compare by OID what the snapshot shows with what is locked: names may have changed hands."""
    locked = {
        oid
        for (oid,) in session.execute(
            """
            SELECT relation::int8 FROM pg_catalog.pg_locks
            WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'relation' AND granted
            """
        ).fetchall()
    }
    for table in tables:
        if table.oid not in locked:
            raise LocksQueued(f"the table {table.quoted} was made while the tables were locked")


def _no_later_than(session: Session) -> datetime | None:
    """On a standby that has replayed no transaction since its start: its state is not younger.

    It then shows what there was at the checkpoint from which it started: all
    later commits would have been replayed. The time of a checkpoint is in whole
    seconds and taken just before it. None where the server keeps it to itself.
    """
    try:
        row = one_row(
            session,
            """
            SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
                   THEN (SELECT checkpoint_time + interval '1 s'
                         FROM pg_catalog.pg_control_checkpoint()) END
            """,
        )
    except driver_error() as error:
        if not has_state(error, "42501"):
            raise
        return None
    at: datetime | None = row[0]
    return at


def _lineage(session: Session, server: Server) -> str:
    """Whose history this is. Managed services may keep the control data to themselves."""
    try:
        system, timeline = one_row(
            session,
            """
            SELECT s.system_identifier, c.timeline_id
            FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c
            """,
        )
    except driver_error() as error:
        if not has_state(error, "42501"):
            raise
        return f"{server.spec.host}:{server.spec.port}"
    return f"{system}/{timeline}"
