"""What there is to dump, and whether it is still the same after the dump."""

from __future__ import annotations

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
class Source:
    """Definitions are not part of a snapshot: they have to be the same after a dump as before.

    Args:
        rights: of the account that reads. keyless: a table without a primary key, if there is one.
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

    def newest(self, session: Session) -> int | None:
        """To be asked for when the snapshot is there: see `Identities.moved`."""
        if self.identities.numbers is None:
            return None
        return identities.newest(session, self.family)

    def insist_on(self, session: Session, dumped: Mapping[str, int], *, newest: int | None) -> None:
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
        self._insist_on_identities(session, newest)
        now = catalogue.counts(session, self.database, tables)
        if changed := [f"{kind}: {now[kind]}" for kind in now if now[kind] != self.counts[kind]]:
            raise DatabaseUnavailable(f"{WAS_CHANGED}: there are now {', '.join(changed)}")
        defined = objects.read(session, self.database, tables)
        before = {(one.kind, one.name): one for one in self.definitions if one.kind != "EVENT"}
        after = {(one.kind, one.name): one for one in defined if one.kind != "EVENT"}
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                raise DatabaseUnavailable(f"{WAS_CHANGED}: the {key[0].lower()} {key[1]}")

    def _insist_on_identities(self, session: Session, newest: int | None) -> None:
        now = _identities(session, self.family, self.rights, self.database)
        if moved := self.identities.moved(now, newest):
            raise DatabaseUnavailable(f"{WAS_CHANGED}: {moved}")
        alike = self.identities.alike
        if alike and now.numbers is None and now.renames != self.identities.renames:
            raise DatabaseUnavailable(
                f"{WAS_CHANGED}, maybe: RENAME TABLE was run on the server, and whether "
                f"{' and '.join(map(identifier, alike))} are still what they were, InnoDB's "
                f"numbers alone would tell: GRANT {identities.RIGHT} ON *.* "
                f"TO {account(self.rights.account)};"
            )


def _identities(session: Session, family: Family, rights: Rights, database: str) -> Identities:
    sees_numbers = rights.on_server(identities.RIGHT)
    return Identities.read(session, family, database, sees_numbers=sees_numbers)


def _insist_on_no_restore(database: str, tables: Sequence[Table], collation: str) -> None:
    if said := targets.in_a_restore(database, tables, collation):
        raise DatabaseUnavailable(said)
