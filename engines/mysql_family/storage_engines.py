"""Storage engines that a backup's tables have: a server without one makes InnoDB of it, unasked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.api.errors import Problem
from engines.mysql_family.catalogue import Table
from engines.mysql_family.connection import Session
from engines.mysql_family.quoting import identifier

#: In `BackupFacts.needs`, before the engine's name; the value is one of its tables.
_NEED = "engine:"
_SUPPORTED = {"YES", "DEFAULT"}
#: MariaDB's: all tables are of that engine. MySQL's: none is of those, separated by commas.
_ENFORCED, _DISABLED = "enforce_storage_engine", "disabled_storage_engines"


def needs(tables: Iterable[Table]) -> dict[str, str]:
    """What a target has to offer, for `BackupFacts.needs`."""
    found: dict[str, str] = {}
    for table in tables:
        if table.engine:
            found.setdefault(f"{_NEED}{table.engine}", table.name)
    return found


def problems(session: Session, needed: Mapping[str, str]) -> list[Problem]:
    """Those that the server would not make a table of.

    Args:
        needed: of the backup; a backup of an earlier release does not name tables.
    """
    supported = {
        str(name).lower(): str(support)
        for name, support in session.rows(
            "SELECT ENGINE, SUPPORT FROM information_schema.ENGINES", what="while reading engines"
        )
    }
    given = dict(
        session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('{_ENFORCED}', '{_DISABLED}')")
    )
    enforced = given.get(_ENFORCED, "")
    disabled = {name.strip().lower() for name in given.get(_DISABLED, "").split(",")}
    found = []
    for name, table in needed.items():
        if not name.startswith(_NEED):
            continue
        engine = name.removeprefix(_NEED)
        if supported.get(engine.lower()) not in _SUPPORTED:
            found.append(
                _problem(
                    engine,
                    table,
                    "is not here",
                    "install it or switch it on, or restore into a server that has it",
                )
            )
        elif engine.lower() in disabled:
            found.append(
                _problem(
                    engine, table, f"is among {_DISABLED} here", "start the server without that"
                )
            )
        elif enforced and enforced.lower() != engine.lower():
            found.append(
                _problem(
                    engine,
                    table,
                    f"is not what {_ENFORCED} allows here, which is {enforced}",
                    f"until it is restored, SET GLOBAL {_ENFORCED} = NULL;",
                )
            )
    return found


def _problem(engine: str, table: str, why: str, cure: str) -> Problem:
    of_table = f" of {identifier(table)}" if table else ""
    return Problem(
        "server",
        f"the storage engine {engine}{of_table} in the backup {why}, and the server would make its "
        f"tables with another one without a word: {cure}",
    )
