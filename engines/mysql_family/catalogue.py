"""What there is on a server and in a schema, by information_schema."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from controller.api.errors import BackupError, ObjectNotFound
from engines.mysql_family import versions
from engines.mysql_family.connection import Session, code_of
from engines.mysql_family.quoting import identifier
from engines.mysql_family.versions import Series

_WHAT = "while reading the catalogue"
#: Engines whose rows a snapshot shows, or that have none.
_IN_THE_SNAPSHOT = {"InnoDB", "ROCKSDB", "TokuDB", "ndbcluster", "BLACKHOLE"}
_UNKNOWN_VARIABLE = 1193
_SYNTAX = 1064


@frozen(kw_only=True)
class Identity:
    """Which server this is.

    Args:
        lineage: names the history that its backups belong to.
        lower_case: lower_case_table_names. log_bin: whether it writes a binary log.
        trusts_creators: log_bin_trust_function_creators.
    """

    version: str
    lineage: str
    lower_case: int
    log_bin: bool
    trusts_creators: bool
    series: Series = field(init=False)

    @series.default
    def _series(self) -> Series:
        return versions.series_of(self.version)


@frozen(kw_only=True)
class Table:
    """A table, MariaDB's sequences too.

    Args:
        kind: "BASE TABLE", "VIEW", "SEQUENCE", "SYSTEM VERSIONED".
    """

    name: str
    kind: str
    engine: str

    @property
    def is_view(self) -> bool:
        return self.kind.endswith("VIEW")

    @property
    def is_in_the_snapshot(self) -> bool:
        return self.kind == "SEQUENCE" or self.engine in _IN_THE_SNAPSHOT


@frozen(kw_only=True)
class Code:
    """A view, routine, trigger or event, without its text.

    Args:
        kind: as in DROP: "VIEW", "FUNCTION", "PACKAGE BODY". definer: ``app@%``.
    """

    kind: str
    name: str
    definer: str


def identity(session: Session) -> Identity:
    version = str(session.one("SELECT VERSION()", what=_WHAT))
    rows = session.rows(
        "SELECT @@lower_case_table_names, @@log_bin, @@log_bin_trust_function_creators,"
        " @@server_id",
        what=_WHAT,
    )
    lower_case, log_bin, trusts, server_id = rows[0]
    unique = _variable(session, "server_uuid") or _variable(session, "server_uid")
    return Identity(
        version=version,
        lineage=unique or f"{session.one('SELECT @@hostname', what=_WHAT)}/{server_id}",
        lower_case=int(lower_case),
        log_bin=bool(log_bin),
        trusts_creators=bool(trusts),
    )


def _variable(session: Session, name: str) -> str | None:
    try:
        return str(session.one(f"SELECT @@GLOBAL.{name}", what=_WHAT))
    except BackupError as error:
        if code_of(error) != _UNKNOWN_VARIABLE:
            raise
        return None


def clock(session: Session) -> datetime:
    """The server's clock; sessions of ours are in UTC."""
    now = session.one("SELECT SYSDATE(6)", what="while reading the clock")
    assert isinstance(now, datetime)  # noqa: S101 - the driver's conversion
    return now.replace(tzinfo=UTC)


def position(session: Session, *, is_mariadb: bool) -> dict[str, str]:
    """The binary log's position now: ``file``, ``position``, ``gtid``. Empty: there is no log."""
    rows = _log_status(session, is_mariadb=is_mariadb)
    if not rows:
        return {}
    found = {"file": str(rows[0][0]), "position": str(rows[0][1])}
    gtid = (
        _variable(session, "gtid_binlog_pos") if is_mariadb else _variable(session, "gtid_executed")
    )
    return found | ({"gtid": gtid.replace("\n", "")} if gtid else {})


def logs_every_commit(session: Session, *, is_mariadb: bool) -> bool:
    """Whether the binary log has each commit, in MySQL with a GTID.

    It lacks what filters leave out, and what a replica takes in without logging it. In MariaDB an
    XA COMMIT is logged some time before it is seen. A session that has `sql_log_bin` off is not
    noticed.
    """
    ((_, _, only, but, *_),) = _log_status(session, is_mariadb=is_mariadb)
    if only or but:
        return False
    if not is_mariadb:
        return (
            _variable(session, "gtid_mode") == "ON"
            and _variable(session, "log_replica_updates") == "1"
        )
    status = session.rows(
        "SHOW GLOBAL STATUS WHERE VARIABLE_NAME IN ('Slaves_running', 'Com_xa_commit')",
        what=_WHAT,
    )
    counted = {name.lower(): int(number) for name, number in status}
    takes_in = counted["slaves_running"] > 0 or _variable(session, "wsrep_on") == "1"
    logs_it = _variable(session, "log_slave_updates") == "1"
    return not counted["com_xa_commit"] and (logs_it or not takes_in)


