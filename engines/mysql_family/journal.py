"""What would take a half-made swap back, written down on the server before each step.

The server has no transaction around what it renames, drops and creates. A
runner that is killed in the middle leaves this behind, and the next restore of
the same target takes it back before it does anything else. A step goes out of
here once it is taken back, and each may be taken back twice: whoever dies
between the two harms nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from attrs import frozen

from controller.api.errors import BackupError
from engines.mysql_family import catalogue, objects, target as targets
from engines.mysql_family.connection import LOCK_WAIT, Session, code_of, use
from engines.mysql_family.quoting import identifier, literal, qualified
from engines.mysql_family.target import TargetState

_SUFFIX = "_undo"
_TABLE = "steps"
_WHAT = "while taking back a swap"
#: How long a step back is tried while transactions hold a table.
_PATIENCE_S = 30.0
#: What was moved or made is taken back last step first; then what was dropped is made again, in
#: the order in which it can be. A view that was broken before can perhaps not be made again; that
#: holds nothing up.
DONE, DROPPED, MAYBE = 1, 2, 3


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
            " in_schema VARCHAR(64), only_if LONGTEXT, makes LONGTEXT, statements LONGTEXT)"
            " ENGINE = InnoDB",
            what="while beginning the swap",
        )

    def note(
        self,
        phase: int,
        undo: Sequence[str],
        *,
        only_if: str = "",
        makes: Sequence[tuple[str, str]] = (),
        schema: str = "",
    ) -> None:
        """Write down what takes the next step back; it has to be safe to repeat.

        Args:
            schema: where it is run, if that is not the target.
            only_if: a query that has a row once the step has been done and not taken back.
            makes: kinds and names of objects; when all of them are there, there is nothing to do.
        """
        if undo:
            # In ASCII: code may hold bytes that are no text, as surrogates.
            values = (schema or self._database, only_if, *(json.dumps(x) for x in (makes, undo)))
            self._session.run(
                f"INSERT INTO {self.table} (phase, in_schema, only_if, makes, statements)"  # noqa: S608
                f" VALUES ({phase}, {', '.join(map(literal, values))})",
                what="while writing down a step of the swap",
            )

    def note_schema(self, schema: str) -> None:
        """That a schema is made next: it goes again, if nobody has put anything into it by then."""
        self.note(
            DONE,
            [_unmake(schema)],
            only_if=targets.where_nothing(self._session, schema, of=self._database),
            schema=schema,
        )

    def end(self) -> None:
        """The swap is whole: nothing is taken back any more."""
        targets.drop(self._session, self._schema)
        # Last: as long as there is something to take back, the target is marked.
        targets.unmark(self._session, self._database)


@frozen
class _Step:
    """One row of a journal."""

    number: int
    phase: int
    schema: str
    only_if: str
    makes: frozenset[tuple[str, str]]
    statements: tuple[str, ...]

    @property
    def text(self) -> str:
        return "; ".join(self.statements)


@frozen(kw_only=True)
class Begun:
    """What killed restores of a target left, and the next one begins with.

    Args:
        steps: of a swap, that are taken back. schemas: that are dropped then.
        after: what the target is after that; None: as it is now.
    """

    database: str
    steps: int
    schemas: Sequence[str]
    after: TargetState | None

    def explained(self) -> list[str]:
        """What a person should know who has not begun yet; nothing: there is nothing."""
        found = []
        if self.steps and self.after:
            found.append(
                f"a restore into {identifier(self.database)} ended in the middle of its swap: what "
                f"it began, {self.steps} steps, is taken back first, after which "
                f"{self.after.explained}"
            )
        if self.schemas:
            found.append(
                "of a restore that ended early there is left, and dropped first: "
                f"{', '.join(map(identifier, self.schemas))}"
            )
        return found


def begun(session: Session, database: str) -> Begun:
    """Look, without taking anything back."""
    steps: list[_Step] = []
    for schema in _journals(session, database):
        if catalogue.tables(session, schema):
            steps += _read(session, qualified(schema, _TABLE))
    after = None
    if any(step.schema != database or (step.makes and step.phase != DONE) for step in steps):
        # There was something to keep, or to make again.
        after = TargetState(exists=True, empty=False)
    elif any(step.statements == (_unmake(database),) for step in steps):
        after = TargetState(exists=False)
    elif steps:
        after = TargetState(exists=True, empty=True)
    schemas = catalogue.schemas(session, targets.prefix(database), is_prefix=True)
    return Begun(
        database=database,
        steps=len(steps),
        schemas=[schema for schema in schemas if not schema.endswith(_SUFFIX)],
        after=after,
    )


def _unmake(schema: str) -> str:
    return f"DROP DATABASE {identifier(schema)}"


def where_table(schema: str, name: str) -> str:
    """A query that has a row when there is such a table; none, too, when there is no schema."""
    return (
        "SELECT 1 FROM information_schema.TABLES WHERE"  # noqa: S608
        f" TABLE_SCHEMA = {literal(schema)} AND TABLE_NAME = {literal(name)}"
    )


def where_collation_is_not(schema: str, collation: str) -> str:
    """A query that has a row when the schema's collation is another one."""
    return (
        "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME ="  # noqa: S608
        f" {literal(schema)} AND DEFAULT_COLLATION_NAME <> {literal(collation)}"
    )


