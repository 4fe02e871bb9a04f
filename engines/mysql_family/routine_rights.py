"""Rights on single routines, which go with a routine that is dropped.

All other rights are by name: they hold for what comes in the place of what was there. Of these the
server forgets each with its routine, unless `automatic_sp_privileges` is off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from controller.api.errors import AccessDenied, BackupError
from engines.mysql_family.connection import Session
from engines.mysql_family.objects import Definition
from engines.mysql_family.quoting import account, identifier, qualified

_KINDS = {"PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE"}
_GRANT_OPTION = "GRANT"


@frozen(kw_only=True)
class RoutineRight:
    """What one account may do with one routine."""

    account: str
    kind: str
    name: str
    rights: frozenset[str]

    def statement(self, schema: str) -> str:
        rights = ", ".join(sorted(self.rights - {_GRANT_OPTION})) or "USAGE"
        option = " WITH GRANT OPTION" if _GRANT_OPTION in self.rights else ""
        routine = f"{self.kind} {qualified(schema, self.name)}"
        return f"GRANT {rights} ON {routine} TO {self.account}{option}"


@frozen(kw_only=True)
class RoutineRights:
    """All of a schema. `may_be_more`: some go with their routine that we may not see."""

    schema: str
    found: Sequence[RoutineRight] = ()
    may_be_more: bool = False

    def statements(self) -> list[str]:
        return [one.statement(self.schema) for one in self.found]


def read(session: Session, schema: str, definitions: Iterable[Definition]) -> RoutineRights:
    if not any(one.kind in _KINDS for one in definitions):
        return RoutineRights(schema=schema)
    try:
        rows = session.rows(
            "SELECT Db, User, Host, Routine_type, Routine_name, Proc_priv FROM mysql.procs_priv"
            " WHERE Db = %s AND CONCAT(User, '@', Host) <> CURRENT_USER()"
            " ORDER BY Routine_type, Routine_name, User, Host",
            (schema,),
            what="while reading rights on routines",
        )
    except AccessDenied:
        ((forgets,),) = session.rows("SELECT @@GLOBAL.automatic_sp_privileges")
        return RoutineRights(schema=schema, may_be_more=bool(forgets))
    return RoutineRights(
        schema=schema,
        found=[
            RoutineRight(
                # A role of MariaDB has no host.
                account=account(f"{user}@{host}") if host else identifier(user),
                kind=kind,
                name=name,
                rights=frozenset(rights.upper().split(",")),
            )
            for of, user, host, kind, name, rights in rows
            if of == schema and kind in _KINDS
        ],
    )


def give(session: Session, rights: RoutineRights, definitions: Iterable[Definition]) -> list[str]:
    """Give them again on those routines that came back; returns warnings."""
    there = {(one.kind, one.name.lower()) for one in definitions}
    warnings = []
    for one in rights.found:
        if (one.kind, one.name.lower()) not in there:
            continue
        statement = one.statement(rights.schema)
        try:
            session.run(statement, what="while giving rights on routines")
        except BackupError as error:
            warnings.append(
                f"a right went with the routine that was replaced; run {statement}; ({error})"
            )
    if rights.may_be_more:
        warnings.append(
            "rights that accounts have on single routines went with those that were replaced: "
            "GRANT them again, if there were any. With SELECT on mysql.procs_priv a restore names "
            "them"
        )
    return warnings
