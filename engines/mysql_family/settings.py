"""Settings of a server that shorten what every client reads, without a word."""

from __future__ import annotations

from controller.api.errors import Problem
from engines.mysql_family.connection import NO_LIMIT, Session

#: Variable -> the value that hides nothing, and what another one hides. The dump tools cannot all
#: be told to set it for themselves.
_HIDING = {
    "sql_select_limit": (NO_LIMIT, "the rows of a table beyond that number"),
    "show_gipk_in_create_table_and_information_schema": (1, "primary keys that the server made"),
}


def problems(session: Session) -> list[Problem]:
    """What the server gives its sessions that would make a dump come out short."""
    names = ", ".join(f"'{name}'" for name in (*_HIDING, "init_connect"))
    given: dict[str, str] = dict(
        session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    )
    found = [
        Problem(
            "server",
            f"{name} is {given[name]} here, and {hidden} would be missing from a backup without a "
            f"word: SET GLOBAL {name} = DEFAULT;",
        )
        for name, (value, hidden) in _HIDING.items()
        if name in given and given[name] not in (str(value), "ON")
    ]
    if "sql_select_limit" in given.get("init_connect", "").lower():
        found.append(
            Problem(
                "server",
                "init_connect sets sql_select_limit, and rows would be missing from a backup "
                "without a word: take it out of init_connect",
            )
        )
    return found
