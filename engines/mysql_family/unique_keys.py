"""Rows whose unique keys would meet in a restore, so that no server could load them both.

A server shows 6 digits of a FLOAT, and what a key has that is computed - a generated column, or an
expression of MySQL's - is computed anew, of these digits and in the time zone +00:00. Only tables
with such keys are looked into.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from controller.api.errors import BackupError, Problem, RetriableError, TerminalError
from engines.mysql_family import generated
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
#: What a column makes of a value that it keeps. Of other types it is not known.
_KEPT_AS = (
    (re.compile(r"(?:double|year|(?:var)?binary\(\d+\))"), "{0}"),
    (re.compile(r"float(?: unsigned)?"), "CAST({0} AS FLOAT)"),
    (re.compile(r"date"), "CAST({0} AS DATE)"),
    (re.compile(r"(?:datetime|timestamp)(\(\d\))?"), "CAST({0} AS DATETIME{1})"),
    (re.compile(r"time(\(\d\))?"), "CAST({0} AS TIME{1})"),
    (re.compile(r"(?:tiny|small|medium|big)?int(?:\(\d+\))?"), "CAST({0} AS SIGNED)"),
    (re.compile(r"(?:tiny|small|medium|big)?int(?:\(\d+\))? unsigned"), "CAST({0} AS UNSIGNED)"),
    (re.compile(r"decimal(\(\d+,\d+\))"), "CAST({0} AS DECIMAL{1})"),
)
_TEXT = re.compile(r"(?:var)?char\(\d+\)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: A subquery with a limit is computed first, and not as a part of what is around it, where MySQL
#: would read a generated column in place of the expression.
_ALL = 2**64 - 1


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
    tables = generated.read(session, database, sorted({table for table, _ in computed}))
    if not is_mariadb:
        tables = {
            table: {
                name: evolve(column, expression=_unquoted(column.expression))
                for name, column in columns.items()
            }
            for table, columns in tables.items()
        }
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
                expression=_unquoted(expression or ""),
            )
            keys.setdefault((table, index), []).append(part)
    return keys


def _floats(session: Session, database: str, table: str, index: str, parts: Sequence[_Part]) -> str:
    """What to say of a key of columns alone; empty: nothing."""
    floats = [part.column for part in parts if part.kind == "float"]
    shown = {name: f"CONCAT({identifier(name)})" for name in floats}
    if not floats or not _finds(session, _alike(qualified(database, table), parts, shown)):
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


def _finds(session: Session, query: str) -> bool:
    try:
        return bool(session.rows(query, what=_WHAT))
    except (RetriableError, TerminalError):
        raise
    except BackupError:
        # The table is gone, or an expression is one of another sql_mode: nothing is known.
        return False


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
    rows = _anew(qualified(database, table), needed, columns) if is_zoned or floats else ""
    if not rows or not _finds(session, _alike(rows, key, {})):
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
            with_them[name] = Column(
                name=name,
                kind="",
                shown="",
                collation="",
                is_stored=False,
                expression=part.expression,
            )
        key.append(evolve(part, column=name))
    return key, with_them


def _anew(table: str, needed: Sequence[Column], columns: Mapping[str, Column]) -> str:
    """A subquery with these columns as a restore fills them; empty: that is not known."""
    left = {column.name: column for column in needed}
    plain = [left.pop(name) for name in list(left) if not left[name].expression]
    rows = f"SELECT {', '.join(map(_loaded, plain))} FROM {table} LIMIT {_ALL}"  # noqa: S608
    while left:
        # A text in an expression may look like the name of its own column.
        ready = [
            column
            for column in left.values()
            if all(one.name not in left or one == column for one in column.sources(columns))
        ]
        kept = [_kept(column) for column in ready]
        if not ready or not all(kept):
            return ""
        rows = f"SELECT loaded.*, {', '.join(kept)} FROM ({rows}) loaded"  # noqa: S608
        for column in ready:
            del left[column.name]
    return f"({rows}) loaded"


def _loaded(column: Column) -> str:
    """A column that is not computed, as it comes back."""
    name = identifier(column.name)
    return f"CAST(CONCAT({name}) AS FLOAT) AS {name}" if column.kind == "float" else name


def _kept(column: Column) -> str:
    """What a computed column comes to hold; empty: that is not known."""
    name, value = identifier(column.name), f"({column.expression})"
    if not column.shown:
        return f"{value} AS {name}"
    if _TEXT.fullmatch(column.shown):
        character_set = column.collation.partition("_")[0]
        return f"CONVERT({value} USING {character_set}) COLLATE {column.collation} AS {name}"
    for kind, kept in _KEPT_AS:
        if found := kind.fullmatch(column.shown):
            return f"{kept.format(value, *(group or '' for group in found.groups()))} AS {name}"
    return ""


def _unquoted(expression: str) -> str:
    """As SQL: MySQL shows it quoted once more, and each of its bytes as a character."""
    plain = _ESCAPED.sub(r"\1", expression)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return plain
