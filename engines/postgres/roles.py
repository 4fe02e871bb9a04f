"""Roles that a restored database needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from controller.api.errors import Problem
from engines.postgres.connection import Session, driver_errors, one_row
from engines.postgres.globals import Role
from engines.postgres.quoting import identifier, sql


@frozen(kw_only=True)
class Ourselves:
    """Who is logged in, and what that role may do."""

    name: str
    superuser: bool
    createdb: bool
    createrole: bool

    @property
    def may_create_databases(self) -> bool:
        return self.superuser or self.createdb

    @property
    def may_create_roles(self) -> bool:
        return self.superuser or self.createrole


def ourselves(session: Session) -> Ourselves:
    with driver_errors("while asking for our own rights"):
        row = one_row(
            session,
            """
            SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_catalog.pg_roles
            WHERE rolname = current_user
            """,
        )
    return Ourselves(name=row[0], superuser=row[1], createdb=row[2], createrole=row[3])


def may_set(session: Session, parameter: str, me: Ourselves) -> bool:
    """Whether we may set what is a superuser's unless it is granted, as is possible since 15."""
    if me.superuser or session.info.server_version < 150000:
        return me.superuser
    with driver_errors("while asking for our own rights"):
        (granted,) = one_row(
            session, "SELECT pg_catalog.has_parameter_privilege(%s, 'SET')", (parameter,)
        )
    return bool(granted)


def needed(needs: Mapping[str, str]) -> dict[str, set[str]]:
    """Role -> what for, of BackupFacts.needs."""
    return {
        key.removeprefix("role:"): set(uses.split(","))
        for key, uses in needs.items()
        if key.startswith("role:")
    }


def existing(session: Session) -> set[str]:
    with driver_errors("while looking at roles"):
        return {
            name
            for (name,) in session.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall()
        }


def problems(
    session: Session, needs: Mapping[str, str], me: Ourselves, *, owners: bool
) -> list[Problem]:
    """Missing roles that we may not make, and owners that we may not act for."""
    wanted = needed(needs)
    there = existing(session)
    missing = sorted(set(wanted) - there)
    found = []
    if not owners:
        missing = [name for name in missing if "policy" in wanted[name]]
        if missing:
            lines = _lines(f"CREATE ROLE {identifier(name)};" for name in missing)
            found.append(
                Problem(
                    "roles", f"row-level security policies name roles that are missing: {lines}"
                )
            )
        return found
    if missing and not me.may_create_roles:
        lines = _lines(f"CREATE ROLE {identifier(name)};" for name in missing)
        found.append(
            Problem(
                "roles",
                f"roles are missing and {identifier(me.name)} may not make them: {lines} or "
                f"ALTER ROLE {identifier(me.name)} CREATEROLE; or restore with --no-owner",
            )
        )
    owning = [name for name, uses in wanted.items() if "owner" in uses and name in there]
    if foreign := _not_ours(session, owning):
        lines = _lines(f"GRANT {identifier(name)} TO {identifier(me.name)};" for name in foreign)
        found.append(
            Problem(
                "roles",
                f"{identifier(me.name)} may not give objects to their owners: restore with "
                f"--no-owner, or as a superuser, or after {lines} (which lends it their rights)",
            )
        )
    return found


def _not_ours(session: Session, names: Sequence[str]) -> list[str]:
    right = "SET" if session.info.server_version >= 160000 else "MEMBER"
    with driver_errors("while looking at memberships"):
        rows = session.execute(
            "SELECT n FROM pg_catalog.unnest(%s::text[]) n "
            "WHERE NOT pg_catalog.pg_has_role(current_user, n::name, %s) ORDER BY 1",
            (list(names), right),
        ).fetchall()
    return [name for (name,) in rows]


def create_missing(
    session: Session, roles: Sequence[Role], me: Ourselves
) -> tuple[list[str], list[str]]:
    """Make the roles that are not there, in one transaction.

    Rights that only a superuser has, and passwords, are not given back by a
    backup: the warnings hold the statements.

    Returns: the names of those made, and warnings.
    """
    there = existing(session)
    missing = [role for role in roles if role.name not in there]
    warnings = []
    with driver_errors("while creating roles"), session.transaction():
        for role in missing:
            for statement in role.create():
                session.execute(sql(statement))
            if not me.superuser:
                session.execute(sql(f"GRANT {identifier(role.name)} TO CURRENT_USER"))
            warning = f"the role {identifier(role.name)} was made without a password"
            if lines := role.withheld():
                warning += "; what may be missing: " + " ".join(lines)
            warnings.append(warning)
        now = there | {role.name for role in missing}
        for role in missing:
            for group in role.member_of:
                if group in now and (me.superuser or not group.startswith("pg_")):
                    session.execute(sql(f"GRANT {identifier(group)} TO {identifier(role.name)}"))
                else:
                    warnings.append(f"GRANT {identifier(group)} TO {identifier(role.name)};")
    return [role.name for role in missing], warnings


def _lines(statements: Iterable[str]) -> str:
    return " ".join(statements)
