"""What a swap has replaced, under its dated name: it gets all of its own again.

Its tables are there; whatever cannot be made is a warning, because the target is whole by now.
"""

from __future__ import annotations

from controller.api.errors import BackupError
from engines.mysql_family import foreign_keys, sequences
from engines.mysql_family.connection import Session, use
from engines.mysql_family.content import Content, make
from engines.mysql_family.quoting import identifier


def furnish(session: Session, kept: str, old: Content) -> list[str]:
    """Give it triggers, routines, views and events, the last asleep.

    Args:
        old: what the target was, whose tables are in `kept`.
    Returns: warnings.
    """
    use(session, kept)
    warnings = []
    asleep = 0
    for one in old.definitions:
        try:
            is_event = one.kind == "EVENT"
            changed = one.disabled() if is_event else one.moved(old.schema, kept)
            asleep += is_event
            make(session, [changed], old.collation)
        except BackupError as error:
            warnings.append(
                f'the {one.kind.lower()} {identifier(one.name)} is not in "{kept}" ({error}): '
                f"{one.statement}"
            )
    warnings += _defaults(session, kept, old) + _keys(session, kept, old.schema)
    if asleep:
        warnings.append(f'events in "{kept}" are disabled')
    return warnings


def _defaults(session: Session, kept: str, old: Content) -> list[str]:
    """The sequences that were replaced are beside their tables again, and no others'."""
    if not old.has_sequences:
        return []
    warnings = []
    for one in sequences.defaults(session, kept, of=old.schema):
        try:
            session.run(
                *sequences.give([one], source=old.schema, schema=kept),
                what="while giving columns their defaults",
            )
        except BackupError as error:
            warnings.append(f'a default in "{kept}" asks a sequence that is gone: {error}')
    return warnings


def _keys(session: Session, kept: str, database: str) -> list[str]:
    """Foreign keys that pointed at no table: at one that is new in the target they shall not."""
    warnings = []
    for one in foreign_keys.pointing_into(session, kept, database):
        try:
            session.run(
                *foreign_keys.take_away([one], kept),
                *foreign_keys.give([one], schema=kept),
                what="while moving foreign keys",
            )
        except BackupError as error:
            warnings.append(
                f'the foreign key {identifier(one.name)} of {identifier(one.table)} in "{kept}" '
                f'points into "{database}", or is gone: {error}'
            )
    return warnings
