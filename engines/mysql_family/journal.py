"""What would take a half-made swap back, written down on the server before each step.

The server has no transaction around what it renames, drops and creates. A
runner that is killed in the middle leaves this behind, and the next restore of
the same target takes it back before it does anything else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import orjson

from controller.api.errors import BackupError
from engines.mysql_family import catalogue, target as targets
from engines.mysql_family.connection import LOCK_WAIT, NO_SUCH_TABLE, Session, code_of, use
from engines.mysql_family.quoting import literal, qualified

_SUFFIX = "_undo"
_TABLE = "steps"
#: How long a step back is tried while transactions hold a table.
_PATIENCE_S = 30.0
#: What was done to tables is taken back last step first; then what refers to them is made again.
#: A view that was broken before can perhaps not be made again; that holds nothing up.
TABLES, CODE, MAYBE = 1, 2, 3


class Journal:
    """Steps of one swap and what takes them back, in a schema of its own.

    Attributes:
        table: where they are, as SQL.
    """

    def __init__(self, session: Session, beside: str, database: str) -> None:
        self._session = session
        self._schema = beside + _SUFFIX
        self.table = qualified(self._schema, _TABLE)
        self._database = database

    def begin(self) -> None:
        targets.create(self._session, self._schema, "utf8mb4", "utf8mb4_bin")
        self._session.run(
            f"CREATE TABLE {self.table} (number INT AUTO_INCREMENT PRIMARY KEY, phase INT,"
            " in_schema VARCHAR(64), only_if VARCHAR(400), statements LONGTEXT) ENGINE = InnoDB",
            what="while beginning the swap",
        )

    def note(self, phase: int, undo: Sequence[str], *, only_if: str = "") -> None:
        """Write down what takes the next step back.

        Args:
            only_if: a table, as SQL, that there is once the step has been done.
        """
        if undo:
            values = (self._database, only_if, orjson.dumps(list(undo)).decode())
            self._session.run(
                f"INSERT INTO {self.table} (phase, in_schema, only_if, statements)"  # noqa: S608
                f" VALUES ({phase}, {', '.join(map(literal, values))})",
                what="while writing down a step of the swap",
            )

    def end(self) -> None:
        """The swap is whole: nothing is taken back any more."""
        targets.drop(self._session, self._schema)


def undo(session: Session, beside: str) -> list[str]:
    """Take back what the swap of that schema began.

    Returns: what could not be taken back, with the statement.
    """
    schema = beside + _SUFFIX
    if not catalogue.schema_exists(session, schema):
        return []
    if not catalogue.tables(session, schema):
        targets.drop(session, schema)
        return []
    rows = session.rows(
        f"SELECT phase, in_schema, only_if, statements FROM {qualified(schema, _TABLE)}"  # noqa: S608
        f" ORDER BY phase, IF(phase = {TABLES}, -number, number)",
        what="while reading what to take back",
    )
    failed: list[str] = []
    for phase, database, only_if, text in rows:
        if not only_if or _is_there(session, only_if):
            said = _run(session, database, orjson.loads(text), may_be_undone=phase == TABLES)
            failed += [] if phase == MAYBE else said
    session.run("SET SESSION sql_mode = '', time_zone = '+00:00'", "SET NAMES utf8mb4")
    if not failed:
        targets.drop(session, schema)
    return failed


#: No such table, one is there already, no such trigger: the step did not happen.
_NOT_DONE = {1146, 1050, 1017, 1360}


def _is_there(session: Session, table: str) -> bool:
    try:
        session.rows(f"SHOW CREATE TABLE {table}", what="while taking back a swap")
    except BackupError as error:
        if code_of(error) != NO_SUCH_TABLE:
            raise
        return False
    return True


def _run(
    session: Session, database: str, statements: Iterable[str], *, may_be_undone: bool
) -> list[str]:
    deadline = time.monotonic() + _PATIENCE_S
    try:
        use(session, database)
        for statement in statements:
            while True:
                try:
                    session.run(statement, what="while taking back a swap")
                    break
                except BackupError as error:
                    if code_of(error) != LOCK_WAIT or time.monotonic() > deadline:
                        raise
    except BackupError as error:
        if may_be_undone and code_of(error) in _NOT_DONE:
            return []
        return [f"{error}: {'; '.join(statements)}"]
    return []


def leftovers(session: Session, database: str) -> list[str]:
    """Take back and drop what killed restores of a target left; call with its lock held.

    Returns: warnings: what could not be taken back or dropped.
    """
    warnings: list[str] = []
    found = catalogue.schemas(session, targets.prefix(database), is_prefix=True)
    kept: set[str] = set()
    for schema in found:
        if schema.endswith(_SUFFIX):
            failed = undo(session, schema.removesuffix(_SUFFIX))
            if failed:
                kept |= {schema, schema.removesuffix(_SUFFIX)}
                warnings += [f"an earlier restore was not taken back: {one}" for one in failed]
    for schema in found:
        if schema in kept or schema.endswith(_SUFFIX):
            continue
        try:
            targets.drop(session, schema)
        except BackupError as error:
            warnings.append(f'"{schema}" is left from an earlier restore: {error}')
    return warnings
