"""What a user may do, and the exact statement for what is missing.

Decided here from what the cluster lists, so that rights that come with roles count, whatever
the version's own functions know of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set as AbstractSet

from attrs import frozen

from controller.api.errors import Problem
from engines.cockroach.connection import Cluster
from engines.postgres.quoting import identifier

_ADMIN = "admin"
_ALMIGHTY = (_ADMIN, "root", "node")


@frozen(kw_only=True)
class Rights:
    """A user's rights, those of all their roles included.

    Args:
        roles: the user and every role that they are a member of.
        system: privileges such as RESTORE.
        options: CREATEDB and CONTROLJOB, which roles do not hand on.
        ends_own_jobs: whether the version lets everyone.
    """

    user: str
    roles: AbstractSet[str]
    system: AbstractSet[str] = frozenset()
    options: AbstractSet[str] = frozenset()
    ends_own_jobs: bool = True

    @property
    def is_admin(self) -> bool:
        return _ADMIN in self.roles or self.user == "root"

    def may(self, privilege: str) -> bool:
        return self.is_admin or bool({privilege, "ALL"} & self.system)

    def has_option(self, option: str) -> bool:
        """Newer versions have each as a privilege, too."""
        return option in self.options or self.may(option)


def closure(user: str, memberships: Iterable[tuple[str, str]]) -> frozenset[str]:
    """The user and every role that they have, also through other roles.

    Args:
        memberships: (role, member).
    """
    pairs = list(memberships)
    found: frozenset[str] = frozenset({user})
    while True:
        more = found | {role for role, member in pairs if member in found}
        if more == found:
            return found
        found = more


def read(cluster: Cluster, user: str) -> Rights:
    """Raises: AccessDenied, DatabaseUnavailable."""
    what = "while looking at rights"
    memberships = cluster.rows(what, "SHOW GRANTS ON ROLE")
    roles = closure(user, ((str(row["role_name"]), str(row["member"])) for row in memberships))
    if _ADMIN in roles or user == "root":
        return Rights(user=user, roles=roles)
    system = {
        str(row["privilege_type"])
        for row in cluster.rows(what, "SHOW SYSTEM GRANTS")
        if row["grantee"] in roles | {"public"}
    }
    return Rights(
        user=user,
        roles=roles,
        system=system,
        options=frozenset(_options(cluster, what)),
        ends_own_jobs=cluster.version.lets_owners_end_jobs,
    )


def _options(cluster: Cluster, what: str) -> Iterator[str]:
    """SHOW USERS would list them, to those who may read the system's tables."""
    asked = "SELECT rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user"
    if cluster.row(what, asked)["rolcreatedb"]:
        yield "CREATEDB"
    if not cluster.version.lets_owners_end_jobs:
        asked = "SELECT crdb_internal.has_role_option('CONTROLJOB') AS granted"
        if cluster.row(what, asked)["granted"]:
            yield "CONTROLJOB"


def on_database(cluster: Cluster, database: str, rights: Rights) -> frozenset[str]:
    """The user's privileges on a database."""
    rows = cluster.rows(
        "while looking at rights", f"SHOW GRANTS ON DATABASE {identifier(database)}"
    )
    return frozenset(
        str(row["privilege_type"]) for row in rows if row["grantee"] in rights.roles | {"public"}
    )


def missing_for_backup(
    rights: Rights, database: str, granted: AbstractSet[str], *, owner: str, external_io: bool
) -> Iterator[Problem]:
    who = identifier(rights.user)
    if not rights.is_admin and owner not in rights.roles and not {"BACKUP", "ALL"} & granted:
        yield _problem(
            f"{who} may not back up the database {identifier(database)}",
            f"GRANT BACKUP ON DATABASE {identifier(database)} TO {who};",
        )
    yield from _missing_external_io(rights, external_io=external_io)
    yield from _missing_control(rights)


def missing_for_restore(
    rights: Rights, *, external_io: bool, replaced: tuple[str, str] | None
) -> Iterator[Problem]:
    """What keeps the user from restoring.

    Args:
        replaced: the database that is swapped away, and who owns it; None: none is.
    """
    who = identifier(rights.user)
    if not rights.may("RESTORE"):
        yield _problem(f"{who} may not restore", f"GRANT SYSTEM RESTORE TO {who};")
    if replaced and not rights.has_option("CREATEDB"):
        yield _problem(f"{who} may not rename databases", f"ALTER USER {who} CREATEDB;")
    yield from _missing_external_io(rights, external_io=external_io)
    yield from _missing_control(rights)
    if replaced and not rights.is_admin and replaced[1] not in rights.roles:
        database, owner = map(identifier, replaced)
        # To be root, or admin, is more than this needs.
        cure = (
            f"ALTER DATABASE {database} OWNER TO {who};"
            if replaced[1] in _ALMIGHTY
            else f"GRANT {owner} TO {who};"
        )
        yield _problem(f"{who} does not own the database that is to be replaced", cure)


def _missing_external_io(rights: Rights, *, external_io: bool) -> Iterator[Problem]:
    if external_io and not rights.may("EXTERNALIOIMPLICITACCESS"):
        who = identifier(rights.user)
        yield _problem(
            f"{who} may not use a store with an endpoint of its own, or without keys",
            f"GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO {who};",
        )


def _missing_control(rights: Rights) -> Iterator[Problem]:
    if not rights.ends_own_jobs and not rights.has_option("CONTROLJOB"):
        who = identifier(rights.user)
        yield _problem(f"{who} may not end their own jobs", f"ALTER USER {who} CONTROLJOB;")


def _problem(what: str, cure: str) -> Problem:
    return Problem("privileges", f"{what}: {cure}")