def owns_gtids(session: Session) -> bool:
    """Whether a commit is under way: it owns its GTID from before it is logged until it is seen."""
    return bool(session.one("SELECT @@GLOBAL.gtid_owned", what=_WHAT))


def _log_status(session: Session, *, is_mariadb: bool) -> list[tuple[Any, ...]]:
    """File, position, and the names of schemas that alone are, or are not, logged."""
    what = "while reading the binary log's position"
    if not is_mariadb:
        try:
            return session.rows("SHOW BINARY LOG STATUS", what=what)
        except BackupError as error:  # before 8.2
            if code_of(error) != _SYNTAX:
                raise
    return session.rows("SHOW MASTER STATUS", what=what)


def schema_exists(session: Session, schema: str) -> bool:
    return bool(schemas(session, schema))


def schemas(session: Session, pattern: str, *, is_prefix: bool = False) -> list[str]:
    """Names of schemas: that one, or those that begin with it."""
    rows = session.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA", what=_WHAT)
    names = [str(name) for (name,) in rows]
    return [n for n in names if (n.startswith(pattern) if is_prefix else n == pattern)]


def charset(session: Session, schema: str) -> tuple[str, str]:
    """Default character set and collation of a schema.

    Raises: ObjectNotFound.
    """
    rows = session.rows(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
        " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        (schema,),
        what=_WHAT,
    )
    for name, character_set, collation in rows:
        if name == schema:
            return str(character_set), str(collation)
    raise ObjectNotFound(f'the database "{schema}" does not exist')


def comment(session: Session, schema: str) -> str:
    """Of a schema of MariaDB: MySQL's have none."""
    rows = session.rows(
        "SELECT SCHEMA_NAME, SCHEMA_COMMENT FROM information_schema.SCHEMATA"
        " WHERE SCHEMA_NAME = %s",
        (schema,),
        what=_WHAT,
    )
    return next((str(text) for name, text in rows if name == schema), "")


def tables(session: Session, schema: str) -> list[Table]:
    """Every table, sequence and view, by name."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '')"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'TEMPORARY'",
        (schema,),
        what=_WHAT,
    )
    return sorted(
        (
            Table(name=name, kind=kind, engine=engine)
            for of, name, kind, engine in rows
            if of == schema
        ),
        key=lambda table: table.name,
    )


def sizes(session: Session, schema: str) -> dict[str, int]:
    """Bytes of each table's rows, as the server estimates them."""
    with contextlib.suppress(BackupError):  # MySQL's estimates may be a day old, or missing
        session.run("SET SESSION information_schema_stats_expiry = 0")
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(DATA_LENGTH, 0)"
        " FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW'",
        (schema,),
        what=_WHAT,
    )
    return {str(name): int(size) for of, name, size in rows if of == schema}


#: Kind -> table of information_schema, its column with the schema, what is counted, in which rows.
_COUNTED: dict[str, tuple[str, str, str, str]] = {
    "indexes": ("STATISTICS", "TABLE_SCHEMA", "DISTINCT TABLE_NAME, INDEX_NAME", ""),
    "foreign keys": ("REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA", "*", ""),
    "checks": ("CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA", "*", ""),
    "partitions": ("PARTITIONS", "TABLE_SCHEMA", "*", "PARTITION_NAME IS NOT NULL"),
    "triggers": ("TRIGGERS", "TRIGGER_SCHEMA", "*", ""),
    "routines": ("ROUTINES", "ROUTINE_SCHEMA", "*", ""),
    "functions": ("ROUTINES", "ROUTINE_SCHEMA", "*", "ROUTINE_TYPE = 'FUNCTION'"),
}

_LIBRARIES_COUNTED = {"libraries": ("LIBRARIES", "LIBRARY_SCHEMA", "*", "")}


def counts(session: Session, schema: str, found: Sequence[Table] | None = None) -> dict[str, int]:
    """How many of each kind there are, to compare a copy with.

    Events are not among them: one that has had its time is gone when it is made again.
    """
    found = tables(session, schema) if found is None else found
    counted = {
        "tables": sum(not table.is_view and table.kind != "SEQUENCE" for table in found),
        "sequences": sum(table.kind == "SEQUENCE" for table in found),
        "views": sum(table.is_view for table in found),
        "columns": _columns(session, schema, found),
    }
    kinds = _COUNTED | _LIBRARIES_COUNTED if has_libraries(session) else _COUNTED
    for kind, (source, column, what, only) in kinds.items():
        where = f"{column} = %s AND {only}" if only else f"{column} = %s"
        query = f"SELECT {column}, COUNT({what}) FROM information_schema.{source} WHERE {where}"  # noqa: S608
        rows = session.rows(f"{query} GROUP BY {column}", (schema,), what=_WHAT)
        counted[kind] = next((int(number) for of, number in rows if of == schema), 0)
    return counted


