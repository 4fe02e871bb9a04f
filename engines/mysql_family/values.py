"""Values that a dump does not bring back, because the server does not tell them whole.

Only columns that may have some are looked into: few have any, and for those it is a scan.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from controller.api.errors import Problem
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_WHAT = "while looking for values that no dump brings back"
#: Character sets with characters of 4 bytes in UTF-8.
_WIDE = "'utf8mb4', 'utf16', 'utf16le', 'utf32', 'gb18030'"
#: The server shows such a character of a definition as a question mark.
_MEMBERS = f"""
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND DATA_TYPE IN ('enum', 'set') AND CHARACTER_SET_NAME IN ({_WIDE})
   AND COLUMN_TYPE LIKE '%%?%%'
"""  # noqa: S608 - constants
_UNIQUE = """
SELECT s.TABLE_SCHEMA, s.TABLE_NAME, s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, c.DATA_TYPE
  FROM information_schema.STATISTICS s LEFT JOIN information_schema.COLUMNS c
    ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME
       AND c.COLUMN_NAME = s.COLUMN_NAME
 WHERE s.TABLE_SCHEMA = %s AND s.NON_UNIQUE = 0 ORDER BY s.TABLE_NAME, s.INDEX_NAME, s.SEQ_IN_INDEX
"""


@frozen(kw_only=True)
class _Part:
    """Of a key: a column, or so many characters of it."""

    column: str
    length: int | None
    kind: str


def problems(session: Session, database: str, tables: Sequence[Table]) -> list[Problem]:
    """Rows that a restore would lose, or could not load; each with the cure."""
    return _members(session, database, tables) + _floats(session, database)


def _members(session: Session, database: str, tables: Sequence[Table]) -> list[Problem]:
    kinds = {table.name: table.kind for table in tables if not table.is_view}
    found = []
    for place, table, column, kind in session.rows(_MEMBERS, (database,), what=_WHAT):
        if place != database or table not in kinds:
            continue
        history = " FOR SYSTEM_TIME ALL" if kinds[table] == "SYSTEM VERSIONED" else ""
        name = identifier(column)
        is_wide = (
            f"SELECT 1 FROM {qualified(database, table)}{history} WHERE"  # noqa: S608
            f" CONVERT(CONVERT({name} USING utf8mb3) USING utf8mb4)"
            f" <> CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin LIMIT 1"
        )
        if session.rows(is_wide, what=_WHAT):
            found.append(
                Problem(
                    "tables",
                    f"the {kind.upper()} {name} of {qualified(database, table)} has members with "
                    "characters such as emoji, which the server shows as '?' when it is asked for "
                    "the definition: rows that hold them would come back empty. Make it a VARCHAR, "
                    f"or rename the members: ALTER TABLE {qualified(database, table)} MODIFY "
                    f"{name} ...",
                )
            )
    return found


def _floats(session: Session, database: str) -> list[Problem]:
    keys: dict[tuple[str, str], list[_Part]] = {}
    for place, table, index, column, length, kind in session.rows(_UNIQUE, (database,), what=_WHAT):
        if place == database:
            # MySQL's keys may have expressions, which are no columns.
            part = _Part(column=column or "", length=length, kind=kind or "")
            keys.setdefault((table, index), []).append(part)
    found = []
    for (table, index), parts in keys.items():
        floats = [identifier(part.column) for part in parts if part.kind == "float"]
        is_plain = all(part.column for part in parts)
        if floats and is_plain and session.rows(_alike(database, table, parts), what=_WHAT):
            found.append(
                Problem(
                    "tables",
                    f"rows of {qualified(database, table)} differ in {', '.join(floats)} by less "
                    "than the 6 digits that the server shows of a FLOAT: with the unique key "
                    f"{identifier(index)} no restore could load them both. ALTER TABLE "
                    f"{qualified(database, table)} MODIFY {floats[0]} DOUBLE;",
                )
            )
    return found


def _alike(database: str, table: str, parts: Sequence[_Part]) -> str:
    """A query for two rows whose keys are shown alike."""
    shown, whole = [], []
    for part in parts:
        name = identifier(part.column)
        whole.append(f"{name} IS NOT NULL")
        if part.kind == "float":
            shown.append(f"CONCAT({name})")
        else:
            shown.append(f"LEFT({name}, {part.length})" if part.length else name)
    return (
        f"SELECT 1 FROM {qualified(database, table)} WHERE {' AND '.join(whole)}"  # noqa: S608
        f" GROUP BY {', '.join(shown)} HAVING COUNT(*) > 1 LIMIT 1"
    )
