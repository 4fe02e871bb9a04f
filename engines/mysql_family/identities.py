"""Which table stands behind a name, which no definition tells.

`EXCHANGE PARTITION` gives a partition and a table each other's rows, `RENAME TABLE` can do so with
two tables. A snapshot has rows, and no names: a dump that reads one of the two before that and the
other one after it has some rows twice and others never. InnoDB numbers its tables and partitions,
and the numbers move with the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Self

from attrs import frozen

from engines.mysql_family.connection import Session
from engines.mysql_family.family import Family
from engines.mysql_family.quoting import identifier

#: To read InnoDB's numbers.
RIGHT = "PROCESS"
_WHAT = "while reading which table is which"
#: MariaDB may not know it of a table that has just got its name, until somebody has opened it.
_CREATED_TRIES = 3


@frozen(kw_only=True)
class Identities:
    """What is behind each name of a schema, as far as it is told.

    Args:
        created: when each table was made, in MariaDB or got its name. Without those of which the
            server does not say it.
        numbers: by InnoDB's own name of a table or partition; None: the account lacks PROCESS.
        renames: how often the server has run RENAME TABLE, wherever.
    """

    created: Mapping[str, str]
    numbers: Mapping[str, int] | None
    renames: int

    @classmethod
    def read(cls, session: Session, family: Family, schema: str, *, sees_numbers: bool) -> Self:
        return cls(
            created=_created(session, schema),
            numbers=_numbers(session, family, schema) if sees_numbers else None,
            renames=renames(session),
        )

    def moved(self, now: Identities, newest: int | None) -> str:
        """A table that is not what it was, or a part of one, in words; empty: none.

        Args:
            newest: `newest` when the snapshot was there. No snapshot shows what is newer, as it is
                after a TRUNCATE: reading it is an error, and what was read before is right.
        """
        both = self.created.keys() & now.created.keys()
        if other := [name for name in both if now.created[name] != self.created[name]]:
            return f"the table {identifier(min(other))}"
        if self.numbers is None or now.numbers is None or newest is None:
            return ""
        found = [
            name
            for name, number in now.numbers.items()
            if self.numbers.get(name, number) != number and number <= newest
        ]
        if not found:
            return ""
        return (
            f"{_shown(min(found), now.created)} has the rows of another one, "
            "by EXCHANGE PARTITION or RENAME TABLE"
        )

    @property
    def alike(self) -> list[str]:
        """Two tables that nothing but a number may tell from each other; empty: there are none.

        They were made in the same second. MySQL's keep that time under another name; MariaDB's get
        a new one, which within that second is no other.
        """
        seen: dict[str, str] = {}
        for name, at in sorted(self.created.items()):
            if at in seen:
                return [seen[at], name]
            seen[at] = name
        return []


def renames(session: Session) -> int:
    """How often the server has run RENAME TABLE."""
    ((_, number),) = session.rows("SHOW GLOBAL STATUS LIKE 'Com_rename_table'", what=_WHAT)
    return int(number)


def newest(session: Session, family: Family) -> int:
    """The highest number that any of the server's tables has."""
    query = f"SELECT MAX(TABLE_ID) FROM information_schema.{_table(family)}"  # noqa: S608
    return int(session.one(query, what=_WHAT))


def partitioned(session: Session, schema: str) -> list[str]:
    """Tables that have partitions, by name."""
    rows = session.rows(
        "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.PARTITIONS"
        " WHERE TABLE_SCHEMA = %s AND PARTITION_NAME IS NOT NULL",
        (schema,),
        what=_WHAT,
    )
    return sorted(name for of, name in rows if of == schema)


def _created(session: Session, schema: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(_CREATED_TRIES):
        rows = session.rows(
            "SELECT TABLE_SCHEMA, TABLE_NAME, CREATE_TIME FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW'",
            (schema,),
            what=_WHAT,
        )
        found = {name: str(at) for of, name, at in rows if of == schema and at is not None}
        if len(found) == len(rows):
            break
    return found


def _table(family: Family) -> str:
    return "INNODB_SYS_TABLES" if family.is_mariadb else "INNODB_TABLES"


def _numbers(session: Session, family: Family, schema: str) -> dict[str, int]:
    of_schema = re.compile(f"{_encoded(schema)}/")
    plain = re.match(r"\w*", schema, re.ASCII)
    begins = (plain[0] if plain else "").replace("_", r"\_")
    rows = session.rows(
        f"SELECT NAME, TABLE_ID FROM information_schema.{_table(family)}"  # noqa: S608
        " WHERE NAME LIKE %s",
        (f"{begins}%",),
        what=_WHAT,
    )
    return {str(name): int(number) for name, number in rows if of_schema.match(name)}


def _encoded(name: str) -> str:
    """A pattern for a name as InnoDB writes it, where all but ASCII's letters is encoded."""
    return "".join(map(_encoded_character, name))


def _encoded_character(character: str) -> str:
    if re.match(r"\w", character, re.ASCII):
        return character
    if character.isascii():
        return f"@{ord(character):04x}"
    return "(?:@[0-9a-f]{4}|@[0-9A-Za-z]{2})"  # a table of its own tells which


def _shown(innodb_name: str, tables: Iterable[str]) -> str:
    """``shop/sale#P#p2025`` for people, with the name that its table has in SQL."""
    _, _, below = innodb_name.partition("/")
    table, *parts = re.split("#(?:SP|P)#", below, flags=re.IGNORECASE)
    known = [name for name in tables if re.fullmatch(_encoded(name), table, re.IGNORECASE)]
    shown = identifier(min(known, default=table))
    return f"a partition of {shown} ({'/'.join(parts)})" if parts else f"the table {shown}"
