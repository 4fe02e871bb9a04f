"""What there is to dump, and whether it is still the same after the dump."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from controller.api.errors import DatabaseUnavailable
from engines.mysql_family import catalogue, objects, settings, storage_engines, target as targets
from engines.mysql_family.catalogue import Identity, Table
from engines.mysql_family.connection import Session
from engines.mysql_family.objects import Definition

WAS_CHANGED = (
    "the database was altered while it was being dumped; move the migration or the schedule"
)


@frozen(kw_only=True)
class Source:
    """Definitions are not part of a snapshot: they have to be the same after a dump as before.

    Args:
        created: when each table was made, or got its name. keyless: one without a
            primary key, if there is one.
    """

    database: str
    identity: Identity
    character_set: str
    collation: str
    tables: Sequence[Table]
    created: Mapping[str, str]
    definitions: Sequence[Definition]
    counts: Mapping[str, int]
    keyless: str

    @classmethod
    def read(cls, session: Session, database: str) -> Source:
        """Raises: ObjectNotFound; DatabaseUnavailable: a restore has begun since the preflight."""
        identity = catalogue.identity(session)
        character_set, collation = catalogue.charset(session, database)
        tables = catalogue.tables(session, database)
        _insist_on_no_restore(database, tables, collation)
        return cls(
            database=database,
            identity=identity,
            character_set=character_set,
            collation=collation,
            tables=tables,
            created=catalogue.created(session, database),
            definitions=objects.read(session, database, tables),
            counts=catalogue.counts(session, database, tables),
            keyless=catalogue.keyless(session, database, tables),
        )

    def needs(self) -> dict[str, str]:
        """What a target has to offer, and what is known to be missing already."""
        needs = {
            "character set": self.character_set,
            "collation": self.collation,
            "lower_case_table_names": str(self.identity.lower_case),
        }
        needs |= storage_engines.needs(self.tables)
        if self.keyless:
            needs[settings.KEYLESS] = self.keyless
        needs |= {f"definer:{one.definer}": "" for one in self.definitions if one.definer}
        return needs | {f"broken view:{one.name}": "" for one in self.definitions if one.is_broken}

    def insist_on(self, session: Session, dumped: Mapping[str, int]) -> None:
        """Compare with what dumps made, by kind, and with what there is now.

        Not events, which may have had their time meanwhile.

        Raises: DatabaseUnavailable.
        """
        tables = catalogue.tables(session, self.database)
        _insist_on_no_restore(self.database, tables, catalogue.charset(session, self.database)[1])
        for kind, number in dumped.items():
            if number != self.counts[kind]:
                raise DatabaseUnavailable(
                    f"{WAS_CHANGED}: the dump has {number} {kind}, the server had "
                    f"{self.counts[kind]} when it began"
                )
        if other := {table.name for table in tables} ^ {table.name for table in self.tables}:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: the table {min(other)}")
        # A table that took another's name is read under it, as it was: it may have been empty.
        now_created = catalogue.created(session, self.database)
        both = now_created.keys() & self.created.keys()
        if renamed := [name for name in both if now_created[name] != self.created[name]]:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: the table {min(renamed)}")
        now = catalogue.counts(session, self.database, tables)
        if changed := [f"{kind}: {now[kind]}" for kind in now if now[kind] != self.counts[kind]]:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: there are now {', '.join(changed)}")
        defined = objects.read(session, self.database, tables)
        before = {(one.kind, one.name): one for one in self.definitions if one.kind != "EVENT"}
        after = {(one.kind, one.name): one for one in defined if one.kind != "EVENT"}
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                raise DatabaseUnavailable(f"{WAS_CHANGED}: the {key[0].lower()} {key[1]}")


def _insist_on_no_restore(database: str, tables: Sequence[Table], collation: str) -> None:
    if said := targets.in_a_restore(database, tables, collation):
        raise DatabaseUnavailable(said)