def undo(session: Session, beside: str) -> list[str]:
    """Take back what the swap of that schema began.

    Returns: what could not be made again, with the statement; it is tried again the next time.
    Raises: BackupError: a table could not be moved back, or what is in its way not dropped.
        Nothing was done after that, all before it is done, and what to do is said.
    """
    schema = beside + _SUFFIX
    if not catalogue.schema_exists(session, schema):
        return []
    if not catalogue.tables(session, schema):
        targets.drop(session, schema)
        return []
    table = qualified(schema, _TABLE)
    steps = _read(session, table)
    # Tables that were restored go back there, whoever dropped it meanwhile.
    session.run(f"CREATE DATABASE IF NOT EXISTS {identifier(beside)}", what=_WHAT)
    failed = []
    for step in (step for step in steps if step.phase == DONE):
        failed += _take_back(session, step, table)
    failed += _make_again(session, [step for step in steps if step.phase != DONE], table)
    session.run(*objects.OURS)
    if not failed:
        targets.drop(session, schema)
    return failed


def _read(session: Session, table: str) -> list[_Step]:
    rows = session.rows(
        f"SELECT number, phase, in_schema, only_if, makes, statements FROM {table}"  # noqa: S608
        f" ORDER BY phase, IF(phase = {DONE}, -number, number)",
        what="while reading what to take back",
    )
    return [
        _Step(
            number,
            phase,
            schema,
            only_if,
            frozenset((kind, name) for kind, name in json.loads(makes)),
            tuple(json.loads(statements)),
        )
        for number, phase, schema, only_if, makes, statements in rows
    ]


def _take_back(session: Session, step: _Step, table: str) -> list[str]:
    if _is_needed(session, step):
        if not catalogue.schema_exists(session, step.schema):
            # Somebody dropped the target since. What had left it for elsewhere stays there.
            return [f'"{step.schema}" is gone: {step.text}'] if step.only_if else []
        try:
            _run(session, step)
        except BackupError as error:
            by_hand = f"{step.text}; DELETE FROM {table} WHERE number = {step.number};"  # noqa: S608
            raise type(error)(
                f"a swap in {identifier(step.schema)} is taken back only in part ({error}): cure "
                f"that, or run by hand, there, {by_hand} then restore again, which takes back the "
                "rest first"
            ) from error.__cause__
    _forget(session, table, step)
    return []


def _make_again(session: Session, steps: Sequence[_Step], table: str) -> list[str]:
    if not steps:
        return []
    there = {(one.kind, one.name) for one in catalogue.code(session, steps[0].schema)}
    failed: list[str] = []
    for step in steps:
        try:
            if _is_needed(session, step) and not (step.makes and step.makes <= there):
                _run(session, step)
        except BackupError as error:
            failed += [f"{error}: {step.text}"] if step.phase != MAYBE else []
        else:
            _forget(session, table, step)
    return failed


def _is_needed(session: Session, step: _Step) -> bool:
    return not step.only_if or bool(session.rows(step.only_if, what=_WHAT))


def _forget(session: Session, table: str, step: _Step) -> None:
    session.run(f"DELETE FROM {table} WHERE number = {step.number}", what=_WHAT)  # noqa: S608


def _run(session: Session, step: _Step) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    use(session, step.schema)
    for statement in step.statements:
        while True:
            try:
                session.run(statement, what=_WHAT)
                break
            except BackupError as error:
                if code_of(error) != LOCK_WAIT or time.monotonic() > deadline:
                    raise


def leftovers(session: Session, database: str) -> list[str]:
    """Take back and drop what killed restores of a target left; call with its lock held.

    Returns: warnings: what could not be made again or dropped.
    Raises: BackupError: the target is in the middle of a swap; what to do is said.
    """
    warnings: list[str] = []
    prefix = targets.prefix(database)
    for schema in _journals(session, database):
        failed = undo(session, schema.removesuffix(_SUFFIX))
        warnings += [f"an earlier restore was not taken back: {one}" for one in failed]
    # An empty one stays marked for the restore that comes now.
    if not targets.is_empty(session, database):
        settle(session, database)
    for schema in catalogue.schemas(session, prefix, is_prefix=True):
        if not schema.endswith(_SUFFIX):
            warnings += _drop(session, schema)
    return warnings


def forget(session: Session, database: str) -> list[str]:
    """Drop the journals of earlier restores: what they would make again has been replaced.

    Returns: warnings.
    """
    warnings: list[str] = []
    for schema in _journals(session, database):
        warnings += _drop(session, schema)
    return warnings


def settle(session: Session, database: str) -> None:
    """Take the mark from a target of which nothing is left to take back."""
    if not _journals(session, database):
        targets.unmark(session, database)


def _journals(session: Session, database: str) -> list[str]:
    found = catalogue.schemas(session, targets.prefix(database), is_prefix=True)
    return [schema for schema in found if schema.endswith(_SUFFIX)]


def _drop(session: Session, schema: str) -> list[str]:
    try:
        targets.drop(session, schema)
    except BackupError as error:
        return [f'"{schema}" is left from an earlier restore: {error}']
    return []
