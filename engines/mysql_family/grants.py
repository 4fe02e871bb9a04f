"""What our account may do, read out of SHOW GRANTS.

The catalogues hide what an account may not see: without TRIGGER there seem to
be no triggers, and a dump comes out short with exit status 0. So the question
is not what is there but what we were given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from attrs import frozen

from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, schema_pattern

_NAME = r"(\*|`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"
_LINE = re.compile(
    r"(?P<verb>GRANT|REVOKE) (?P<rights>.+?) ON "
    r"(?P<kind>(?:TABLE|PROCEDURE|FUNCTION|PACKAGE(?: BODY)?) )?"
    rf"(?P<schema>{_NAME})\.(?P<name>{_NAME}) (?:TO|FROM) ",
    re.DOTALL,
)
_ALL = "ALL PRIVILEGES"


@frozen
class Grant:
    """One line: rights on everything, on schemas of a pattern, or on one table.

    Args:
        schema: pattern with SQL's wildcards, or a name if the server has none; None: all.
        table: None: all of the schema.
        is_given: False for a right that is taken back from a wider one.
    """

    rights: frozenset[str]
    schema: str | None
    table: str | None
    is_given: bool = True


@frozen
class Rights:
    """All that was given to the account and to its roles that are active.

    Args:
        is_literal: the server takes a schema's name in a GRANT as it is, wildcards and the
            backslashes before them too, as MySQL does with partial_revokes.
    """

    account: str
    grants: tuple[Grant, ...]
    is_literal: bool = False

    def on_server(self, right: str) -> bool:
        return self._given(right, lambda grant: grant.schema is None)

    def on_schema(self, right: str, schema: str) -> bool:
        """Whether the right is on all that is and will be in the schema."""
        return self._given(
            right,
            lambda grant: (
                grant.table is None and (grant.schema is None or self._is(grant.schema, schema))
            ),
        )

    def on_table(self, right: str, schema: str, table: str) -> bool:
        return self.on_schema(right, schema) or any(
            grant.is_given
            and grant.table == table
            and grant.schema == schema
            and _has(grant.rights, right)
            for grant in self.grants
        )

    def any_on_server(self, rights: Iterable[str]) -> bool:
        return any(self.on_server(right) for right in rights)

    def named(self, schema: str) -> str:
        """That schema alone, as a GRANT on this server takes it."""
        return identifier(schema) if self.is_literal else schema_pattern(schema)

    def _is(self, pattern: str, schema: str) -> bool:
        return pattern == schema if self.is_literal else _like(pattern, schema)

    def _given(self, right: str, reaches: Callable[[Grant], bool]) -> bool:
        fitting = [g for g in self.grants if reaches(g) and _has(g.rights, right)]
        # A partial revoke names one schema and wins over what was given on all of them.
        return bool(fitting) and all(grant.is_given for grant in fitting)


def read(session: Session) -> Rights:
    account = session.one("SELECT CURRENT_USER()", what="while looking at rights")
    rows = session.rows("SHOW GRANTS", what="while looking at rights")
    # MariaDB has no such variable.
    partial = session.rows("SHOW VARIABLES LIKE 'partial_revokes'", what="while looking at rights")
    return Rights(
        account,
        tuple(filter(None, (parse(line) for (line, *_) in rows))),
        is_literal=[value for _, value in partial] == ["ON"],
    )


def parse(line: str) -> Grant | None:
    """One line of SHOW GRANTS; None for roles, PROXY and single routines."""
    match = _LINE.match(line)
    if match is None or (match["kind"] or "TABLE ") != "TABLE ":
        return None
    rights = frozenset(
        right.strip().upper() for right in re.sub(r"\([^)]*\)", "(", match["rights"]).split(",")
    )
    schema, table = _unquoted(match["schema"]), _unquoted(match["name"])
    if table is not None and schema is not None:
        schema = _plain(schema)
    return Grant(rights, schema, table, match["verb"] == "GRANT")


def _has(rights: frozenset[str], right: str) -> bool:
    # A right on some columns is written with a parenthesis and is none on the table.
    return right in rights or (_ALL in rights and right != "USAGE")


def _unquoted(name: str) -> str | None:
    if name == "*":
        return None
    return name[1:-1].replace(name[0] * 2, name[0])


def _plain(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern)


def _like(pattern: str, name: str) -> bool:
    """SQL's LIKE, as GRANT uses it for schemas."""
    parts = []
    for sign in re.findall(r"\\.|.", pattern, re.DOTALL):
        if sign == "%":
            parts.append(".*")
        elif sign == "_":
            parts.append(".")
        else:
            parts.append(re.escape(sign[-1]))
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None
