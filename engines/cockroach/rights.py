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


@frozen(kw_only=True)
class Rights:
    """A user's rights, those of all their roles included.

    Args:
        roles: the user and every role that they are a member of.
        system: privileges such as RESTORE. options: such as CREATEDB.
    """

    user: str
    roles: AbstractSet[str]
    system: AbstractSet[str] = frozenset()
    options: AbstractSet[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        return _ADMIN in self.roles or self.user == "root"

    def may(self, privilege: str) -> bool:
        return self.is_admin or bool({privilege, "ALL"} & self.system)

    def has_option(self, option: str) -> bool:
        return self.is_admin or option in self.options


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
    options = {
        word.strip().split("=")[0]
        for row in cluster.rows(what, "SHOW USERS")
        if row["username"] == user
        for word in _options(row["options"])
    }
    return Rights(user=user, roles=roles, system=system, options=options)


def _options(listed: object) -> Iterable[str]:
    """A text of older versions, a list of newer ones."""
    return listed if isinstance(listed, list) else str(listed or "").strip("{}").split(",")


def on_database(cluster: Cluster, database: str, rights: Rights) -> frozenset[str]:
    """The user's privileges on a database."""
    rows = cluster.rows(
        "while looking at rights", f"SHOW GRANTS ON DATABASE {identifier(database)}"
    )
    return frozenset(
        str(row["privilege_type"]) for row in rows if row["grantee"] in rights.roles | {"public"}
    )


def missing_for_backup(
    rights: Rights, database: str, granted: AbstractSet[str], *, external_io: bool
) -> Iterator[Problem]:
    who = identifier(rights.user)
    if not rights.is_admin and not {"BACKUP", "ALL"} & granted:
        yield _problem(
            f"{who} may not back up the database {identifier(database)}",
            f"GRANT BACKUP ON DATABASE {identifier(database)} TO {who};",
        )
    yield from _missing_external_io(rights, external_io=external_io)


def missing_for_restore(
    rights: Rights, *, external_io: bool, replaced_owner: str | None
) -> Iterator[Problem]:
    """What keeps the user from restoring.

    Args:
        replaced_owner: who owns the database that is swapped away; None: none is.
    """
    who = identifier(rights.user)
    if not rights.may("RESTORE"):
        yield _problem(f"{who} may not restore", f"GRANT SYSTEM RESTORE TO {who};")
    if not rights.has_option("CREATEDB"):
        yield _problem(f"{who} may not rename databases", f"ALTER USER {who} CREATEDB;")
    yield from _missing_external_io(rights, external_io=external_io)
    if replaced_owner and not rights.is_admin and replaced_owner not in rights.roles:
        yield _problem(
            f"{who} does not own the database that is to be replaced",
            f"GRANT {identifier(replaced_owner)} TO {who};",
        )


def _missing_external_io(rights: Rights, *, external_io: bool) -> Iterator[Problem]:
    if external_io and not rights.may("EXTERNALIOIMPLICITACCESS"):
        who = identifier(rights.user)
        yield _problem(
            f"{who} may not use a store with an endpoint of its own, or without keys",
            f"GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO {who};",
        )


def _problem(what: str, cure: str) -> Problem:
    return Problem("privileges", f"{what}: {cure}")
