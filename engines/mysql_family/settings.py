"""Settings of a server that shorten what every client reads, or refuse what a restore makes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from controller.api.errors import BackupError, Problem
from engines.mysql_family.connection import Session
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import identifier

#: Variable -> whether a value hides something, and what. Not every account may set them all for
#: itself, nor every series.
_HIDING: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "show_gipk_in_create_table_and_information_schema": (
        lambda value: value != "ON",
        "primary keys that the server made",
    ),
    "max_error_count": (lambda value: value == "0", "that a view is broken"),
}
#: Nobody writes; all but those with one of these rights do not.
_FOR_NOBODY = ("super_read_only", "innodb_read_only")
_WRITES_NEVERTHELESS = ("SUPER", "CONNECTION_ADMIN", "READ_ONLY ADMIN")
#: In `BackupFacts.needs`: one of its tables that has none.
KEYLESS = "no primary key"
#: In `BackupFacts.needs`: the database's, which one that is made for a restore gets.
COMMENT = "comment"
#: In `BackupFacts.needs`: bytes of the longest statement of a dump, if that is long.
STATEMENT = "statement bytes"
#: What every server takes: the tools write rows of that many bytes together.
SHORT_BYTES = 1 << 20
#: What no server takes more of.
LONGEST_BYTES = 1 << 30
#: What a statement is sent with.
_SLACK_BYTES = 1 << 10
#: MySQL's: what they do to a table that has no primary key.
_FOR_KEYLESS = {
    "sql_generate_invisible_primary_key": "gives a column that the backup does not have to",
    "sql_require_primary_key": "refuses",
}
#: For who makes again what was made before the server was strict: about how long rows may be, what
#: a CHECK is (MariaDB's), and what a foreign key may point at (MySQL's since 8.4).
_LENIENT = (
    "SESSION innodb_strict_mode = OFF",
    "SESSION check_constraint_checks = OFF",
    "SESSION restrict_fk_on_non_standard_key = OFF",
)


def be_lenient(session: Session) -> list[str]:
    """Set what there is of that, and this account may set; returns it."""
    given = []
    for setting in _LENIENT:
        with contextlib.suppress(BackupError):  # MySQL asks for rights
            session.run(f"SET {setting}")
            given.append(setting)
    return given


def problems(session: Session) -> list[Problem]:
    """What the server gives its sessions that would make a dump come out short."""
    given = _given(session, tuple(_HIDING))
    return [
        Problem(
            "server",
            f"{name} is {given[name]} here, and {hidden} would be missing from a backup without a "
            f"word: SET GLOBAL {name} = DEFAULT;",
        )
        for name, (hides, hidden) in _HIDING.items()
        if name in given and hides(given[name])
    ]


def refusals(session: Session, rights: Rights, keyless: str) -> list[Problem]:
    """What the server would not let a restore make.

    Args:
        keyless: a table of the backup that has no primary key; empty: none is known.
    """
    given = _given(session, (*_FOR_NOBODY, "read_only", *_FOR_KEYLESS))
    shut = [name for name in _FOR_NOBODY if given.get(name) == "ON"]
    # MariaDB 12 knows further degrees of it.
    if given.get("read_only") not in ("OFF", "0") and not any(
        map(rights.on_server, _WRITES_NEVERTHELESS)
    ):
        shut.append("read_only")
    if shut:
        cure = "; ".join(f"SET GLOBAL {name} = OFF" for name in shut) + ";"
        if "innodb_read_only" in shut:
            cure = "start it without innodb_read_only"
        return [
            Problem(
                "server",
                f"{' and '.join(shut)} is on here, as on a replica: restore into the server that "
                f"this one follows; or, if it follows none: {cure}",
            )
        ]
    return [
        Problem(
            "server",
            f"{name} is on here, and {does} tables without a primary key, such as "
            f"{identifier(keyless)} of the backup: until it is restored, SET GLOBAL {name} = OFF;",
        )
        for name, does in _FOR_KEYLESS.items()
        if keyless and given.get(name) == "ON"
    ]


def statement_limit(session: Session) -> int:
    """Bytes of a statement that the server takes of a new session."""
    return int(session.one("SELECT @@GLOBAL.max_allowed_packet"))


def too_long(size: int, limit: int) -> str:
    """What to say of a statement of `size` bytes where the server takes `limit`, or nearly."""
    wanted = 1 << (size + _SLACK_BYTES).bit_length()
    return (
        f"max_allowed_packet is {limit} here, and a row of the backup makes a statement of {size} "
        "bytes or more, as binary data takes twice its size in one: until it is restored, "
        f"SET GLOBAL max_allowed_packet = {min(wanted, LONGEST_BYTES)};"
    )


def packets(session: Session, needed: str) -> list[Problem]:
    """Whether the server takes the longest statement of a backup.

    Args:
        needed: its bytes; empty: it is not known, or shorter than matters.
    """
    size, limit = int(needed or 0), statement_limit(session)
    return [Problem("server", too_long(size, limit))] if size + _SLACK_BYTES > limit else []


def _given(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Those of the variables that this server has, as every new session gets them."""
    listed = ", ".join(f"'{name}'" for name in names)
    return dict(session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})"))
