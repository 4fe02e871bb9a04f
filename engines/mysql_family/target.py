"""Where a restore goes: the target, what is made beside it, one restore at a time."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from attrs import frozen

from controller.api.errors import BackupError, BusyError
from engines.mysql_family import catalogue, settings
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import Server, Session
from engines.mysql_family.quoting import identifier, literal, qualified, schema_pattern

_MAX_NAME = 64
_LOCKING = "while locking the target"
_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.2
#: A killed client's last statement ends within moments; for ever is the server's default.
_LOCK_WAIT_S = 60
_BESIDE = "dbb_restore_"
_MARK = "dbb_swap_"
#: Character set and collation that a new target has until the mark is in it: nobody's, so that it
#: is known with nothing in it. A server makes a schema and a table in two statements, and all that
#: who backs up sees of an empty schema is its collation.
_UNMARKED = ("geostd8", "geostd8_bin")


#: Tables of information_schema with what a schema without tables may hold, and their schema.
_CODE = (("ROUTINES", "ROUTINE_SCHEMA"), ("EVENTS", "EVENT_SCHEMA"))
_LIBRARIES = ("LIBRARIES", "LIBRARY_SCHEMA")


@frozen(kw_only=True)
class TargetState:
    """What is there under the target's name. `empty` is meaningless if it does not exist."""

    exists: bool
    empty: bool = True

    @property
    def explained(self) -> str:
        if not self.exists:
            return "there is no such database"
        return "it is empty" if self.empty else "it has what it had"


@contextlib.contextmanager
def exclusive(server: Server, target: str) -> Iterator[Session]:
    """A session that holds the lock of this target's name, for as long as it lives.

    Raises: BusyError: another restore of that target runs.
    """
    with server.session() as session:
        session.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}", "SET foreign_key_checks = 0")
        settings.be_lenient(session)
        lock = (_lock(target),)
        _insist(lambda: session.one("SELECT GET_LOCK(%s, 0)", lock, what=_LOCKING), target)
        yield session


def insist_on_no_restore(session: Session, target: str) -> None:
    """Raises: BusyError: some other session holds the lock of this target."""
    _insist(lambda: not is_restored_into(session, target), target)


def _insist(is_so: Callable[[], object], target: str) -> None:
    """Ask until it is so: a server lets go of a session's locks a moment after that was closed."""
    for number in range(_LOCK_TRIES):
        if number:
            time.sleep(_LOCK_PAUSE_S)
        if is_so():
            return
    raise BusyError(
        f'another restore into the database "{target}" is running, or one that was ended has a '
        "session that the server is not done with, as while its disk is full: wait for it, or look "
        "with SHOW PROCESSLIST"
    )


def is_restored_into(session: Session, target: str) -> bool:
    """Whether a session holds the lock of this target, on this very server."""
    held_by = session.one("SELECT IS_USED_LOCK(%s)", (_lock(target),), what=_LOCKING)
    return held_by is not None


def _lock(target: str) -> str:
    return f"{_BESIDE}{hashlib.sha256(target.encode()).hexdigest()[:32]}"


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
        " (id INT PRIMARY KEY) ENGINE = InnoDB COMMENT = 'a restore is at work in this database'",
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


def in_a_restore(target: str, tables: Sequence[Table], collation: str) -> str:
    """What is wrong with a target that a restore is at work in, and the cure; empty: none is.

    Args:
        tables: all that it has. collation: its default.
    """
    if any(table.name == mark_name(target) for table in tables):
        return (
            f"a restore is making or replacing what is in {identifier(target)}, or ended in the "
            "middle of that, and a backup would have some of the old and some of the new, or "
            "nothing: wait for it, or restore again, which first takes back what an ended one began"
        )
    if not tables and collation == _UNMARKED[1]:
        return (
            f"{identifier(target)} is empty, and as a restore makes it before it fills it: wait "
            "for it, or restore again if it ended; if there was none, ALTER DATABASE "
            f"{identifier(target)} CHARACTER SET utf8mb4;"
        )
    return ""


def create_marked(session: Session, target: str) -> None:
    """Make a target that no backup takes from its first moment on; its collation is not its own."""
    create(session, target, *_UNMARKED)
    mark(session, target)


def where_nothing(session: Session, schema: str, *, of: str) -> str:
    """A query that has a row when a restore of the target `of` made a schema, and nobody filled it.

    The target itself counts while it has the mark, or has not got it yet.
    """
    there, mark = literal(schema), literal(mark_name(of))
    made = ""
    if schema == of:
        made = (
            f" AND (DEFAULT_COLLATION_NAME = {literal(_UNMARKED[1])} OR EXISTS (SELECT 1 FROM"  # noqa: S608
            f" information_schema.TABLES WHERE TABLE_SCHEMA = {there} AND TABLE_NAME = {mark}))"
        )
    nothing = "".join(
        f" AND NOT EXISTS (SELECT 1 FROM information_schema.{source} WHERE {column} = {there}"  # noqa: S608
        f"{f' AND TABLE_NAME <> {mark}' if source == 'TABLES' else ''})"
        for source, column in (("TABLES", "TABLE_SCHEMA"), *_code(session))
    )
    return f"SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {there}{made}{nothing}"  # noqa: S608


def _code(session: Session) -> Sequence[tuple[str, str]]:
    return (*_CODE, _LIBRARIES) if catalogue.has_libraries(session) else _CODE


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
    """Whether a dump would find nothing at all in it; the mark of a restore is nothing."""
    mark = mark_name(schema)
    if any(table.name != mark for table in catalogue.tables(session, schema)):
        return False
    for source, column in _code(session):
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


def surely(server: Server, session: Session, act: Callable[[Session], None]) -> None:
    """Do what may be done twice, over a new session if the first one broke."""
    try:
        act(session)
    except BackupError:
        with server.session() as fresh:
            fresh.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")
            act(fresh)
