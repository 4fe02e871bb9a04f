"""Rows as a restore makes them, in SQL, and so before there is one.

A FLOAT has the 6 digits then that a server shows, and what is computed is computed anew, of these
digits and in the time zone +00:00, which is that of all sessions of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import evolve

from controller.api.errors import BackupError, RetriableError, TerminalError
from engines.mysql_family import generated
from engines.mysql_family.connection import Session
from engines.mysql_family.generated import Column
from engines.mysql_family.quoting import identifier

_WHAT = "while looking for rows that no restore brings back"
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


def columns(
    session: Session, schema: str, tables: Sequence[str], *, is_mariadb: bool
) -> dict[str, dict[str, Column]]:
    """Columns of those tables, with expressions that are SQL."""
    found = generated.read(session, schema, tables)
    if is_mariadb:
        return found
    return {
        table: {
            name: evolve(column, expression=unquoted(column.expression))
            for name, column in of_table.items()
        }
        for table, of_table in found.items()
    }


def of_expression(name: str, expression: str) -> Column:
    """What has no type of its own: a part of a key, or a CHECK."""
    return Column(
        name=name, kind="", shown="", collation="", is_stored=False, expression=expression
    )


def finds(session: Session, query: str) -> bool:
    """Whether there is such a row."""
    try:
        return bool(session.rows(query, what=_WHAT))
    except (RetriableError, TerminalError):
        raise
    except BackupError:
        # The table is gone, or an expression is one of another sql_mode: nothing is known.
        return False


def rows(table: str, needed: Sequence[Column], columns: Mapping[str, Column]) -> str:
    """A subquery with these columns as a restore fills them; empty: that is not known."""
    left = {column.name: column for column in needed}
    plain = [left.pop(name) for name in list(left) if not left[name].expression]
    made = f"SELECT {', '.join(map(_loaded, plain))} FROM {table} LIMIT {_ALL}"  # noqa: S608
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
        made = f"SELECT loaded.*, {', '.join(kept)} FROM ({made}) loaded"  # noqa: S608
        for column in ready:
            del left[column.name]
    return f"({made}) loaded"


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


def unquoted(expression: str) -> str:
    """As SQL: MySQL shows it quoted once more, and each of its bytes as a character."""
    plain = _ESCAPED.sub(r"\1", expression)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return plain
