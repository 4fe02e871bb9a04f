"""What would make a backup or a restore fail, found before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.api.errors import PreflightFailed, Problem
from engines.interface import BackupFacts, Target
from engines.postgres import archive, roles, swap, tools, versions
from engines.postgres.catalogue import server_major
from engines.postgres.connection import Session, driver_errors
from engines.postgres.quoting import identifier, literal
from engines.postgres.target import TargetState

_SHOWN = 5


def backup(session: Session, environ: Mapping[str, str]) -> list[Problem]:
    """Problems of a backup; `session` is in the database."""
    major = server_major(session)
    found = _version(major)
    try:
        tools.for_dump(environ, major)
    except PreflightFailed as failed:
        found += failed.problems
    me = roles.ourselves(session)
    if me.superuser:
        return found
    with driver_errors("while looking at rights"):
        found += _unreadable(session, me, major)
        found += _row_security(session, me)
        found += _large_objects(session, me)
    return found


def _version(major: int) -> list[Problem]:
    oldest = min(versions.PAST_END_OF_LIFE)
    if major < oldest:
        return [Problem("server", f"PostgreSQL {major} is too old; {oldest} is the oldest known")]
    return []


def _unreadable(session: Session, me: roles.Ourselves, major: int) -> list[Problem]:
    rows = session.execute(
        """
        SELECT n.nspname, c.relname,
               pg_catalog.has_schema_privilege(n.oid, 'USAGE')
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
             AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))
          AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                   AND CASE c.relkind WHEN 'S'
                       THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                       ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
        ORDER BY 1, 2
        """
    ).fetchall()
    if not rows:
        return []
    who = identifier(me.name)
    if major >= 14:
        cure = f"GRANT pg_read_all_data TO {who};"
    else:
        cure = " ".join(
            f"GRANT USAGE ON SCHEMA {s} TO {who}; GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO "
            f"{who}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA {s} TO {who};"
            for s in sorted({identifier(schema) for schema, _name, _usage in rows})
        )
    names = [f"{identifier(schema)}.{identifier(name)}" for schema, name, _usage in rows]
    return [Problem("privileges", f"{who} may not read {_some(names)}: {cure}")]


def _row_security(session: Session, me: roles.Ourselves) -> list[Problem]:
    rows = session.execute(
        """
        SELECT n.nspname, c.relname
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity
          AND pg_catalog.row_security_active(c.oid)
        ORDER BY 1, 2
        """
    ).fetchall()
    if not rows:
        return []
    names = [f"{identifier(schema)}.{identifier(name)}" for schema, name in rows]
    return [
        Problem(
            "privileges",
            f"row-level security hides rows of {_some(names)} from {identifier(me.name)}: "
            f"ALTER ROLE {identifier(me.name)} BYPASSRLS;",
        )
    ]


def _large_objects(session: Session, me: roles.Ourselves) -> list[Problem]:
    row = session.execute(
        """
        SELECT pg_catalog.count(*), pg_catalog.min(m.oid)::int8
        FROM pg_catalog.pg_largeobject_metadata m
        WHERE current_setting('lo_compat_privileges') = 'off'
          AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
          AND NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(m.lomacl) a
            WHERE a.privilege_type = 'SELECT'
              AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
        """
    ).fetchone()
    if row is None or not row[0]:
        return []
    cure = (
        "DO $$ DECLARE l oid; BEGIN FOR l IN SELECT oid FROM pg_largeobject_metadata LOOP "  # noqa: S608 - for a person to run
        f"EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', l, {literal(me.name)}); "
        "END LOOP; END $$;"
    )
    return [
        Problem(
            "privileges",
            f"{identifier(me.name)} may not read {row[0]} large objects of others (one is "
            f"{row[1]}): {cure}",
        )
    ]


def restore(
    maintenance: Session,
    environ: Mapping[str, str],
    *,
    facts: BackupFacts,
    target: Target,
    state: TargetState,
) -> list[Problem]:
    """Problems of a restore, except that the target holds data."""
    major = server_major(maintenance)
    found = _version(major)
    found += _skew(facts, major)
    try:
        tools.for_restore(environ, major)
    except PreflightFailed as failed:
        found += failed.problems
    me = roles.ourselves(maintenance)
    found += roles.problems(maintenance, facts.needs, me, owners=target.owners)
    found += _extensions(maintenance, facts, me)
    if me.may_create_databases:
        if state.exists:
            found += _may_replace(maintenance, target.database, me)
            found += swap.hindrances(maintenance, target.database)
        return found
    return found + _in_place(facts, target, state, me)


def _skew(facts: BackupFacts, major: int) -> list[Problem]:
    try:
        source = versions.major_of(facts.server_version)
    except ValueError:
        return [Problem("backup", f"server version {facts.server_version!r} is not known")]
    if source > major:
        return [
            Problem(
                "server",
                f"the backup is of PostgreSQL {source}, the target is {major}: what a newer major "
                f"wrote an older one may not understand; restore into {source} or newer",
            )
        ]
    if archive.archive_major(facts) > major:
        return [
            Problem(
                "server",
                f"the backup was made with pg_dump {archive.archive_major(facts)}, which "
                f"pg_restore {major} cannot read; restore into that major, or unpack it",
            )
        ]
    return []


def _extensions(maintenance: Session, facts: BackupFacts, me: roles.Ourselves) -> list[Problem]:
    wanted = {
        key.removeprefix("extension:"): version
        for key, version in facts.needs.items()
        if key.startswith("extension:")
    }
    with driver_errors("while looking at extensions"):
        rows = maintenance.execute(
            """
            SELECT name, pg_catalog.bool_or(version = default_version AND superuser AND NOT trusted)
            FROM pg_catalog.pg_available_extension_versions
            JOIN pg_catalog.pg_available_extensions USING (name)
            WHERE name = ANY (%s) GROUP BY name
            """,
            (list(wanted),),
        ).fetchall()
    there: dict[str, bool] = dict(rows)
    found = [
        Problem(
            "extensions",
            f'the extension "{name}" {version} is not installed on the target server: install its '
            "package there, or use the image that the database ran on",
        )
        for name, version in sorted(wanted.items())
        if name not in there
    ]
    if not me.superuser:
        found += [
            Problem(
                "extensions",
                f'only a superuser may create the extension "{name}": restore as one, or let one '
                "mark it trusted",
            )
            for name, restricted in sorted(there.items())
            if restricted
        ]
    return found


def _may_replace(maintenance: Session, database: str, me: roles.Ourselves) -> list[Problem]:
    with driver_errors("while looking at the target"):
        row = maintenance.execute(
            """
            SELECT pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_has_role(datdba, 'USAGE')
            FROM pg_catalog.pg_database WHERE datname = %s
            """,
            (database,),
        ).fetchone()
    if row is None or row[1]:
        return []
    return [
        Problem(
            "target",
            f'the database "{database}" belongs to {identifier(row[0])}, only its owner may rename '
            f"it: GRANT {identifier(row[0])} TO {identifier(me.name)};",
        )
    ]


def _in_place(
    facts: BackupFacts, target: Target, state: TargetState, me: roles.Ourselves
) -> list[Problem]:
    """Without CREATEDB: one stream, in one transaction, into an empty database that is there."""
    cure = f"ALTER ROLE {identifier(me.name)} CREATEDB;"
    if not archive.is_one_stream(facts):
        what = "a backup of several streams needs a new database"
    elif not state.exists:
        what = f'the database "{target.database}" does not exist'
    elif not state.empty:
        what = f'the database "{target.database}" is not empty and replacing it needs a new one'
    else:
        return []
    return [Problem("privileges", f"{what}, and {identifier(me.name)} may not make it: {cure}")]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
