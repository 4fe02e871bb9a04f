"""Where a restore goes: the target, what is made beside it, one restore at a time."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from datetime import datetime

from attrs import frozen

from controller.api.errors import BackupError, BusyError, ObjectNotFound
from engines.postgres import catalogue
from engines.postgres.connection import Server, Session, driver_error, driver_errors
from engines.postgres.quoting import identifier, sql

_MAX_NAME_BYTES = 63
_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.2


@frozen(kw_only=True)
class TargetState:
    """What is there under the target's name. `empty` is meaningless if it does not exist."""

    exists: bool
    empty: bool = True


def maintenance_database(target: str) -> str:
    """Where we stand while databases are made and renamed; all agree on it, for the lock."""
    return "template1" if target == "postgres" else "postgres"


@contextlib.contextmanager
def exclusive(server: Server, target: str) -> Iterator[Session]:
    """A session in the maintenance database that holds the lock of this target's name.

    The lock lasts as long as the session: a killed restore leaves none.

    Raises: BusyError: another restore of that target runs.
    """
    session = maintenance_session(server, target)
    try:
        if not _is_locked(session, target):
            raise BusyError(f'another restore into the database "{target}" is running')
        yield session
    finally:
        session.close()


def _is_locked(session: Session, target: str) -> bool:
    """Lock the target's name, unless somebody else has it.

    A server lets go of a session's locks a moment after that was closed: who tries again at
    once is not told of another restore that is his own.
    """
    for number in range(_LOCK_TRIES):
        if number:
            time.sleep(_LOCK_PAUSE_S)
        with driver_errors("while locking the target's name"):
            row = session.execute(
                "SELECT pg_catalog.pg_try_advisory_lock(%s)", (_lock_key(target),)
            ).fetchone()
        if row is not None and row[0]:
            return True
    return False


def maintenance_session(server: Server, target: str) -> Session:
    try:
        return server.session(maintenance_database(target))
    except ObjectNotFound:
        return server.session("template1")


def _lock_key(target: str) -> int:
    digest = hashlib.sha256(b"db-backup restore " + target.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def beside(target: str, label: str) -> str:
    """Name of the database that a restore fills before it gets its final name."""
    return f"{_prefix(target)}{label}"


def _prefix(target: str) -> str:
    return f"dbb_restore_{hashlib.sha256(target.encode()).hexdigest()[:10]}_"


def kept_name(target: str, now: datetime) -> str:
    """Dated name for a replaced database, at most 63 bytes long."""
    suffix = f"_before_{now:%Y%m%d%H%M%S}"
    head = target.encode()[: _MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")
    return head + suffix


def state_of(server: Server, maintenance: Session, target: str) -> TargetState:
    with driver_errors("while looking at the target"):
        row = maintenance.execute(
            "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", (target,)
        ).fetchone()
    if row is None:
        return TargetState(exists=False)
    if not row[0]:  # nobody can look into it
        return TargetState(exists=True, empty=False)
    with server.session(target) as session, driver_errors("while looking into the target"):
        return TargetState(exists=True, empty=catalogue.is_empty(session))


def clear_leftovers(maintenance: Session, target: str) -> list[str]:
    """Drop what killed restores of this target left; call with the lock held.

    Returns: what could not be dropped, as warnings.
    """
    warnings = []
    with driver_errors("while looking for leftovers"):
        leftovers = maintenance.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE starts_with(datname, %s)",
            (_prefix(target),),
        ).fetchall()
    for (name,) in leftovers:
        try:
            drop(maintenance, name)
        except BackupError as error:
            warnings.append(f'"{name}" is left from an earlier restore: {error}')
    return warnings


def drop(maintenance: Session, database: str) -> None:
    """Drop a database of ours, with the sessions of killed children in it."""
    with driver_errors(f'while dropping the database "{database}"'):
        maintenance.execute(sql(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE)"))


def drop_surely(server: Server, maintenance: Session, target: str, database: str) -> None:
    """Drop it, over a new session if the first one broke."""
    try:
        drop(maintenance, database)
    except (BackupError, driver_error()):
        with maintenance_session(server, target) as fresh:
            drop(fresh, database)
