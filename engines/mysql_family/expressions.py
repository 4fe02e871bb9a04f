"""Expressions of which MySQL's own dump tool writes another text than they have.

`SHOW CREATE TABLE` has characters of up to 3 bytes in expressions, and question marks for one of 4
bytes. `information_schema` has its bytes, each as a character. Seen in 8.4 and 9.7.
"""

from __future__ import annotations

import re

from engines.mysql_family.connection import Session
from engines.mysql_family.family import Family
from engines.mysql_family.quoting import identifier, qualified

_EXPRESSIONS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, CONCAT_WS(' ', GENERATION_EXPRESSION, COLUMN_DEFAULT)
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND EXTRA LIKE '%%GENERATED%%'
 UNION ALL
SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, '', CHECK_CLAUSE
  FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s
"""
_FOUR_BYTES = re.compile("[\u00f0-\u00f4][\u0080-\u00bf]{3}")


def warnings(session: Session, family: Family, schema: str) -> list[str]:
    """What to say of a backup, with the cure."""
    if family.is_mariadb:
        return []
    rows = session.rows(_EXPRESSIONS, (schema, schema), what="while looking at expressions")
    found = {
        qualified(table, column) if column else f"the CHECK {identifier(table)}": characters[0]
        for place, table, column, expression in rows
        if place == schema and (characters := _FOUR_BYTES.findall(expression))
    }
    if not found:
        return []
    written = f"0x{next(iter(found.values())).encode('latin-1').hex().upper()}"
    said = (
        "MySQL's tools write question marks for the characters of 4 bytes in the expressions of "
        f"{', '.join(sorted(found))}, so a restore would make other ones: write such a character "
        f"as CONVERT({written} USING utf8mb4)"
    )
    return [said]
