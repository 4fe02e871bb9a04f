"""STORED generated columns that a restore may fill with other values than were backed up.

No statement takes a value for one: the server computes it again, of what is loaded, in the loading
session's time zone. That is another value where a TIMESTAMP was looked at in another zone, or a
FLOAT had more than the 6 digits that a server shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from attrs import frozen

from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, EXTRA, COALESCE(GENERATION_EXPRESSION, '')
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN (
    SELECT TABLE_NAME FROM information_schema.COLUMNS
     WHERE TABLE_SCHEMA = %s AND EXTRA LIKE '%%STORED GENERATED%%')
"""
_NAME = re.compile(r"`((?:[^`]|``)*)`")
#: MariaDB's, which look at a DATETIME in the session's time zone.
_ZONED = re.compile(r"\b(?:unix_timestamp|from_unixtime)\(", re.IGNORECASE)
#: MariaDB's columns of a table's history, which come with the rows.
_HISTORY = ("ROW START", "ROW END")
_SHOWN = 5


@frozen(kw_only=True)
class _Column:
    kind: str
    is_stored: bool
    expression: str

    def reads(self, columns: Mapping[str, _Column], kind: str) -> bool:
        """Whether it is computed of a column of that type, maybe by way of others."""
        names = (name.replace("``", "`") for name in _NAME.findall(self.expression))
        known = (columns[name] for name in names if name in columns)
        return any(one.kind == kind or one.reads(columns, kind) for one in known)

    def depends_on_zone(self, columns: Mapping[str, _Column]) -> bool:
        is_zoned = self.kind == "timestamp" or _ZONED.search(self.expression) is not None
        return is_zoned or self.reads(columns, "timestamp")


def warnings(session: Session, schema: str, database: str) -> list[str]:
    """What to look at in a restored database; nothing: no such columns are there.

    Args:
        schema: where its tables are. database: where they go.
    """
    tables: dict[str, dict[str, _Column]] = {}
    for place, table, name, kind, extra, expression in session.rows(
        _COLUMNS, (schema, schema), what="while looking for generated columns"
    ):
        if place == schema:
            tables.setdefault(table, {})[name] = _Column(
                kind=kind.lower(),
                is_stored="STORED GENERATED" in extra and expression not in _HISTORY,
                expression=expression,
            )
    zoned: list[tuple[str, str]] = []
    floats: list[tuple[str, str]] = []
    for table, columns in tables.items():
        for name, column in columns.items():
            if not column.is_stored:
                continue
            if column.depends_on_zone(columns):
                zoned.append((table, name))
            if column.reads(columns, "float"):
                floats.append((table, name))
    found = []
    if zoned:
        found.append(
            f"computed anew, in the time zone +00:00: {_named(zoned)}. If they were written in "
            f'another one, let a session in "{database}" compute them: SET time_zone = ...; '
            f"ALTER TABLE {identifier(min(zoned)[0])} FORCE, ALGORITHM = COPY;"
        )
    if floats:
        found.append(
            f"computed anew, of a FLOAT's 6 digits that a server shows: {_named(floats)}. They may "
            "differ from what was backed up behind those"
        )
    return found


def _named(columns: Sequence[tuple[str, str]]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return ", ".join(qualified(*column) for column in sorted(columns)[:_SHOWN]) + more
