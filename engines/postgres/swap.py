"""Gives a restored database its final name, in one transaction or not at all."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from attrs import evolve

from controller.api.errors import AccessDenied, BackupError, Problem
from engines.postgres import catalogue, target as targets
from engines.postgres.connection import (
    Server,
    Session,
    driver_error,
    driver_errors,
    from_driver,
    has_state,
    one_row,
)
from engines.postgres.globals import DatabaseProperties
from engines.postgres.quoting import identifier, sql

_OBJECT_IN_USE = "55006"
_DENIED = "42501"
#: How long sessions may take to end; the server itself waits for them, 5 s each time.
_PATIENCE_S = 20.0
_PAUSE_S = 0.1


def hindrances(maintenance: Session, database: str) -> list[Problem]:
    """What would be lost or left dangling if `database` were renamed away."""
    found = []
    with driver_errors("while looking at what hangs on the target"):
        for query, what, cure in (
            (
                "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = %s",
                "the replication slot",
                "SELECT pg_drop_replication_slot('{name}');",
            ),
            (
                """
                SELECT s.subname FROM pg_catalog.pg_subscription s
                JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = %s
                """,
                "the subscription",
                "DROP SUBSCRIPTION {name};",
            ),
            (
                "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = %s",
                "the prepared transaction",
                "COMMIT PREPARED or ROLLBACK PREPARED '{name}';",
            ),
        ):
            for (name,) in maintenance.execute(sql(query), (database,)).fetchall():
                message = f'{what} "{name}" belongs to the database "{database}"; end it first: '
                found.append(Problem("target", message + cure.format(name=name)))
    return found


def merged(kept: DatabaseProperties, stored: DatabaseProperties) -> DatabaseProperties:
    """What an empty database was given by hand wins; the rest comes from the backup."""
    by_hand = {key for key, _value in kept.settings}
    return evolve(
        kept,
        acl=stored.acl if kept.acl is None else kept.acl,
        comment=stored.comment if kept.comment is None else kept.comment,
        settings=(
            *(pair for pair in stored.settings if pair[0] not in by_hand),
            *kept.settings,
        ),
        role_settings=(*stored.role_settings, *kept.role_settings),
    )


def give_name(server: Server, maintenance: Session, made: str, database: str) -> None:
    """Rename where nothing is in the way."""
    with driver_errors(f'while renaming to "{database}"'):
        _rename(server, maintenance, [(made, database)])


def swap(server: Server, maintenance: Session, made: str, database: str) -> str:
    """Put `made` in the place of `database`.

    A pool that reconnects at once would be back before a rename that waits for
    an empty database. But the rename itself holds the database's lock while it
    waits, up to 5 s, and a new session needs that lock first: so sessions are
    ended from beside while it waits. Nothing is committed before the end: who is
    killed on the way leaves nothing to undo.

    Returns: the dated name that the replaced one has now.
    """
    with driver_errors("while preparing the swap"):
        row = one_row(maintenance, "SELECT pg_catalog.now()")
    kept = targets.kept_name(database, row[0])
    with _sessions_ended(server, database), driver_errors(f'while swapping "{database}"'):
        _rename(server, maintenance, [(database, kept), (made, database)])
    return kept


@contextlib.contextmanager
def _sessions_ended(server: Server, database: str) -> Iterator[None]:
    """End all sessions in `database`, again and again during the block.

    Raises: AccessDenied, naming those that we may not end.
    """
    done = threading.Event()
    with targets.maintenance_session(server, database) as session:
        _end_sessions(session, database)

        def keep_on() -> None:
            while not done.wait(_PAUSE_S):
                with contextlib.suppress(BackupError, driver_error()):  # the rename will say it
                    _end_sessions(session, database)

        ender = threading.Thread(target=keep_on, name="postgres-swap")
        ender.start()
        try:
            yield
        finally:
            done.set()
            ender.join()


def _end_sessions(session: Session, database: str) -> None:
    """Terminate all others in `database`, without waiting until they are gone.

    Raises: AccessDenied, naming those that we may not end.
    """
    with driver_errors("while looking at sessions"):
        others = session.execute(
            """
            SELECT pid, coalesce(usename, ''), coalesce(application_name, '')
            FROM pg_catalog.pg_stat_activity
            WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()
              AND usesysid IS NOT NULL
            """,
            (database,),
        ).fetchall()
    denied = [other for other in others if not _terminated(session, other[0])]
    if denied:
        raise AccessDenied(
            f'sessions in "{database}" may not be ended by this role: {_listed(denied)}; '
            "GRANT pg_signal_backend TO CURRENT_USER; (a superuser's session has to be ended "
            "by a superuser)"
        )


def _terminated(maintenance: Session, pid: int) -> bool:
    try:
        maintenance.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (pid,))
    except driver_error() as error:
        if has_state(error, _DENIED):
            return False
        raise from_driver(error, "while ending a session") from error
    return True


def _listed(sessions: Sequence[tuple[int, str, str]]) -> str:
    return ", ".join(f"{pid} ({user} {application})" for pid, user, application in sessions[:10])


def _rename(server: Server, maintenance: Session, renames: Sequence[tuple[str, str]]) -> None:
    """All of them or none; again while the first one is in use."""
    deadline = time.monotonic() + _PATIENCE_S
    pid = maintenance.info.backend_pid
    while True:
        try:
            with maintenance.transaction():
                # While it waits for this lock, new sessions queue up behind it.
                maintenance.execute(sql(f"SET LOCAL lock_timeout = {int(_PATIENCE_S * 1000)}"))
                for old, new in renames:
                    maintenance.execute(
                        sql(f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}")
                    )
            return
        except driver_error() as error:
            if maintenance.closed and _is_done(server, pid, renames, error):
                return
            if not has_state(error, _OBJECT_IN_USE) or time.monotonic() > deadline:
                raise
        _end_sessions(maintenance, renames[0][0])
        _pause()


def _is_done(
    server: Server, pid: int, renames: Sequence[tuple[str, str]], lost: BaseException
) -> bool:
    """Whether the renames were committed by the session `pid`, whose last answer was lost.

    It may still be at it, so it is looked after it ended.
    """
    made, database = renames[-1]
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with targets.maintenance_session(server, database) as fresh:
                if _has_ended(fresh, pid, server.application_name):
                    row = one_row(
                        fresh,
                        """
                        SELECT pg_catalog.count(*) FILTER (WHERE datname = ANY (%s)),
                               pg_catalog.count(*) FILTER (WHERE datname = %s)
                        FROM pg_catalog.pg_database
                        """,
                        ([new for _old, new in renames], made),
                    )
                    return tuple(row) == (len(renames), 0)
        except (BackupError, driver_error()) as further:
            last: BaseException | None = further
        else:
            last = None
        if time.monotonic() > deadline:
            lost.add_note(
                f'whether it happened is not known: if there is no database "{made}", it did'
                + (f" ({last})" if last else "")
            )
            return False
        _pause()


def _has_ended(fresh: Session, pid: int, application_name: str) -> bool:
    rows = fresh.execute(
        """
        SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE pid = %s AND application_name = %s
        """,
        (pid, application_name),
    ).fetchall()
    return not rows


def _pause() -> None:
    """Short and bounded: the swap is seconds, and is not left half-way for a cancellation."""
    time.sleep(_PAUSE_S)


def drop_if_bare(server: Server, maintenance: Session, kept: str) -> bool:
    """Drop what an empty database became, if nothing of a person's can be in it.

    Someone may have put something into it meanwhile; a schema has privileges,
    an extension may hold rows.
    """
    with server.session(kept) as session, driver_errors("while looking into what was replaced"):
        bare = catalogue.is_bare(session)
    if bare:
        targets.drop(maintenance, kept)
    return bare
