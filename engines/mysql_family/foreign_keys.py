"""Foreign keys that do not move with their tables: those that point at no table.

A server lets them be made while `foreign_key_checks` is off. One that points at a table that is
moved in the same statement follows it; one that points at none keeps the schema's name that it was
made with. So these are taken away before a move and given again after it, as checks are off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from controller.api.errors import Problem
from engines.mysql_family import catalogue
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_WHAT = "while reading foreign keys"
#: The rule of a key for which none was written. Where it is MariaDB's, an ALTER that writes it out
#: makes another one of it.
_NO_RULE = "IF(VERSION() LIKE '%%MariaDB%%', 'RESTRICT', 'NO ACTION')"
_KEYS = f"""
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA,
       REFERENCED_TABLE_NAME, NULLIF(UPDATE_RULE, {_NO_RULE}), NULLIF(DELETE_RULE, {_NO_RULE})
  FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s
"""  # noqa: S608 - a constant
_COLUMNS = """
SELECT TABLE_SCHEMA, COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE
 WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND CONSTRAINT_NAME = %s
   AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY ORDINAL_POSITION
"""
_BACKQUOTED = """
SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME
  FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s
   AND CONCAT(CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME) LIKE '%%`%%'
"""


@frozen(kw_only=True)
class ForeignKey:
    """One that points at `into`, a table of its own schema.

    Args:
        columns: of `table`, and those of `into` that they point at, in the same order.
        rules: what happens to a row, as SQL: "ON DELETE SET NULL"; empty: nothing was said.
    """

    table: str
    name: str
    into: str
    columns: Sequence[tuple[str, str]]
    rules: str


def problems(session: Session, database: str) -> list[Problem]:
    """Keys that the server itself writes down wrong: before 11.8 MariaDB doubles no backquote."""
    rows = session.rows(_BACKQUOTED, (database,), what=_WHAT)
    found = {}
    for place, table, name, own, other in rows:
        if place != database:  # names are compared without case
            continue
        ((_, text, *_),) = session.rows(
            f"SHOW CREATE TABLE {qualified(database, table)}", what=_WHAT
        )
        _, _, key = str(text).partition(f"CONSTRAINT {identifier(name)} FOREIGN KEY ")
        columns, _, target = key.partition(" REFERENCES ")
        if identifier(own) not in columns or identifier(other) not in target:
            found[table, name] = Problem(
                "tables",
                f"the server does not double the backquote in {identifier(name)} of "
                f"{identifier(table)}, and no dump of it could be loaded: give that foreign key "
                "and all of its columns names without one, or upgrade to MariaDB 11.8",
            )
    return list(found.values())


def hindrances(session: Session, database: str, *, tables_in: str = "") -> list[Problem]:
    """Keys of other schemas that follow the tables of a database when these are replaced.

    Args:
        tables_in: where its tables are by now; empty: still in it.
    """
    return [
        Problem(
            "target",
            f"the foreign key {identifier(key)} of {qualified(schema, table)} points into "
            f"{identifier(database)} and would follow its old tables: ALTER TABLE "
            f"{qualified(schema, table)} DROP FOREIGN KEY {identifier(key)};",
        )
        for schema, table, key in catalogue.foreign_references(session, tables_in or database)
    ]


def loose(session: Session, schema: str, tables: Sequence[Table], *, of: str) -> list[ForeignKey]:
    """Those of a schema that would not point at their table once all are moved to the schema `of`.

    They point at none that is in `tables`; or into `of` itself, whose tables leave first.
    """
    there = {table.name for table in tables}
    return [
        *(key for key in pointing_into(session, schema, schema) if key.into not in there),
        *(pointing_into(session, schema, of) if of != schema else ()),
    ]


def pointing_into(session: Session, schema: str, other: str) -> list[ForeignKey]:
    """Those of a schema that point into another one, as if they were to point into their own."""
    rows = session.rows(_KEYS, (schema,), what=_WHAT)
    return [
        ForeignKey(
            table=table,
            name=name,
            into=into,
            columns=[
                (column, referenced)
                for of, column, referenced in session.rows(
                    _COLUMNS, (schema, table, name), what=_WHAT
                )
                if of == schema
            ],
            rules=(f" ON DELETE {on_delete}" if on_delete else "")
            + (f" ON UPDATE {on_update}" if on_update else ""),
        )
        for place, table, name, points, into, on_update, on_delete in rows
        if place == schema and points == other
    ]


def take_away(found: Sequence[ForeignKey], schema: str) -> list[str]:
    return [
        f"ALTER TABLE {qualified(schema, one.table)} DROP FOREIGN KEY {identifier(one.name)}"
        for one in found
    ]


def give(found: Sequence[ForeignKey], *, schema: str, table: str = "") -> list[str]:
    """Statements that give keys to tables of a schema, which they then point into.

    Args:
        table: name that the table has at the moment, if not its own.
    """
    return [
        f"ALTER TABLE {qualified(schema, table or one.table)} ADD CONSTRAINT"
        f" {identifier(one.name)} FOREIGN KEY ({_listed(own for own, _ in one.columns)})"
        f" REFERENCES {qualified(schema, one.into)} ({_listed(other for _, other in one.columns)})"
        f"{one.rules}"
        for one in found
    ]


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(identifier, columns))
