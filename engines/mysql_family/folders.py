"""MariaDB's tables in a folder of their own (DATA DIRECTORY), which no RENAME moves along.

One that is renamed into another schema works until the server is started again, and is lost then:
neither its file nor what says where that is has moved. So a restore, whose last step is such a
rename, makes all tables in the server's own folder, and replaces none that is elsewhere. MySQL
moves them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from controller.api.errors import Problem
from engines.interface import StreamReader
from engines.mysql_family import text
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier, qualified

_WHAT = "while looking for tables in other folders"
_QUOTED = re.compile(rb"`(?:[^`]|``)*`|'(?:[^'\\]|''|\\.)*'", re.DOTALL)
_OPTION = re.compile(rb"\bDATA DIRECTORY\b")
_SHOWN = 5


class Here:
    """A reader of a dump whose tables are made in the server's own folder, partitions too."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader
        self._has_begun = False

    def read(self, size: int = -1, /) -> bytes:
        """Any number of bytes, b"" only at the end."""
        data = self._reader.read(size)
        if self._has_begun or not data:
            return data
        self._has_begun = True
        while len(data) < text.HEAD_BYTES and (more := self._reader.read(size)):
            data += more
        return text.without_folders(data)

    def close(self) -> None:
        self._reader.close()


def is_elsewhere(create: bytes) -> bool:
    """Whether a CREATE TABLE, as the server writes it, names a folder."""
    return _OPTION.search(_QUOTED.sub(b"", create)) is not None


def warnings(tables: Sequence[str], database: str) -> list[str]:
    """What to say of tables that a restore made in another folder than they were in."""
    if not tables:
        return []
    said = (
        f'the backup has tables with a DATA DIRECTORY, which are in "{database}" in the server\'s '
        "own folder now, as MariaDB would lose them at its next start elsewhere: "
    )
    return [said + _named(sorted(tables))]


def problems(session: Session, database: str) -> list[Problem]:
    """Tables that would be lost where they are kept."""
    found = _elsewhere(session, database)
    if not found:
        return []
    cures = "".join(f"ALTER TABLE {identifier(one)} FORCE, ALGORITHM = COPY; " for one in found)
    return [
        Problem(
            "target",
            f"{_named(found)} of {identifier(database)} have a DATA DIRECTORY, and MariaDB would "
            "lose what is kept of them when it is started again. In the server's own folder it "
            f"would not: USE {identifier(database)}; SET SESSION sql_mode = 'NO_DIR_IN_CREATE'; "
            f"{cures.strip()} Or restore under another name, with --database",
        )
    ]


def _elsewhere(session: Session, schema: str) -> list[str]:
    """Of one with partitions the catalogue tells no folder, but its definition does."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CREATE_OPTIONS FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND (CREATE_OPTIONS LIKE '%%DATA DIRECTORY%%'"
        " OR CREATE_OPTIONS LIKE '%%partitioned%%') ORDER BY TABLE_NAME",
        (schema,),
        what=_WHAT,
    )
    found = []
    for of, table, options in rows:
        if of != schema:
            continue
        if "DATA DIRECTORY" in options or is_elsewhere(_shown(session, schema, table)):
            found.append(table)
    return found


def _shown(session: Session, schema: str, table: str) -> bytes:
    ((_, statement, *_),) = session.texts(
        f"SHOW CREATE TABLE {qualified(schema, table)}", what=_WHAT
    )
    return str(statement).encode(errors="surrogateescape")


def _named(tables: Sequence[str]) -> str:
    more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
    return ", ".join(map(identifier, tables[:_SHOWN])) + more