def keyless(session: Session, schema: str, found: Sequence[Table]) -> str:
    """A table without a primary key; empty: there is none."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.STATISTICS"
        " WHERE TABLE_SCHEMA = %s AND INDEX_NAME = 'PRIMARY'",
        (schema,),
        what=_WHAT,
    )
    keyed = {name for of, name in rows if of == schema}
    tables = (t.name for t in found if not t.is_view and t.kind != "SEQUENCE")
    return next((name for name in tables if name not in keyed), "")


def broken_views(session: Session, schema: str, views: Sequence[str]) -> set[str]:
    """Those that the server could not make again: they refer to what is not there.

    Args:
        schema: the session's. views: all of it, or some.
    """
    if not views:
        return set()
    rows = session.rows(f"CHECK TABLE {', '.join(map(identifier, views))}", what=_WHAT)
    # "schema.view", unquoted: either may have a dot in it.
    at = len(schema) + 1
    return {name[at:] for name, _, kind, _ in rows if str(kind).lower() == "error"}


def _columns(session: Session, schema: str, found: Sequence[Table]) -> int:
    """Of tables alone: what a broken view shows is the server's guess."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COUNT(*) FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s GROUP BY TABLE_SCHEMA, TABLE_NAME",
        (schema,),
        what=_WHAT,
    )
    of_tables = {table.name for table in found if not table.is_view}
    return sum(int(number) for of, name, number in rows if of == schema and name in of_tables)


def foreign_references(session: Session, schema: str) -> list[tuple[str, str, str]]:
    """Tables of other schemas whose foreign keys point into this one: schema, table, key."""
    rows = session.rows(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA"
        " FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA = %s"
        " AND CONSTRAINT_SCHEMA <> %s",
        (schema, schema),
        what=_WHAT,
    )
    return [(of, table, key) for of, table, key, into in rows if into == schema]


#: Table of information_schema, what its columns begin with, its kind and its definer as SQL.
_CODE = (
    ("VIEWS", "TABLE", "'VIEW'", "DEFINER"),
    ("ROUTINES", "ROUTINE", "ROUTINE_TYPE", "DEFINER"),
    ("TRIGGERS", "TRIGGER", "'TRIGGER'", "DEFINER"),
    ("EVENTS", "EVENT", "'EVENT'", "DEFINER"),
)
#: A library runs as who calls it.
_LIBRARIES = ("LIBRARIES", "LIBRARY", "'LIBRARY'", "''")


def code(session: Session, schema: str) -> list[Code]:
    """What is in a schema besides tables; none: there is no such schema."""
    found: list[Code] = []
    for source, prefix, kind, whose in (*_CODE, _LIBRARIES) if has_libraries(session) else _CODE:
        rows = session.rows(
            f"SELECT {prefix}_SCHEMA, {kind}, {prefix}_NAME, {whose}"  # noqa: S608
            f" FROM information_schema.{source} WHERE {prefix}_SCHEMA = %s",
            (schema,),
            what=_WHAT,
        )
        found += [
            Code(kind=kind, name=name, definer=definer)
            for of, kind, name, definer in rows
            if of == schema
        ]
    return found


def has_libraries(session: Session) -> bool:
    """Whether a schema of this server may have libraries of code: MySQL's do, since 9.2."""
    return bool(
        session.rows(
            "SELECT 1 FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'LIBRARIES'",
            what=_WHAT,
        )
    )


def libraries(session: Session, schema: str) -> list[str]:
    """Names of a schema's libraries, in their order."""
    if not has_libraries(session):
        return []
    rows = session.rows(
        "SELECT LIBRARY_SCHEMA, LIBRARY_NAME FROM information_schema.LIBRARIES"
        " WHERE LIBRARY_SCHEMA = %s",
        (schema,),
        what=_WHAT,
    )
    return sorted(name for of, name in rows if of == schema)


def undeclared_functions(session: Session, schema: str) -> list[str]:
    """Those that nobody may make while a binary log's server does not trust their makers."""
    rows = session.rows(
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES"
        " WHERE ROUTINE_SCHEMA = %s AND ROUTINE_TYPE = 'FUNCTION' AND IS_DETERMINISTIC = 'NO'"
        " AND SQL_DATA_ACCESS NOT IN ('NO SQL', 'READS SQL DATA')",
        (schema,),
        what=_WHAT,
    )
    return [name for of, name in rows if of == schema]
