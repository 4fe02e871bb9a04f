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
#: What is between a table's name and its partition's, as InnoDB writes them.
_PARTS = re.compile("#(?:SP|P)#", re.IGNORECASE)
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
        renames, alters: how often the server has run RENAME TABLE and ALTER TABLE, wherever.
    """

    created: Mapping[str, str]
    numbers: Mapping[str, int] | None
    renames: int
    alters: int

    @classmethod
    def read(cls, session: Session, family: Family, schema: str, *, sees_numbers: bool) -> Self:
        renames, alters = _run_so_far(session)
        return cls(
            created=_created(session, schema),
            numbers=_numbers(session, family, schema) if sees_numbers else None,
            renames=renames,
            alters=alters,
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

    def may_have_been_exchanged(
        self, now: Identities, session: Session, family: Family
    ) -> tuple[str, str] | None:
        """A partition and a table that may have had each other's rows meanwhile, in words.

        Once they are exchanged back, the numbers are what they were. That takes two statements, and
        a table with the partition's columns; where there is one, whoever asks often enough in vain
        has to know which.
        """
        # Less: somebody has set the server's counters to zero.
        if self.numbers is None or now.alters - self.alters in (0, 1):
            return None
        parts = {number: name for name, number in self.numbers.items() if _PARTS.search(name)}
        if not parts:
            return None
        columns = _columns(session, family)
        by_columns: dict[object, str] = {}
        for number, name in parts.items():
            if number in columns:
                by_columns.setdefault(columns[number], name)
        query = f"SELECT TABLE_ID, NAME FROM information_schema.{_table(family)}"  # noqa: S608
        for number, name in sorted(session.rows(query, what=_WHAT), key=lambda row: row[1]):
            if not _PARTS.search(name) and (part := by_columns.get(columns.get(number))):
                table = _shown(name, self.created) if name in self.numbers else f"the table {name}"
                return _shown(part, self.created), table
        return None

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


def _run_so_far(session: Session) -> tuple[int, int]:
    """How often the server has run RENAME TABLE, and ALTER TABLE."""
    found = {
        str(name).lower(): int(number)
        for name, number in session.rows(
            "SHOW GLOBAL STATUS WHERE VARIABLE_NAME IN ('Com_rename_table', 'Com_alter_table')",
            what=_WHAT,
        )
    }
    return found["com_rename_table"], found["com_alter_table"]


def newest(session: Session, family: Family) -> int:
    """The highest number that any of the server's tables has."""
    query = f"SELECT MAX(TABLE_ID) FROM information_schema.{_table(family)}"  # noqa: S608
    return int(session.one(query, what=_WHAT))


def is_there(session: Session, family: Family, prefix: str) -> bool:
    """Whether InnoDB has a table in a schema that begins so, in ASCII's letters and underscores."""
    query = f"SELECT 1 FROM information_schema.{_table(family)} WHERE NAME LIKE %s LIMIT 1"  # noqa: S608
    return bool(session.rows(query, (prefix.replace("_", r"\_") + "%",), what=_WHAT))


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


def _columns(session: Session, family: Family) -> dict[int, tuple[int, int]]:
    """By a table's number, what is equal for tables whose columns are so: how many, and a sum."""
    source = "INNODB_SYS_COLUMNS" if family.is_mariadb else "INNODB_COLUMNS"
    rows = session.rows(
        "SELECT TABLE_ID, COUNT(*), BIT_XOR(CRC32(CONCAT_WS('/', POS, LOWER(NAME), MTYPE, LEN)))"  # noqa: S608
        f" FROM information_schema.{source} GROUP BY TABLE_ID",
        what=_WHAT,
    )
    return {int(number): (int(count), int(summed)) for number, count, summed in rows}


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
    table, *parts = _PARTS.split(below)
    known = [name for name in tables if re.fullmatch(_encoded(name), table, re.IGNORECASE)]
    shown = identifier(min(known, default=table))
    return f"a partition of {shown} ({'/'.join(parts)})" if parts else f"the table {shown}"
