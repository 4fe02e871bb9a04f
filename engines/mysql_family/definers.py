"""Whose views, routines, triggers and events are, and whether we may make what is theirs.

What we were given does not tell: MySQL wants SYSTEM_USER for the definers that
have it, and who has it is for administrators to see. So the server is asked,
with a statement that names the definer and changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from controller.api.errors import BackupError, Problem
from engines.interface import BackupFacts, Target
from engines.mysql_family.catalogue import Code
from engines.mysql_family.connection import Session, code_of
from engines.mysql_family.family import Family
from engines.mysql_family.grants import Rights
from engines.mysql_family.quoting import account, identifier, qualified

_SHOWN = 5
_WHAT = "while looking for definers"
_LACKS_A_RIGHT = 1227
#: What MySQL wants for a definer that is no account.
_FOR_NOBODY = "ALLOW_NONEXISTENT_DEFINER"


def problems(
    session: Session,
    family: Family,
    rights: Rights,
    *,
    facts: BackupFacts,
    target: Target,
    replaced: Sequence[Code],
) -> list[Problem]:
    """What keeps us from making the backup's objects, and those that are kept, anew.

    Args:
        replaced: what is in the target now. It is made again where it is kept, with the
            definers that it has, whatever the backup's are to become.
    """
    kept = {one.definer for one in replaced} - {rights.account, ""}
    made = {key.removeprefix("definer:") for key in facts.needs if key.startswith("definer:")}
    made = made - {rights.account} if target.owners else set()
    of_kept = _lacking(session, family, kept, target.database)
    of_made = _lacking(session, family, made, target.database)
    who = account(rights.account)
    found = [
        Problem(
            "privileges",
            f"{identifier(target.database)} is kept, with views, routines, triggers or events of "
            f"{_named(definers)}, and {who} may not make what belongs to others again: "
            f"{_cure(right, definers, who)} or restore under another name, with --database",
        )
        for right, definers in of_kept.items()
    ]
    found += [
        Problem(
            "privileges",
            f"views, routines, triggers or events belong to {_named(definers)}, and {who} may not "
            f"make what belongs to others: {_cure(right, definers, who)} or restore with "
            "--no-owner, which makes all of it ours",
        )
        for right, definers in of_made.items()
        if right not in of_kept and right != _FOR_NOBODY
    ]
    return found + _nobody(session, rights, made, of_made.get(_FOR_NOBODY, ()))


def _lacking(
    session: Session, family: Family, definers: Iterable[str], schema: str
) -> Mapping[str, list[str]]:
    """Rights that we lack, each with the definers that it is for."""
    found: dict[str, list[str]] = {}
    for definer in sorted(definers):
        right = _lacking_for(session, family, definer, schema)
        if right:
            found.setdefault(right, []).append(definer)
    return found


def _lacking_for(session: Session, family: Family, definer: str, schema: str) -> str | None:
    # There is no such event, which is found out after whether we may name its definer.
    event = qualified(schema, f"dbb_{secrets.token_hex(8)}")
    try:
        session.run(f"ALTER DEFINER = {account(definer)} EVENT {event} DISABLE", what=_WHAT)
    except BackupError as error:
        if code_of(error) == _LACKS_A_RIGHT:
            # The names of rights are the same in every language.
            named = (right for right in family.definer_rights if right in str(error))
            return next(named, family.definer_rights[-1])
    return None


def _nobody(
    session: Session, rights: Rights, definers: Iterable[str], known: Iterable[str]
) -> list[Problem]:
    """Definers of the backup that are no accounts here, as far as that is ours to see."""
    missing = set(known)
    if rights.on_table("SELECT", "mysql", "user"):
        rows = session.rows("SELECT CONCAT(User, '@', Host) FROM mysql.user", what=_WHAT)
        there = {name for (name,) in rows}
        missing |= {one for one in definers if one not in there and f"{one}@" not in there}
    if not missing:
        return []
    named = sorted(missing)
    return [
        Problem(
            "definers",
            f"there is no account {_named(named)} here, which views, routines, triggers or events "
            f"belong to: {_make(named)} or restore with --no-owner",
        )
    ]


def _cure(right: str, definers: Sequence[str], who: str) -> str:
    return _make(definers) if right == _FOR_NOBODY else f"GRANT {right} ON *.* TO {who};"


def _make(definers: Sequence[str]) -> str:
    return f"CREATE USER {account(definers[0])} ACCOUNT LOCK;"


def _named(definers: Sequence[str]) -> str:
    shown = ", ".join(account(one) for one in definers[:_SHOWN])
    more = len(definers) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
