"""Where a restore goes: the target, what is made beside it, one restore at a time."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from attrs import frozen

from controller.api.errors import BackupError, BusyError
from engines.mysql_family import catalogue
from engines.mysql_family.connection import Server, Session
from engines.mysql_family.quoting import identifier, qualified, schema_pattern

_MAX_NAME = 64
_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.2
#: A killed client's last statement ends within moments; for ever is the server's default.
_LOCK_WAIT_S = 60
_BESIDE = "dbb_restore_"
_MARK = "dbb_swap_"


@frozen(kw_only=True)
class TargetState:
    """What is there under the target's name. `empty` is meaningless if it does not exist."""

    exists: bool
    empty: bool = True


@contextlib.contextmanager
def exclusive(server: Server, target: str) -> Iterator[Session]:
    """A session that holds the lock of this target's name, for as long as it lives.

    Raises: BusyError: another restore of that target runs.
    """
    with server.session() as session:
        session.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}", "SET foreign_key_checks = 0")
        name = f"{_BESIDE}{hashlib.sha256(target.encode()).hexdigest()[:32]}"
        for number in range(_LOCK_TRIES):
            # A server lets go of a session's locks a moment after that was closed.
            if number:
                time.sleep(_LOCK_PAUSE_S)
            if session.one("SELECT GET_LOCK(%s, 0)", (name,), what="while locking the target"):
                break
        else:
            raise BusyError(f'another restore into the database "{target}" is running')
        yield session


def prefix(target: str) -> str:
    """What the names of all schemas begin with that restores of this target make."""
    return f"{_BESIDE}{_hash(target)}_"


def _hash(target: str) -> str:
    return hashlib.sha256(target.encode()).hexdigest()[:10]


def mark_name(target: str) -> str:
    """Name of the table in a target that says: what is here is neither the old nor the new."""
    return f"{_MARK}{_hash(target)}"


def mark(session: Session, target: str) -> None:
    """Keep backups away; one that is there already is as good.

    A table, because whoever may back up a schema sees its tables, and not the journal beside it.
    """
    session.run(
        f"CREATE TABLE IF NOT EXISTS {qualified(target, mark_name(target))}"
        " (id INT PRIMARY KEY) ENGINE = InnoDB COMMENT = 'a restore replaces this database'",
        what="while marking the target",
    )


def unmark(session: Session, target: str) -> None:
    """Let backups in again, if the target is still there."""
    if is_marked(session, target):
        session.run(
            f"DROP TABLE IF EXISTS {qualified(target, mark_name(target))}",
            what="while taking the mark from the target",
        )


def is_marked(session: Session, target: str) -> bool:
    return any(table.name == mark_name(target) for table in catalogue.tables(session, target))


def is_half(target: str) -> str:
    """What is wrong with a target that is marked, and the cure."""
    return (
        f"a restore is replacing what is in {identifier(target)}, or ended in the middle of that, "
        "and a backup would have some of the old and some of the new: wait for it, or restore "
        "again, which first takes back what an ended one began"
    )


def beside(target: str, label: str) -> str:
    """Name of the schema that a restore fills before its tables get their place."""
    return f"{prefix(target)}{label}"


def beside_pattern(_target: str) -> str:
    """As GRANT takes it: all of them, whatever their target."""
    return identifier(_BESIDE.replace("_", "\\_") + "%")


def kept_name(target: str, now: datetime) -> str:
    """Dated name for what is replaced, at most 64 characters long."""
    suffix = f"_before_{now:%Y%m%d%H%M%S}"
    return target[: _MAX_NAME - len(suffix)] + suffix


def kept_pattern(target: str) -> str:
    dated = kept_name(target, datetime(2000, 1, 1, tzinfo=UTC))
    return schema_pattern(dated.removesuffix("20000101000000"))[:-1] + "%`"


def state_of(session: Session, target: str) -> TargetState:
    if not catalogue.schema_exists(session, target):
        return TargetState(exists=False)
    return TargetState(exists=True, empty=is_empty(session, target))


def is_empty(session: Session, schema: str) -> bool:
    """Whether a dump would find nothing at all in it."""
    if catalogue.tables(session, schema):
        return False
    for source, column in (("ROUTINES", "ROUTINE_SCHEMA"), ("EVENTS", "EVENT_SCHEMA")):
        rows = session.rows(
            f"SELECT {column} FROM information_schema.{source} WHERE {column} = %s",  # noqa: S608
            (schema,),
            what="while looking into the target",
        )
        if any(of == schema for (of,) in rows):
            return False
    return True


def create(session: Session, schema: str, character_set: str, collation: str) -> None:
    session.run(
        f"CREATE DATABASE {identifier(schema)} CHARACTER SET {identifier(character_set)}"
        f" COLLATE {identifier(collation)}",
        what=f'while creating the database "{schema}"',
    )


def drop(session: Session, schema: str) -> None:
    session.run(
        f"DROP DATABASE IF EXISTS {identifier(schema)}",
        what=f'while dropping the database "{schema}"',
    )


def drop_surely(server: Server, session: Session, schema: str) -> None:
    """Drop it, over a new session if the first one broke."""
    try:
        drop(session, schema)
    except BackupError:
        with server.session() as fresh:
            fresh.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")
            drop(fresh, schema)
