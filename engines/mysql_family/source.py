"""What there is to dump, and whether it is still the same after the dump."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import frozen

from controller.api.errors import DatabaseUnavailable
from engines.mysql_family import (
    catalogue,
    identities,
    objects,
    settings,
    storage_engines,
    target as targets,
)
from engines.mysql_family.catalogue import Identity, Table
from engines.mysql_family.connection import Session
from engines.mysql_family.family import Family
from engines.mysql_family.grants import Rights
from engines.mysql_family.identities import Identities
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import account, identifier

WAS_CHANGED = (
    "the database was altered while it was being dumped; move the migration or the schedule"
)


@frozen(kw_only=True)
class Begun:
    """What else is known once the snapshot is there.

    Args:
        newest: see `Identities.moved`. is_restored_into: a restore of this database is under way.
    """

    newest: int | None
    is_restored_into: bool


@frozen(kw_only=True)
class Source:
    """Definitions are not part of a snapshot: they have to be the same after a dump as before.

    Args:
        rights: of the account that reads. keyless: a table without a primary key, if there is one.
        comment: of the database; MySQL's have none.
    """

    database: str
    family: Family
    rights: Rights
    identity: Identity
    character_set: str
    collation: str
    tables: Sequence[Table]
    identities: Identities
    definitions: Sequence[Definition]
    counts: Mapping[str, int]
    keyless: str
    comment: str

    @classmethod
    def read(cls, session: Session, family: Family, rights: Rights, database: str) -> Source:
        """Raises: ObjectNotFound; DatabaseUnavailable: a restore has begun since the preflight."""
        identity = catalogue.identity(session)
        character_set, collation = catalogue.charset(session, database)
        tables = catalogue.tables(session, database)
        _insist_on_no_restore(database, tables, collation)
        return cls(
            database=database,
            family=family,
            rights=rights,
            identity=identity,
            character_set=character_set,
            collation=collation,
            tables=tables,
            identities=_identities(session, family, rights, database),
            definitions=_definitions(session, database, tables),
            counts=catalogue.counts(session, database, tables),
            keyless=catalogue.keyless(session, database, tables),
            comment=catalogue.comment(session, database) if family.is_mariadb else "",
        )

    def needs(self) -> dict[str, str]:
        """What a target has to offer, and what is known to be missing already."""
        needs = {
            "character set": self.character_set,
            "collation": self.collation,
            "lower_case_table_names": str(self.identity.lower_case),
        }
        needs |= storage_engines.needs(self.tables)
        if self.comment:
            needs[settings.COMMENT] = self.comment
        if self.keyless:
            needs[settings.KEYLESS] = self.keyless
        needs |= {f"definer:{one.definer}": "" for one in self.definitions if one.definer}
        return needs | {f"broken view:{one.name}": "" for one in self.definitions if one.is_broken}

    def begun(self, session: Session) -> Begun:
        """To be asked for when the snapshot is there."""
        sees_numbers = self.identities.numbers is not None
        return Begun(
            newest=identities.newest(session, self.family) if sees_numbers else None,
            is_restored_into=targets.is_restored_into(session, self.database)
            # Elsewhere, where this is a replica: the lock is of one server.
            or (
                sees_numbers
                and identities.is_there(session, self.family, targets.prefix(self.database))
            ),
        )

    def insist_on(
        self, session: Session, dumped: Mapping[str, Sequence[str]], begun: Begun
    ) -> None:
        """Compare with what dumps made, names by kind, and with what there is now.

        Raises: DatabaseUnavailable.
        """
        tables = catalogue.tables(session, self.database)
        _insist_on_no_restore(self.database, tables, catalogue.charset(session, self.database)[1])
        there = {"tables": self.dumpable(), "sequences": self.dumpable(sequences=True)}
        for kind, names in dumped.items():
            odd = Counter(names)
            odd.subtract(there[kind])
            if other := [name for name, number in odd.items() if number]:
                raise DatabaseUnavailable(
                    f"{WAS_CHANGED}: the dump has {len(names)} {kind}, the server had "
                    f"{len(there[kind])} when it began, and {identifier(min(other))} not as often"
                )
        if others := {table.name for table in tables} ^ {table.name for table in self.tables}:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: the table {min(others)}")
        self._insist_on_identities(session, begun)
        now = catalogue.counts(session, self.database, tables)
        if changed := [f"{kind}: {now[kind]}" for kind in now if now[kind] != self.counts[kind]]:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: there are now {', '.join(changed)}")
        self._insist_on_definitions(_definitions(session, self.database, tables))

    def dumpable(self, *, sequences: bool = False) -> list[str]:
        """Names of the tables that a dump makes, or of the sequences."""
        return [
            table.name
            for table in self.tables
            if not table.is_view and (table.kind == "SEQUENCE") == sequences
        ]

    def _insist_on_definitions(self, now: Sequence[Definition]) -> None:
        """An event may have had its time meanwhile, after which it is asleep or gone."""
        before = {(one.kind, one.name): one for one in self.definitions}
        after = {(one.kind, one.name): one for one in now}
        for key in sorted(before.keys() | after.keys()):
            was, is_now = before.get(key), after.get(key)
            if was is not None and was.kind == "EVENT":
                if is_now is None and was.goes:
                    continue
                was = was.disabled()
                is_now = is_now and is_now.disabled()
            if was != is_now:
                raise DatabaseUnavailable(f"{WAS_CHANGED}: the {key[0].lower()} {key[1]}")

    def _insist_on_identities(self, session: Session, begun: Begun) -> None:
        now = _identities(session, self.family, self.rights, self.database)
        if moved := self.identities.moved(now, begun.newest):
            raise DatabaseUnavailable(f"{WAS_CHANGED}: {moved}")
        if pair := self.identities.may_have_been_exchanged(now, session, self.family):
            raise DatabaseUnavailable(
                f"{WAS_CHANGED}, maybe: ALTER TABLE was run on the server, and whether "
                f"{' and '.join(pair)} were exchanged by EXCHANGE PARTITION, and exchanged back, "
                "nothing tells, as they have the same columns; where ALTER TABLE never pauses, "
                "give that table one column more, or drop it"
            )
        if now.renames == self.identities.renames:
            return
        # Of one that begins later, no table is old enough to be read.
        if begun.is_restored_into:
            raise DatabaseUnavailable(
                f"a restore into {identifier(self.database)} was under way, and RENAME TABLE was "
                "run on the server while it was being dumped: where that restore failed, its "
                "tables may have been here for a moment; wait for it to end"
            )
        if now.numbers is None and (doubt := self._doubt(session)):
            raise DatabaseUnavailable(
                f"{WAS_CHANGED}, maybe: RENAME TABLE was run on the server, and whether {doubt}, "
                f"InnoDB's numbers alone would tell: GRANT {identities.RIGHT} ON *.* "
                f"TO {account(self.rights.account)};"
            )

    def _doubt(self, session: Session) -> str:
        """What a RENAME TABLE may have been that was not seen, in words; empty: none."""
        if alike := self.identities.alike:
            return f"{' and '.join(map(identifier, alike))} are still what they were"
        # MariaDB's tables tell it: they get a new time.
        if not self.family.is_mariadb and session.one("SELECT @@GLOBAL.read_only"):
            return "a restore on this replica's source was at work, and taken back"
        return ""


def _definitions(session: Session, database: str, tables: Sequence[Table]) -> list[Definition]:
    try:
        return objects.read(session, database, tables)
    except objects.DefinitionGone as gone:
        raise DatabaseUnavailable(f"{WAS_CHANGED}: {gone}") from gone


def _identities(session: Session, family: Family, rights: Rights, database: str) -> Identities:
    sees_numbers = rights.on_server(identities.RIGHT)
    return Identities.read(session, family, database, sees_numbers=sees_numbers)


def _insist_on_no_restore(database: str, tables: Sequence[Table], collation: str) -> None:
    if said := targets.in_a_restore(database, tables, collation):
        raise DatabaseUnavailable(said)
