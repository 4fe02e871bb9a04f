"""MariaDB's system-versioned tables: what a dump cannot hold, and rows that a newer server loads.

A row that is valid now ends at the last instant that there is, and a dump says when that is. Since
11.5 it is another one, so that what an older server calls valid is over for a newer one: there its
tables would be empty but for their history. `mariadb-dump --update-history` cures it only where
the newer server's tool dumps the older server.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from controller.api.errors import Problem
from engines.interface import Progress
from engines.mysql_family import catalogue, progress, versions
from engines.mysql_family.connection import Server, Session
from engines.mysql_family.quoting import identifier, qualified

_LONGER_SINCE = (11, 5)
_OLD_END = "'2038-01-19 03:14:07.999999'"
_END = "'2106-02-07 06:28:15.999999'"
#: Where rows are for as long as their table is emptied.
_ROWS = "dbb_history"
#: Rows are as they were stored, as in a dump.
_AS_STORED = (
    "SET STATEMENT sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks = 0,"
    " check_constraint_checks = 0, system_versioning_insert_history = 1 FOR "
)
_WHAT = "while telling which rows of system-versioned tables are valid"


@frozen(kw_only=True)
class _Versioned:
    """A system-versioned table.

    Args:
        columns: those that have values of their own.
        start, end: those that say when a row is valid, which nobody has to name.
    """

    name: str
    columns: tuple[str, ...]
    start: str
    end: str


def problems(session: Session, database: str) -> list[Problem]:
    """Tables with a history by transaction, which `mariadb-dump` refuses when it comes to them."""
    found: dict[str, list[str]] = {}
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND DATA_TYPE = 'bigint'"
        " AND GENERATION_EXPRESSION IN ('ROW START', 'ROW END')",
        (database,),
        what="while looking for tables with history",
    )
    for place, table, column in rows:
        if place == database:  # names are compared without case
            found.setdefault(table, []).append(f"DROP COLUMN {identifier(column)}")
    return [
        Problem(
            "tables",
            f"the history of {identifier(table)} is by transaction, which no dump can hold; "
            "without that history, which is lost: SET system_versioning_alter_history = KEEP; "
            f"ALTER TABLE {qualified(database, table)} {', '.join(columns)}, "
            "DROP SYSTEM VERSIONING;",
        )
        for table, columns in found.items()
    ]


def lengthen(
    server: Server,
    session: Session,
    schema: str,
    *,
    source_version: str,
    report: Callable[[Progress], None],
) -> None:
    """Give rows that are valid the end that this server has for them.

    Each table that has such rows is written twice. There must be no triggers yet.

    Args:
        source_version: of the server whose tables were loaded into `schema`.
    """
    here = catalogue.identity(session).series
    if not versions.series_of(source_version) < _LONGER_SINCE <= here:
        return
    with progress.watched(server, [session], progress.Stage("history", report)):
        for table in catalogue.tables(session, schema):
            if table.kind == "SYSTEM VERSIONED":
                _lengthen(session, schema, _read(session, schema, table.name))


def _read(session: Session, schema: str, table: str) -> _Versioned:
    found = session.rows(
        "SELECT COLUMN_NAME, IS_GENERATED, GENERATION_EXPRESSION"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        " ORDER BY ORDINAL_POSITION",
        (schema, table),
        what=_WHAT,
    )
    named = {expression: name for name, _, expression in found}
    return _Versioned(
        name=table,
        columns=tuple(name for name, is_generated, _ in found if is_generated == "NEVER"),
        start=named.get("ROW START", "row_start"),
        end=named.get("ROW END", "row_end"),
    )


def _lengthen(session: Session, schema: str, table: _Versioned) -> None:
    """History cannot be changed, but written."""
    place, kept = qualified(schema, table.name), qualified(schema, _ROWS)
    columns = ", ".join(map(identifier, table.columns))
    start, end = identifier(table.start), identifier(table.end)
    rows = f"SELECT {columns}, {start}, {end} FROM {place} FOR SYSTEM_TIME ALL"  # noqa: S608 - quoted
    if not session.rows(f"{rows} WHERE {end} = {_OLD_END} LIMIT 1", what=_WHAT):
        return
    session.run(
        f"CREATE TABLE {kept} {rows}",
        f"DELETE HISTORY FROM {place}",
        f"{_AS_STORED}INSERT INTO {place} ({columns}, {start}, {end})"  # noqa: S608 - quoted
        f" SELECT {columns}, {start}, IF({end} = {_OLD_END}, {_END}, {end}) FROM {kept}",
        f"DROP TABLE {kept}",
        what=_WHAT,
    )
