"""Puts restored tables in the place of the target's, and everything else around them.

The server renames any number of tables in one atomic statement, across
schemas, but none that has a trigger; a schema it renames not at all. So, in
this order: triggers of the old tables are dropped; old tables leave and new
ones come in one statement, those with triggers under a name of ours; they get
their triggers, and then their name. For that moment they do not exist, which a
client notices; rows that pass a trigger by would be noticed by nobody.
Routines, views and events follow. What is replaced keeps all of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from controller.api.errors import (
    BackupError,
    DatabaseUnavailable,
    PreflightFailed,
    TerminalError,
)
from engines.mysql_family import (
    catalogue,
    foreign_keys,
    journal,
    objects,
    routine_rights,
    sequences,
    target as targets,
)
from engines.mysql_family.connection import LOCK_WAIT, Session, code_of, use
from engines.mysql_family.content import Content, make
from engines.mysql_family.foreign_keys import ForeignKey
from engines.mysql_family.journal import DONE, DROPPED, MAYBE, Journal
from engines.mysql_family.kept import furnish
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import identifier, qualified
from engines.mysql_family.routine_rights import RoutineRights
from engines.mysql_family.sequences import Default

#: How long a statement waits for transactions on a table, behind which all others queue up.
_LOCK_WAIT_S = 5
#: How long it is tried for in all.
_PATIENCE_S = 30.0
_PAUSE_S = 0.5
_SHOWN = 5
#: What a server says of a foreign key that a table does not fit: MariaDB that it is no rename;
#: MySQL that a column is of another type, not there, or without an index.
_OF_KEYS = {1025, 3780, 3734, 1822, 6125}
#: Schema and name of a table.
_Place = tuple[str, str]
_CODE_KINDS = ("LIBRARY", "PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE", "VIEW", "EVENT")


class Swap:
    """One run, with the target's lock held by `session`.

    Args:
        beside: schema with the restored tables, without triggers.
        new: what the target will have; its tables are in `beside`.
        old: what the target has; None: it does not exist.
        label: for the names that tables have for a moment.
        rights: that accounts have on routines of the target.
        defaults, keys: that were taken away from tables in `beside`, to be given back in the
            target.
    """

    def __init__(
        self,
        session: Session,
        *,
        beside: str,
        database: str,
        new: Content,
        old: Content | None,
        label: str,
        rights: RoutineRights,
        defaults: Sequence[Default] = (),
        keys: Sequence[ForeignKey] = (),
    ) -> None:
        self._session = session
        self._beside = beside
        self._database = database
        self._new = new
        self._old = old
        self._label = label
        self._defaults = defaults
        self._keys = keys
        self._rights = rights
        self._journal = Journal(session, beside, database)

    def run(self, kept: str | None) -> list[str]:
        """Swap, or take back all of it.

        Args:
            kept: name for what is replaced; None: there is nothing.
        Returns: warnings, about what is replaced, and rights on it, alone.
        """
        try:
            self._journal.begin()
            self._schemas(kept)
            self._tables(kept)
            self._insist_on_no_others(kept)
            self._code()
            warnings = routine_rights.give(self._session, self._rights, self._new.definitions)
        except BaseException as error:
            self._take_back(error)
            raise
        self._journal.end()
        if kept and self._old:
            warnings += furnish(self._session, kept, self._old)
        return warnings

    def _schemas(self, kept: str | None) -> None:
        new, old = self._new, self._old
        if kept and old:
            self._journal.note_schema(kept)
            targets.create(self._session, kept, old.character_set, old.collation)
        if old is None:
            self._journal.note_schema(self._database)
            targets.create_marked(self._session, self._database)
        use(self._session, self._database)
        self._session.run(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")
        targets.mark(self._session, self._database)
        if old is not None:
            self._note_collation(DONE, old)
        if old is None or old.collation != new.collation:
            self._patiently(lambda: self._session.run(_collate(self._database, new)))

    def _note_collation(self, phase: int, old: Content) -> None:
        self._journal.note(
            phase,
            [_collate(self._database, old)],
            only_if=journal.where_collation_is_not(self._database, old.collation),
        )

    def _tables(self, kept: str | None) -> None:
        triggers = self._new.of_kind("TRIGGER")
        aside = self._names_aside(
            {one.table for one in triggers}
            | {one.table for one in self._defaults}
            | {one.table for one in self._keys}
        )
        leaving = [
            (self._at_home(name), (kept, name))
            for name in (self._old.table_names if self._old else [])
            if kept
        ]
        coming = [
            ((self._beside, name), self._at_home(aside.get(name, name)))
            for name in self._new.table_names
        ]
        self._note_code()
        self._clear_names()
        self._move([*leaving, *coming])
        # Before their tables leave: a name is one schema's.
        self._journal.note(DONE, _drops(triggers))
        self._make([one.on_table(aside[one.table]) for one in triggers], self._new.collation)
        self._give_back(aside)
        named = [(self._at_home(short), self._at_home(name)) for name, short in aside.items()]
        if named:
            self._note_move(named)
            self._session.run(_rename(named), what="while giving tables their names")

    def _give_back(self, aside: Mapping[str, str]) -> None:
        """What does not move with its table; nobody has seen that without."""
        for default in self._defaults:
            given = sequences.give(
                [default], source=self._beside, schema=self._database, table=aside[default.table]
            )
            self._session.run(*given, what="while giving columns their defaults")
        for key in self._keys:
            given = foreign_keys.give([key], schema=self._database, table=aside[key.table])
            self._session.run(*given, what="while giving tables their foreign keys")

    def _insist_on_no_others(self, kept: str | None) -> None:
        """What others made since the target was looked at, as while tables could not be moved.

        It would be neither of the new nor with what is kept; taken back, nothing of it is lost.
        """
        if self._old is None:
            return
        if kept and (
            problems := foreign_keys.hindrances(self._session, self._database, tables_in=kept)
        ):
            raise PreflightFailed(problems)
        expected = {*self._new.table_names, targets.mark_name(self._database)}
        known = {(one.kind, one.name) for one in self._old.definitions}
        found = [
            f"the table {identifier(table.name)}"
            for table in catalogue.tables(self._session, self._database)
            if not table.is_view and table.name not in expected
        ] + [
            f"the {one.kind.lower()} {identifier(one.name)}"
            for one in catalogue.code(self._session, self._database)
            if one.kind != "TRIGGER" and (one.kind, one.name) not in known
        ]
        if found:
            raise DatabaseUnavailable(
                f"in {identifier(self._database)} somebody made {', '.join(found[:_SHOWN])} while "
                "it was being replaced, which would be neither in what was restored nor in what is "
                "kept: all of it is taken back; restore again, without migrations meanwhile"
            )

    def _names_aside(self, with_triggers: Iterable[str]) -> Mapping[str, str]:
        return {
            name: f"dbb_{self._label}_{number}" for number, name in enumerate(sorted(with_triggers))
        }

    def _at_home(self, name: str) -> _Place:
        return self._database, name

    def _clear_names(self) -> None:
        """Views whose name a table takes: the two share one room."""
        if self._old is None:
            return
        taken = set(self._new.table_names)
        for view in self._old.of_kind("VIEW"):
            if view.name in taken:
                self._session.run(*view.drop())

    def _move(self, moves: Sequence[tuple[_Place, _Place]]) -> None:
        """Move all tables at once, again while transactions hold one of them."""
        if not moves:
            return
        triggers = self._old.of_kind("TRIGGER") if self._old else []
        self._note_move(moves)

        def move() -> None:
            self._drop_triggers(triggers)
            try:
                self._session.run(_rename(moves), what="while moving tables")
            except BackupError as error:
                if code_of(error) == LOCK_WAIT:
                    # Not while others write: their rows would pass the triggers by.
                    self._make(triggers, self._old.collation if self._old else "")
                elif code_of(error) in _OF_KEYS and (cures := self._keys_in_the_way()):
                    raise TerminalError(
                        f"{error}: of what is replaced, a foreign key points at no table, and what "
                        f"comes back in its place may not fit; without it, restore again: {cures}"
                    ) from error
                raise

        self._patiently(move)

    def _keys_in_the_way(self) -> str:
        """Statements that drop keys of the old tables to where there is a new table alone."""
        if self._old is None:
            return ""
        loose = foreign_keys.loose(
            self._session, self._database, self._old.tables, of=self._database
        )
        coming = set(self._new.table_names)
        found = [key for key in loose if key.into in coming]
        return "".join(f"{one}; " for one in foreign_keys.take_away(found, self._database)).strip()

    def _note_move(self, moves: Sequence[tuple[_Place, _Place]]) -> None:
        back = _rename((new, old) for old, new in reversed(moves))
        # One statement moves all or none, and to where nothing was of the first one's name.
        self._journal.note(DONE, [back], only_if=journal.where_table(*moves[0][1]))

    def _drop_triggers(self, triggers: Sequence[Definition]) -> None:
        """All of them or, while transactions hold one of the tables, none."""
        if not triggers:
            return
        tables = sorted({self._at_home(one.table) for one in triggers})
        self._session.run(
            f"LOCK TABLES {', '.join(f'{qualified(*one)} WRITE' for one in tables)}",
            what="while locking tables",
        )
        try:
            for one in triggers:
                self._session.run(*one.drop(), what="while dropping triggers")
        finally:
            self._session.run("UNLOCK TABLES")

    def _patiently(self, act: Callable[[], None]) -> None:
        """Again and again, while transactions hold what it has to have for itself."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                act()
            except BackupError as error:
                if code_of(error) != LOCK_WAIT:
                    raise
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(
                        f"transactions hold tables of {identifier(self._database)} for longer than "
                        f"{_PATIENCE_S:.0f} s{self._holders()}: end them, with KILL and their "
                        "number, and restore again"
                    ) from error
                time.sleep(_PAUSE_S)
            else:
                return

    def _holders(self) -> str:
        """Sessions in the target, as far as we may see them."""
        try:
            rows = self._session.rows(
                "SELECT ID, USER FROM information_schema.PROCESSLIST WHERE DB = %s AND ID <> %s",
                (self._database, self._session.number),
            )
        except BackupError:
            return ""
        named = ", ".join(f"{number} ({user})" for number, user in rows[:10])
        return f" (sessions there: {named})" if named else ""

    def _code(self) -> None:
        """Routines, views and events of the target become those of the backup."""
        old = self._old.of_kind(*_CODE_KINDS) if self._old else []
        new = self._new.of_kind(*_CODE_KINDS)
        # Events first: none may act on what is half there.
        for one in sorted(old, key=lambda one: one.kind != "EVENT"):
            self._session.run(*one.drop(), what="while dropping what is replaced")
        # From here on what has such a name is new: a view may have the name of a table that left.
        self._journal.note(DONE, _drops(new))
        self._make(new, self._new.collation)

    def _note_code(self) -> None:
        """All that is dropped, before the first of it is."""
        if self._old is None:
            return
        collation = self._old.collation
        for one, made in objects.statements(
            self._old.of_kind(*_CODE_KINDS), schema_collation=collation
        ):
            phase = MAYBE if one.is_broken else DROPPED
            self._journal.note(phase, made, makes=[(one.kind, one.name)])
        for _, found in itertools.groupby(self._old.of_kind("TRIGGER"), lambda one: one.table):
            # All of a table's at once: the order in which they are made is the one they act in.
            triggers = list(found)
            made = [
                statement
                for _, statements in objects.statements(triggers, schema_collation=collation)
                for statement in statements
            ]
            self._journal.note(
                DROPPED,
                [*_drops(triggers), *made],
                makes=[(one.kind, one.name) for one in triggers],
            )
        for statement in self._rights.statements():
            self._journal.note(DROPPED, [statement])
        # Making one may change it for that moment.
        self._note_collation(DROPPED, self._old)

    def _make(self, definitions: Sequence[Definition], collation: str) -> None:
        make(self._session, definitions, collation)

    def _take_back(self, error: BaseException) -> None:
        try:
            for failed in journal.undo(self._session, self._beside):
                error.add_note(
                    f"not made again, which the next restore of this database tries first: {failed}"
                )
            journal.settle(self._session, self._database)
        except BackupError as further:
            error.add_note(
                f"the next restore of this database takes back what this one began ({further})"
            )


def kept_name(session: Session, database: str) -> str:
    """A dated name that no schema has; two swaps may be within one second."""
    at = catalogue.clock(session)
    while catalogue.schema_exists(session, name := targets.kept_name(database, at)):
        at += timedelta(seconds=1)
    return name


def _drops(definitions: Iterable[Definition]) -> list[str]:
    return [statement for one in definitions for statement in one.drop()]


def _collate(schema: str, content: Content) -> str:
    return (
        f"ALTER DATABASE {identifier(schema)} CHARACTER SET {identifier(content.character_set)}"
        f" COLLATE {identifier(content.collation)}"
    )


def _rename(moves: Iterable[tuple[_Place, _Place]]) -> str:
    return "RENAME TABLE " + ", ".join(
        f"{qualified(*old)} TO {qualified(*new)}" for old, new in moves
    )
