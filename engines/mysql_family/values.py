"""Values that a dump does not bring back, because the server does not tell them whole.

Only columns that may have some are looked into: few have any, and for those it is a scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from controller.api.errors import BackupError, Problem
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import NO_SUCH_TABLE, Session, code_of
from engines.mysql_family.quoting import identifier, qualified

_WHAT = "while looking for values that no dump brings back"
_NO_SUCH_COLUMN = 1054
#: Character sets with characters of 4 bytes in UTF-8.
_WIDE = "'utf8mb4', 'utf16', 'utf16le', 'utf32', 'gb18030'"
#: The server shows such a character of a definition, and bytes that are no UTF-8, as '?'.
_MEMBERS = f"""
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME
  FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND DATA_TYPE IN ('enum', 'set')
   AND CHARACTER_SET_NAME IN ({_WIDE}, 'binary') AND COLUMN_TYPE LIKE '%%?%%'
"""  # noqa: S608 - constants
#: Each of their characters is another one in UTF-8, and the same when it comes back from there.
THERE_AND_BACK = frozenset({
    "utf8mb3", "utf8mb4", "utf16", "utf16le", "utf32", "latin1", "latin2", "latin5", "latin7",
    "cp850", "cp852", "cp866", "keybcs2", "koi8r", "koi8u", "macce", "macroman", "binary",
})  # fmt: skip
_LOSSLESS = ", ".join(f"'{name}'" for name in sorted(THERE_AND_BACK))
_TEXTS = f"""
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH
  FROM information_schema.COLUMNS
 WHERE TABLE_SCHEMA = %s AND CHARACTER_SET_NAME NOT IN ({_LOSSLESS})
   AND COALESCE(GENERATION_EXPRESSION, '') = '' ORDER BY ORDINAL_POSITION
"""  # noqa: S608 - constants


@frozen(kw_only=True)
class _Text:
    """A column whose character set has texts that UTF-8 does not bring back.

    Args:
        length_bytes: of the longest one that it takes.
    """

    name: str
    kind: str
    character_set: str
    length_bytes: int

    @property
    def changes(self) -> str:
        """A condition for rows whose text comes back as another one."""
        name = identifier(self.name)
        back = f"CONVERT(CONVERT({name} USING utf8mb4) USING {self.character_set})"
        return f"CAST({back} AS BINARY) <> CAST({name} AS BINARY)"

    @property
    def of_bytes(self) -> str:
        """A type that keeps them as they are."""
        if self.kind.endswith("text"):
            return self.kind.removesuffix("text").upper() + "BLOB"
        return f"VARBINARY({self.length_bytes})"


def problems(session: Session, database: str, tables: Sequence[Table]) -> list[Problem]:
    """Rows that a restore would lose, or make others of; each with the cure."""
    with_rows = {
        table.name: qualified(database, table.name)
        + (" FOR SYSTEM_TIME ALL" if table.kind == "SYSTEM VERSIONED" else "")
        for table in tables
        if not table.is_view
    }
    return _members(session, database, with_rows) + _texts(session, database, with_rows)


def look(session: Session, query: str) -> list[tuple[Any, ...]]:
    """Its rows; none of a table that was dropped, or altered, since it was listed."""
    try:
        return session.rows(query, what=_WHAT)
    except BackupError as error:
        if code_of(error) not in (NO_SUCH_TABLE, _NO_SUCH_COLUMN):
            raise
        return []


def _members(session: Session, database: str, with_rows: Mapping[str, str]) -> list[Problem]:
    found = []
    for place, table, column, kind, character_set in session.rows(
        _MEMBERS, (database,), what=_WHAT
    ):
        if place != database or table not in with_rows:
            continue
        name, is_bytes = identifier(column), character_set == "binary"
        is_not_shown = (
            f"CAST(CONVERT({name} USING utf8mb3) AS BINARY) <> CAST({name} AS BINARY)"
            if is_bytes
            else f"CONVERT(CONVERT({name} USING utf8mb3) USING utf8mb4)"
            f" <> CONVERT({name} USING utf8mb4) COLLATE utf8mb4_bin"
        )
        what = "bytes that are no UTF-8" if is_bytes else "characters such as emoji"
        if look(session, f"SELECT 1 FROM {with_rows[table]} WHERE {is_not_shown} LIMIT 1"):  # noqa: S608
            found.append(
                Problem(
                    "tables",
                    f"the {kind.upper()} {name} of {qualified(database, table)} has members with "
                    f"{what}, which the server shows as '?' when it is asked for the definition: "
                    "rows that hold them would come back empty. Make it a "
                    f"{'VARBINARY' if is_bytes else 'VARCHAR'}, or rename the members: ALTER TABLE "
                    f"{qualified(database, table)} MODIFY {name} ...",
                )
            )
    return found


def _texts(session: Session, database: str, with_rows: Mapping[str, str]) -> list[Problem]:
    """A dump is UTF-8: what comes back from there as another text; each table is read once."""
    columns: dict[str, list[_Text]] = {}
    for place, table, name, kind, character_set, length in session.rows(
        _TEXTS, (database,), what=_WHAT
    ):
        if place == database and table in with_rows:
            text = _Text(
                name=name, kind=kind.lower(), character_set=character_set, length_bytes=length
            )
            columns.setdefault(table, []).append(text)
    found = []
    for table, texts in sorted(columns.items()):
        counted = ", ".join(f"SUM({text.changes})" for text in texts)
        for numbers in look(session, f"SELECT {counted} FROM {with_rows[table]}"):  # noqa: S608
            found += [
                _changed(qualified(database, table), with_rows[table], text, number)
                for text, number in zip(texts, numbers, strict=True)
                if number
            ]
    return found


def _changed(table: str, its_rows: str, text: _Text, number: int) -> Problem:
    name = identifier(text.name)
    find = f"SELECT * FROM {its_rows} WHERE {text.changes};"  # noqa: S608
    return Problem(
        "tables",
        f"{number} rows of {table} have texts in {name} which come back as others from the UTF-8 "
        f"that every dump is in: {text.character_set} has characters that UTF-8 does not tell "
        f"apart, or does not have. Correct them - {find} - or keep their bytes: ALTER TABLE "
        f"{table} MODIFY {name} {text.of_bytes};",
    )
