"""MySQL's general tablespaces that a backup's tables are in: they are the server's, not a schema's.

Which they are only definitions tell to who has not `PROCESS`, so they are read where those pass by.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.api.errors import Problem
from engines.mysql_family.connection import Session
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import identifier

#: In `BackupFacts.needs`, before the tablespace's name; the value is one of its tables.
_NEED = "tablespace:"
#: What names begin with that every server has, and nobody else may use.
_OF_THE_SERVER = "innodb_"
_RIGHT = "PROCESS"


def needs(found: Mapping[str, str]) -> dict[str, str]:
    """What a target has to offer, for `BackupFacts.needs`.

    Args:
        found: names of tablespaces in a dump, each with that of a table.
    """
    return {
        f"{_NEED}{name}": table
        for name, table in found.items()
        if not name.startswith(_OF_THE_SERVER)
    }


def problems(session: Session, rights: Rights, needed: Mapping[str, str]) -> list[Problem]:
    """Those that the server does not have, as far as this account may see them."""
    wanted = {
        name.removeprefix(_NEED): table for name, table in needed.items() if name.startswith(_NEED)
    }
    if not wanted or not rights.on_server(_RIGHT):
        return []
    there = {
        name
        for (name,) in session.rows(
            "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE SPACE_TYPE = 'General'",
            what="while looking for tablespaces",
        )
    }
    return [
        Problem(
            "server",
            f"the tablespace {identifier(name)} of {identifier(table)} in the backup is not here: "
            f"CREATE TABLESPACE {identifier(name)};",
        )
        for name, table in wanted.items()
        if name not in there
    ]
