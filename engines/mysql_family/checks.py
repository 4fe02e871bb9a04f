"""CHECKs of MySQL that rows no longer hold when a restore loads them.

They held when the rows were written: in another time zone, or with more than the 6 digits that a
server shows of a FLOAT. MariaDB lets a restore leave checks out.
"""

from __future__ import annotations

from controller.api.errors import Problem
from engines.mysql_family import anew
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_ENFORCED = """
SELECT c.CONSTRAINT_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME, c.CHECK_CLAUSE
  FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
    ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
       AND t.CONSTRAINT_TYPE = 'CHECK' AND t.ENFORCED = 'YES'
 WHERE c.CONSTRAINT_SCHEMA = %s ORDER BY t.TABLE_NAME, c.CONSTRAINT_NAME
"""


def problems(session: Session, database: str) -> list[Problem]:
    """Those that a row breaks, each with the cure; only what depends on either is looked into."""
    checks = [
        (table, name, anew.of_expression(name, anew.unquoted(clause)))
        for place, table, name, clause in session.rows(
            _ENFORCED, (database,), what="while looking for checks"
        )
        if place == database
    ]
    names = sorted({table for table, _, _ in checks})
    tables = anew.columns(session, database, names, is_mariadb=False)
    found = []
    for table, name, check in checks:
        columns = tables.get(table, {})
        if not (check.depends_on_zone(columns) or check.reads(columns, "float")):
            continue
        rows = anew.rows(qualified(database, table), check.sources(columns), columns)
        broken = f"SELECT 1 FROM {rows} WHERE NOT ({check.expression}) LIMIT 1"  # noqa: S608
        if rows and anew.finds(session, broken):
            found.append(
                Problem(
                    "tables",
                    f"rows of {qualified(database, table)} break the CHECK {identifier(name)} in "
                    "the time zone +00:00, or with the 6 digits that the server shows of a FLOAT, "
                    "as a restore checks it: it could not load them. ALTER TABLE "
                    f"{qualified(database, table)} ALTER CHECK {identifier(name)} NOT ENFORCED;",
                )
            )
    return found
