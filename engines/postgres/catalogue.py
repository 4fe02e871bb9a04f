"""Questions to the system catalogues of one database."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from engines.postgres.connection import Session, one_row
from engines.postgres.quoting import identifier, sql

#: What users made: not the system's, not temporary.
_USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def _not_part_of(catalogue: str, oid: str, *kinds: str) -> str:
    """Leaves out what belongs to an extension (e) or was made along with something else (i)."""
    wanted = ", ".join(f"'{kind}'" for kind in kinds)
    return (
        "NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.deptype IN (" + wanted + ") AND "
        f"x.classid = 'pg_catalog.{catalogue}'::pg_catalog.regclass AND x.objid = {oid} "
        "AND x.objsubid = 0)"
    )


@frozen(kw_only=True)
class Table:
    """A table with rows of its own, or a partitioned one."""

    oid: int
    schema: str
    name: str
    kind: str
    size_bytes: int
    of_extension: bool

    @property
    def quoted(self) -> str:
        return f"{identifier(self.schema)}.{identifier(self.name)}"


def tables(session: Session, *, sizes: bool = False) -> list[Table]:
    """Every table whose definition or rows a dump contains.

    An extension's table is in a dump only if the extension says that it holds
    configuration.
    """
    size = "pg_catalog.pg_table_size(c.oid)" if sizes else "0"
    rows = session.execute(
        sql(f"""
        SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text,
               coalesce({size}, 0)::int8, e.oid IS NOT NULL
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {_USER_SCHEMA}
          AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))
        ORDER BY c.oid
        """)  # noqa: S608 - built from constants
    ).fetchall()
    return [
        Table(oid=oid, schema=schema, name=name, kind=kind, size_bytes=size, of_extension=ext)
        for oid, schema, name, kind, size, ext in rows
    ]


_COUNTS = {
    "tables": ("pg_class", "relkind IN ('r', 'p') AND relpersistence <> 't'"),
    "foreign_tables": ("pg_class", "relkind = 'f'"),
    "views": ("pg_class", "relkind = 'v' AND relpersistence <> 't'"),
    "materialized_views": ("pg_class", "relkind = 'm'"),
    "sequences": ("pg_class", "relkind = 'S' AND relpersistence <> 't'"),
}


def counts(session: Session) -> dict[str, int]:
    """How many objects of each kind users made, the same before a dump and after its restore.

    Left out is what may rightly differ: an extension's objects (its version
    may), invalid indexes (not dumped), NOT NULL constraints (rows of
    pg_constraint since 18), what PostgreSQL makes by itself for a type.
    """
    in_schema = "JOIN pg_catalog.pg_namespace n ON n.oid = o.{column} AND " + _USER_SCHEMA
    of_class = (
        "JOIN pg_catalog.pg_class c ON c.oid = o.{column} AND c.relpersistence <> 't' "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND "
        + _USER_SCHEMA
        + " AND "
        + _not_part_of("pg_class", "c.oid", "e")
    )
    queries = {
        name: f"pg_catalog.{table} o {in_schema.format(column='relnamespace')} "
        f"WHERE o.{condition} AND {_not_part_of('pg_class', 'o.oid', 'e')}"
        for name, (table, condition) in _COUNTS.items()
    }
    queries |= {
        "schemas": f"pg_catalog.pg_namespace n WHERE {_USER_SCHEMA} "
        f"AND {_not_part_of('pg_namespace', 'n.oid', 'e')}",
        "indexes": f"pg_catalog.pg_index o {of_class.format(column='indrelid')} WHERE o.indisvalid",
        "constraints": f"pg_catalog.pg_constraint o {of_class.format(column='conrelid')} "
        "WHERE o.contype IN ('c', 'f', 'p', 'u', 'x')",
        "triggers": f"pg_catalog.pg_trigger o {of_class.format(column='tgrelid')} "
        "WHERE NOT o.tgisinternal",
        "policies": f"pg_catalog.pg_policy o {of_class.format(column='polrelid')}",
        "rules": f"pg_catalog.pg_rewrite o {of_class.format(column='ev_class')} "
        "WHERE o.rulename <> '_RETURN'",
        "functions": f"pg_catalog.pg_proc o {in_schema.format(column='pronamespace')} "
        f"WHERE {_not_part_of('pg_proc', 'o.oid', 'e', 'i')}",
        "types": f"pg_catalog.pg_type o {in_schema.format(column='typnamespace')} "
        "LEFT JOIN pg_catalog.pg_class c ON c.oid = o.typrelid "
        "WHERE (o.typrelid = 0 OR c.relkind = 'c') AND o.typelem = 0 "
        f"AND {_not_part_of('pg_type', 'o.oid', 'e', 'i')}",
        "extensions": "pg_catalog.pg_extension o WHERE true",
        "event_triggers": "pg_catalog.pg_event_trigger o "
        f"WHERE {_not_part_of('pg_event_trigger', 'o.oid', 'e')}",
        "publications": "pg_catalog.pg_publication o WHERE true",
        "large_objects": "pg_catalog.pg_largeobject_metadata o WHERE true",
    }
    # One statement: it is asked within the snapshot, and with a job's patience.
    columns = ", ".join(
        f"(SELECT pg_catalog.count(*) FROM {query})"  # noqa: S608 - built from constants
        for query in queries.values()
    )
    row = one_row(session, f"SELECT {columns}")
    return dict(zip(queries, row, strict=True))


#: Where what users make is entered, with the columns of its OID and of its schema, if it has one.
#: Left out is what belongs to something else here (an index, a trigger, a policy).
_MADE = (
    ("pg_class", "oid", "relnamespace"),
    ("pg_proc", "oid", "pronamespace"),
    ("pg_type", "oid", "typnamespace"),
    ("pg_operator", "oid", "oprnamespace"),
    ("pg_opclass", "oid", "opcnamespace"),
    ("pg_opfamily", "oid", "opfnamespace"),
    ("pg_collation", "oid", "collnamespace"),
    ("pg_conversion", "oid", "connamespace"),
    ("pg_statistic_ext", "oid", "stxnamespace"),
    ("pg_ts_config", "oid", "cfgnamespace"),
    ("pg_ts_dict", "oid", "dictnamespace"),
    ("pg_ts_parser", "oid", "prsnamespace"),
    ("pg_ts_template", "oid", "tmplnamespace"),
    ("pg_am", "oid", ""),
    ("pg_cast", "oid", ""),
    ("pg_default_acl", "oid", ""),
    ("pg_event_trigger", "oid", ""),
    ("pg_foreign_data_wrapper", "oid", ""),
    ("pg_foreign_server", "oid", ""),
    ("pg_language", "oid", ""),
    ("pg_largeobject_metadata", "oid", ""),
    ("pg_publication", "oid", ""),
    ("pg_transform", "oid", ""),
    ("pg_user_mappings", "umid", ""),  # the view: the table is for superusers alone
)
#: FirstNormalObjectId: lower ones were given by initdb.
_FIRST_OID = 16384


def is_empty(session: Session) -> bool:
    """Whether users made nothing here; extensions and empty schemas do not count.

    They may be there before a restore: services put them into every new
    database. Asked is every catalogue that a dump reads, not a list of kinds
    that seem to matter: what this misses could be lost.
    """
    return not _any(session, [_made(*each) for each in _MADE])


def is_bare(session: Session) -> bool:
    """Whether it is empty, without schemas and extensions too: nothing can be missed."""
    schemas = f"pg_catalog.pg_namespace n WHERE {_USER_SCHEMA} AND n.nspname <> 'public'"
    extensions = "pg_catalog.pg_extension o WHERE o.extname <> 'plpgsql'"
    return not _any(session, [schemas, extensions]) and is_empty(session)


def _made(catalogue: str, oid: str, schema: str) -> str:
    """FROM and WHERE of what users entered there, without what extensions brought."""
    table = catalogue.removesuffix("s") if catalogue == "pg_user_mappings" else catalogue
    where = f"WHERE o.{oid} >= {_FIRST_OID} AND {_not_part_of(table, f'o.{oid}', 'e', 'i')}"
    if not schema:
        return f"pg_catalog.{catalogue} o {where}"
    return (
        f"pg_catalog.{catalogue} o JOIN pg_catalog.pg_namespace n ON n.oid = o.{schema} "
        f"AND {_USER_SCHEMA} {where}"
    )


def _any(session: Session, queries: Sequence[str]) -> bool:
    exist = " OR ".join(f"EXISTS (SELECT FROM {query})" for query in queries)
    return bool(one_row(session, f"SELECT {exist}")[0])


def extensions(session: Session) -> dict[str, str]:
    """Installed extensions, without the one that every database has."""
    return dict(
        session.execute(
            "SELECT extname, extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'"
        ).fetchall()
    )


def tablespaces(session: Session) -> list[str]:
    """Tablespaces that objects of this database name."""
    rows = session.execute(
        """
        SELECT DISTINCT s.spcname FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
        WHERE s.spcname !~ '^pg_' ORDER BY 1
        """
    ).fetchall()
    return [name for (name,) in rows]


def has_public_schema(session: Session) -> bool:
    row = one_row(
        session, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public')"
    )
    return bool(row[0])


def server_major(session: Session) -> int:
    return session.info.server_version // 10000


def server_version(session: Session) -> str:
    return str(one_row(session, "SELECT current_setting('server_version')")[0])


def analyzable(session: Session) -> tuple[list[str], list[str]]:
    """Quoted names of what ANALYZE can read: single tables, large ones first; partitioned ones."""
    rows = session.execute(
        """
        SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind = 'p'
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT LIKE 'pg\\_%'
            AND n.nspname <> 'information_schema'
        ORDER BY pg_catalog.pg_relation_size(c.oid) DESC
        """
    ).fetchall()
    return [name for name, is_parent in rows if not is_parent], [
        name for name, is_parent in rows if is_parent
    ]
