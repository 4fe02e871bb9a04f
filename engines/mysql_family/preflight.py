"""What would make a backup or a restore fail, or a backup come out short, found beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.api.errors import PreflightFailed, Problem
from engines.interface import BackupFacts, Target
from engines.mysql_family import (
    catalogue,
    checks,
    definers,
    folders,
    foreign_keys,
    grants,
    history,
    identities,
    sequences,
    settings,
    storage_engines,
    tablespaces,
    target as targets,
    tools,
    unique_keys,
    values,
    versions,
)
from engines.mysql_family.catalogue import Code, Identity, Table
from engines.mysql_family.connection import Session
from engines.mysql_family.family import Family
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import account, identifier, qualified
from engines.mysql_family.target import TargetState, beside_pattern, kept_pattern

_SHOWN = 5
#: Engines that show rows which are somewhere else: ALTER TABLE would copy these.
_OF_OTHERS = {"MRG_MYISAM", "FEDERATED", "CONNECT", "SPIDER"}
_TO_DUMP = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
#: What makes tables, their rows and all other objects, and moves them.
_TO_RESTORE = (
    "SELECT", "INSERT", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES", "CREATE VIEW",
    "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "TRIGGER", "EVENT",
    "LOCK TABLES",
)  # fmt: skip


def backup(
    session: Session, family: Family, environ: Mapping[str, str], database: str
) -> list[Problem]:
    identity = catalogue.identity(session)
    found = _server(family, identity, environ)
    rights = grants.read(session)
    missing = [right for right in _TO_DUMP if not rights.on_schema(right, database)]
    if missing:
        found.append(
            Problem(
                "privileges",
                f"{account(rights.account)} does not see all that is in {identifier(database)}, "
                f"and what it does not see would be missing from a backup without a word: "
                f"GRANT {', '.join(missing)} ON {rights.named(database)}.* "
                f"TO {account(rights.account)};",
            )
        )
    found += _routines(family, identity, rights, database)
    found += settings.problems(session)
    tables = catalogue.tables(session, database)
    _, collation = catalogue.charset(session, database)
    if said := targets.in_a_restore(database, tables, collation):
        found.append(Problem("database", said))
    found += _outside_the_snapshot(tables, database)
    found += _exchangeable(session, rights, database)
    if family.is_mariadb:
        found += history.problems(session, database)
    if missing:  # it would end with the first table, and not with what is missing
        return found
    found += foreign_keys.problems(session, database)
    found += values.problems(session, database, tables)
    is_mariadb = versions.is_mariadb(identity.version)
    found += unique_keys.problems(session, database, is_mariadb=is_mariadb)
    return found if is_mariadb else found + checks.problems(session, database)


def _server(family: Family, identity: Identity, environ: Mapping[str, str]) -> list[Problem]:
    if versions.is_mariadb(identity.version) != family.is_mariadb:
        other = "mysql" if family.is_mariadb else "mariadb"
        return [
            Problem(
                "server",
                f"this is no {family.title} but version {identity.version}: its dumps need tools "
                f"of their own; use databaseType {other}, with a section {other}",
            )
        ]
    try:
        tools.choose(family, environ, identity.series)
    except PreflightFailed as failed:
        return list(failed.problems)
    return []


def _routines(family: Family, identity: Identity, rights: Rights, database: str) -> list[Problem]:
    who = account(rights.account)
    if rights.on_server("SELECT"):
        return []
    if not family.is_mariadb:
        if rights.on_server("SHOW_ROUTINE"):
            return []
        cure = f"GRANT SHOW_ROUTINE ON *.* TO {who};"
    else:
        if rights.on_table("SELECT", "mysql", "proc"):
            return []
        cure = f"GRANT SELECT ON mysql.proc TO {who};"
        if identity.series >= (11, 3):
            if rights.on_schema("SHOW CREATE ROUTINE", database):
                return []
            cure = f"GRANT SHOW CREATE ROUTINE ON {rights.named(database)}.* TO {who};"
    return [
        Problem(
            "privileges",
            f"{who} does not see others' procedures and functions, which would be lost "
            f"without a word: {cure}",
        )
    ]


def _outside_the_snapshot(tables: Sequence[Table], database: str) -> list[Problem]:
    outside = [table for table in tables if not table.is_view and not table.is_in_the_snapshot]
    if not outside:
        return []
    named = ", ".join(
        f"{identifier(table.name)} ({table.engine})" for table in outside[:_SHOWN]
    ) + _more(outside)
    first = qualified(database, outside[0].name)
    cure = f"ALTER TABLE {first} ENGINE = InnoDB;"
    if outside[0].engine.upper() in _OF_OTHERS:
        cure = f"{first} has the rows of other tables: make it a view, or keep it elsewhere"
    return [
        Problem(
            "tables",
            f"no snapshot shows the rows of {named}: a backup would be of several instants. {cure}",
        )
    ]


def _exchangeable(session: Session, rights: Rights, database: str) -> list[Problem]:
    """Partitions that may get others' rows during a dump without anybody seeing it."""
    if rights.on_server(identities.RIGHT):
        return []
    tables = identities.partitioned(session, database)
    if not tables:
        return []
    named = ", ".join(map(identifier, tables[:_SHOWN])) + _more(tables)
    return [
        Problem(
            "privileges",
            f"an EXCHANGE PARTITION of {named} during a backup would have rows in it twice or "
            "never, without a word, and only InnoDB's numbers tell of one: "
            f"GRANT {identities.RIGHT} ON *.* TO {account(rights.account)};",
        )
    ]


