"""Rows whose unique keys would meet in a restore, so that no server could load them both.

A server shows 6 digits of a FLOAT, and what a key has that is computed - a generated column, or an
expression of MySQL's - is computed anew, of these digits and in the time zone +00:00. Only tables
with such keys are looked into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from controller.api.errors import Problem
from engines.mysql_family import anew
from engines.mysql_family.connection import Session
from engines.mysql_family.generated import Column
from engines.mysql_family.quoting import identifier, qualified

_WHAT = "while looking for unique keys that no restore brings back"
_UNIQUE = """
SELECT s.TABLE_SCHEMA, s.TABLE_NAME, s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, c.DATA_TYPE,
       COALESCE(c.GENERATION_EXPRESSION, ''), {expression}
  FROM information_schema.STATISTICS s LEFT JOIN information_schema.COLUMNS c
    ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME
       AND c.COLUMN_NAME = s.COLUMN_NAME
 WHERE s.TABLE_SCHEMA = %s AND s.NON_UNIQUE = 0 ORDER BY s.TABLE_NAME, s.INDEX_NAME, s.SEQ_IN_INDEX
"""


@frozen(kw_only=True)
class _Part:
    """Of a key: a column, so many characters of it, or what is computed for the key alone.

    Args:
        is_computed: also a generated column. expression: of the key alone; else empty.
    """

    column: str
    length: int | None
    kind: str
    is_computed: bool
    expression: str


def problems(session: Session, database: str, *, is_mariadb: bool) -> list[Problem]:
    """Keys with such rows, each with the cure."""
    keys = _read(session, database, has_expressions=not is_mariadb)
    computed = {at: key for at, key in keys.items() if any(part.is_computed for part in key)}
    names = sorted({table for table, _ in computed})
    tables = anew.columns(session, database, names, is_mariadb=is_mariadb)
    found = []
    for (table, index), parts in keys.items():
        if (table, index) in computed:
            said = _computed(session, (database, table, index), parts, tables.get(table, {}))
        else:
            said = _floats(session, database, table, index, parts)
        found += [Problem("tables", said)] if said else []
    return found


def _read(
    session: Session, database: str, *, has_expressions: bool
) -> dict[tuple[str, str], list[_Part]]:
    """Unique keys by table and name."""
    query = _UNIQUE.format(expression="s.EXPRESSION" if has_expressions else "NULL")
    keys: dict[tuple[str, str], list[_Part]] = {}
    for place, table, index, column, length, kind, computed, expression in session.rows(
        query, (database,), what=_WHAT
    ):
        if place == database:
            part = _Part(
                column=column or "",
                length=length,
                kind=kind or "",
                is_computed=bool(computed or expression),
                expression=anew.unquoted(expression or ""),
            )
            keys.setdefault((table, index), []).append(part)
    return keys


def _floats(session: Session, database: str, table: str, index: str, parts: Sequence[_Part]) -> str:
    """What to say of a key of columns alone; empty: nothing."""
    floats = [part.column for part in parts if part.kind == "float"]
    shown = {name: f"CONCAT({identifier(name)})" for name in floats}
    if not floats or not anew.finds(session, _alike(qualified(database, table), parts, shown)):
        return ""
    return _said_of_floats(database, table, index, floats)


def _said_of_floats(database: str, table: str, index: str, floats: Sequence[str]) -> str:
    named = ", ".join(map(identifier, floats))
    return (
        f"rows of {qualified(database, table)} differ in {named} by less than the 6 digits that "
        f"the server shows of a FLOAT: with the unique key {identifier(index)} no restore could "
        f"load them both. ALTER TABLE {qualified(database, table)} MODIFY {identifier(floats[0])} "
        "DOUBLE;"
    )


def _alike(rows: str, parts: Sequence[_Part], shown: Mapping[str, str]) -> str:
    """A query for two rows whose keys are shown alike."""
    keys, whole = [], []
    for part in parts:
        name = identifier(part.column)
        whole.append(f"{name} IS NOT NULL")
        key = f"LEFT({name}, {part.length})" if part.length else name
        keys.append(shown.get(part.column, key))
    return (
        f"SELECT 1 FROM {rows} WHERE {' AND '.join(whole)}"  # noqa: S608
        f" GROUP BY {', '.join(keys)} HAVING COUNT(*) > 1 LIMIT 1"
    )


def _computed(
    session: Session,
    at: tuple[str, str, str],
    parts: Sequence[_Part],
    columns: Mapping[str, Column],
) -> str:
    """What to say of a key of which something is computed; empty: nothing.

    Args:
        at: database, table and key. columns: of the table.
    """
    database, table, index = at
    key, columns = _with_columns(parts, columns)
    of_key = [columns[part.column] for part in key if part.column in columns]
    needed = [one for column in of_key for one in (column, *column.sources(columns))]
    plain = list(dict.fromkeys(column for column in needed if not column.expression))
    floats = [column.name for column in plain if column.kind == "float"]
    is_zoned = any(one.expression and one.depends_on_zone(columns) for one in of_key)
    rows = anew.rows(qualified(database, table), needed, columns) if is_zoned or floats else ""
    if not rows or not anew.finds(session, _alike(rows, key, {})):
        return ""
    if not is_zoned:
        return _said_of_floats(database, table, index, floats)
    times = [identifier(column.name) for column in plain if column.kind == "timestamp"]
    alter = f"ALTER TABLE {qualified(database, table)}"
    cure = f"{alter} DROP INDEX {identifier(index)};"
    if times:
        cure = (
            "Compute it of a DATETIME, which has no time zone: SET time_zone = ...; "
            f"{alter} MODIFY {times[0]} DATETIME; or {cure}"
        )
    return (
        f"rows of {qualified(database, table)} are alike in the unique key {identifier(index)} in "
        "the time zone +00:00, in which a restore computes it anew: it could not load them both. "
        f"{cure}"
    )


def _with_columns(
    parts: Sequence[_Part], columns: Mapping[str, Column]
) -> tuple[list[_Part], dict[str, Column]]:
    """The same key, and a column for each part that is computed for the key alone."""
    key, with_them = [], dict(columns)
    for number, part in enumerate(parts):
        name = part.column
        if part.expression:
            name = f"key {number}"
            while name in with_them:
                name += "_"
            with_them[name] = anew.of_expression(name, part.expression)
        key.append(evolve(part, column=name))
    return key, with_them
