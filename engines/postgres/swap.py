"""Gives a restored database its final name, in one transaction or not at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from attrs import evolve

from controller.api.errors import AccessDenied, BackupError, DatabaseUnavailable, Problem
from engines.postgres import catalogue, target as targets
from engines.postgres.connection import (
    Server,
    Session,
    driver_error,
    driver_errors,
    from_driver,
    has_state,
    identifier,
    one_row,
    sql,
)
from engines.postgres.globals import DatabaseProperties

_OBJECT_IN_USE = "55006"
_DENIED = "42501"
#: How long sessions may take to end; autovacuum is sent away by the server within 5 s.
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


def give_name(maintenance: Session, made: str, database: str) -> None:
    """Rename where nothing is in the way."""
    with driver_errors(f'while renaming to "{database}"'):
        _rename(maintenance, [(made, database)], allow=None)


def swap(server: Server, maintenance: Session, made: str, database: str) -> str:
    """Put `made` in the place of `database`.

    Connections are barred first: a pool that reconnects at once would else be
    back before the rename. They are let in again whatever happens.

    Returns: the dated name that the replaced one has now.
    """
    with driver_errors("while preparing the swap"):
        row = one_row(maintenance, "SELECT pg_catalog.now()")
    kept = targets.kept_name(database, row[0])
    with _barred(server, maintenance, database):
        _end_sessions(maintenance, database)
        with driver_errors(f'while swapping "{database}"'):
            _rename(maintenance, [(database, kept), (made, database)], allow=kept)
    return kept


@contextlib.contextmanager
def _barred(server: Server, maintenance: Session, database: str) -> Iterator[None]:
    with driver_errors(f'while barring connections to "{database}"'):
        maintenance.execute(sql(f"ALTER DATABASE {identifier(database)} ALLOW_CONNECTIONS false"))
    try:
        yield
    except BaseException as error:
        try:
            with targets.maintenance_session(server, database) as fresh:
                targets.allow_connections_again(fresh, database)
        except (BackupError, driver_error()) as further:
            error.add_note(
                f"connections are still barred: ALTER DATABASE {identifier(database)} "
                f"ALLOW_CONNECTIONS true; ({further})"
            )
        raise


def _end_sessions(maintenance: Session, database: str) -> None:
    """Terminate all others in `database` and wait until they are gone.

    Raises: AccessDenied, naming those that we may not end.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with driver_errors("while looking at sessions"):
            others = maintenance.execute(
                """
                SELECT pid, coalesce(usename, ''), coalesce(application_name, '')
                FROM pg_catalog.pg_stat_activity
                WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()
                  AND usesysid IS NOT NULL
                """,
                (database,),
            ).fetchall()
        if not others:
            return
        denied = [other for other in others if not _terminated(maintenance, other[0])]
        if denied:
            raise AccessDenied(
                f'sessions in "{database}" may not be ended by this role: {_listed(denied)}; '
                "GRANT pg_signal_backend TO CURRENT_USER; (a superuser's session has to be ended "
                "by a superuser)"
            )
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(f'sessions in "{database}" do not end: {_listed(others)}')
        _pause()


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


def _rename(maintenance: Session, renames: Sequence[tuple[str, str]], *, allow: str | None) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with maintenance.transaction():
                for old, new in renames:
                    maintenance.execute(
                        sql(f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}")
                    )
                if allow is not None:
                    maintenance.execute(
                        sql(f"ALTER DATABASE {identifier(allow)} ALLOW_CONNECTIONS true")
                    )
            return
        except driver_error() as error:
            if not has_state(error, _OBJECT_IN_USE) or time.monotonic() > deadline:
                raise
        _pause()


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