def restore(
    session: Session,
    family: Family,
    environ: Mapping[str, str],
    *,
    facts: BackupFacts,
    target: Target,
    state: TargetState,
) -> list[Problem]:
    """Problems of a restore, except that the target holds data."""
    identity = catalogue.identity(session)
    found = _server(family, identity, environ)
    if found and found[0].path == "server":
        return found
    rights = grants.read(session)
    found += _skew(family, facts, identity)
    found += _names(facts, identity)
    found += settings.refusals(session, rights, facts.needs.get(settings.KEYLESS, ""))
    found += storage_engines.problems(session, facts.needs)
    found += tablespaces.problems(session, rights, facts.needs)
    found += settings.packets(session, facts.needs.get(settings.STATEMENT, ""))
    found += _may_make(rights, target, state)
    is_replacing = target.replace and state.exists and not state.empty
    if facts.counts.get("sequences") or (
        is_replacing and sequences.defaults(session, target.database)
    ):
        found += sequences.problems(identity, rights)
    replaced = catalogue.code(session, target.database) if is_replacing else []
    if identity.log_bin and not identity.trusts_creators:
        undeclared = catalogue.undeclared_functions(session, target.database) if replaced else []
        found += _creators(family, facts, rights, replaced, undeclared)
    found += definers.problems(
        session, family, rights, facts=facts, target=target, replaced=replaced
    )
    if state.exists and not state.empty:
        found += _routines(family, identity, rights, target.database)
        found += foreign_keys.hindrances(session, target.database)
        if family.is_mariadb:
            found += folders.problems(session, target.database)
    return found


def _skew(family: Family, facts: BackupFacts, identity: Identity) -> list[Problem]:
    try:
        source = versions.series_of(facts.server_version)
    except ValueError:
        return [Problem("backup", f"server version {facts.server_version!r} is not known")]
    if source > identity.series:
        shown = versions.shown(source)
        return [
            Problem(
                "server",
                f"the backup is of {family.title} {shown}, the target is "
                f"{versions.shown(identity.series)}: what a newer one wrote an older one may not "
                f"understand; restore into {shown} or newer, with the runner image for "
                f"{family.name} {shown}",
            )
        ]
    return []


def _names(facts: BackupFacts, identity: Identity) -> list[Problem]:
    source = facts.needs.get("lower_case_table_names", "")
    if not source or (source == "0") == (identity.lower_case == 0):
        return []
    return [
        Problem(
            "server",
            f"lower_case_table_names is {identity.lower_case} here and was {source} there: names "
            "that differ by case would meet, or views would not find their tables; restore into "
            "a server with the same setting",
        )
    ]


def _may_make(rights: Rights, target: Target, state: TargetState) -> list[Problem]:
    """The right to fill the schema beside, the target, and the one that is kept."""
    who = account(rights.account)
    places = [(rights.named(target.database), target.database)]
    if rights.is_literal:
        everywhere = [right for right in _TO_RESTORE if not rights.on_server(right)]
        if everywhere:
            return [_everywhere(everywhere, who)]
    else:
        places.insert(0, (beside_pattern(target.database), "dbb_restore_x"))
        if state.exists and not state.empty:
            places.append((kept_pattern(target.database), f"{target.database}_before_x"))
    found = []
    for pattern, example in places:
        missing = [right for right in _TO_RESTORE if not rights.on_schema(right, example)]
        if missing:
            what = "ALL" if len(missing) > 3 else ", ".join(missing)
            found.append(
                Problem(
                    "privileges",
                    f"{who} may not make what a restore needs: GRANT {what} ON {pattern}.* "
                    f"TO {who};",
                )
            )
    return found


def _everywhere(missing: Sequence[str], who: str) -> Problem:
    return Problem(
        "privileges",
        f"{who} may not make what a restore needs in databases with names of its own, and with "
        "partial_revokes, which is ON here, no pattern stands for names: GRANT "
        f"{', '.join(missing)} ON *.* TO {who}; then REVOKE them on the databases that the "
        "account has nothing to do with",
    )


def _creators(
    family: Family,
    facts: BackupFacts,
    rights: Rights,
    replaced: Sequence[Code],
    undeclared: Sequence[str],
) -> list[Problem]:
    """The right to make functions and triggers, of the backup and of what is kept."""
    trust = f"SET {'GLOBAL' if family.is_mariadb else 'PERSIST'} log_bin_trust_function_creators"
    makes = (
        facts.counts.get("triggers", 0)
        # Backups of before functions were counted: procedures, which need no right, are in it.
        + facts.counts.get("functions", facts.counts.get("routines", 0))
        + sum(one.kind in ("FUNCTION", "TRIGGER") for one in replaced)
    )
    if makes and not rights.on_server("SUPER"):
        return [
            Problem(
                "server",
                "it writes a binary log and lets nobody but administrators make functions and "
                f"triggers: {trust} = 1; or GRANT SUPER ON *.* TO {account(rights.account)};",
            )
        ]
    if not undeclared:
        return []
    named = ", ".join(map(identifier, undeclared[:_SHOWN])) + _more(undeclared)
    return [
        Problem(
            "server",
            "it writes a binary log and lets nobody make functions again that are declared neither "
            f"DETERMINISTIC nor NO SQL nor READS SQL DATA, as {named} are not, which are kept: "
            f"{trust} = 1;",
        )
    ]


def _more(things: Sequence[object]) -> str:
    return f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
