"""The statements, as text with placeholders: what is secret is never in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from controller.api.secrets import Secret
from engines.postgres.quoting import identifier, literal

#: What a session is executing, as another one of the same user sees it.
AT_WORK = "SELECT phase FROM [SHOW CLUSTER STATEMENTS] WHERE session_id = %s"
#: What a statement's placeholders stand for.
Arguments = tuple[str, ...]


def _name(name: str) -> str:
    """A name within a statement that has placeholders."""
    return identifier(name).replace("%", "%%")


def _instant(moment: datetime) -> str:
    """A time as AS OF SYSTEM TIME reads it, to the microsecond."""
    return literal(moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00:00"))


def _options(words: Sequence[str], passphrase: Secret | None) -> tuple[str, Arguments]:
    encrypted = [] if passphrase is None else ["encryption_passphrase = %s"]
    arguments = () if passphrase is None else (passphrase.reveal(),)
    options = [*encrypted, *words]
    return (f" WITH {', '.join(options)}" if options else ""), arguments


def backup(
    database: str,
    uri: Secret,
    passphrase: Secret | None,
    *,
    at: datetime,
    extend: bool,
    history: bool,
) -> tuple[str, Arguments]:
    """BACKUP, detached. The instant is given, so that it is known to the microsecond."""
    options, arguments = _options(
        [*(["revision_history"] if history else []), "detached"], passphrase
    )
    onto = "LATEST IN " if extend else ""
    text = f"BACKUP DATABASE {_name(database)} INTO {onto}%s AS OF SYSTEM TIME {_instant(at)}"
    return text + options, (uri.reveal(), *arguments)


def restore(
    database: str, uri: Secret, passphrase: Secret | None, *, at: datetime, into: str
) -> tuple[str, Arguments]:
    """RESTORE under another name, detached."""
    options, arguments = _options(["new_db_name = %s", "detached"], passphrase)
    text = f"RESTORE DATABASE {_name(database)} FROM LATEST IN %s AS OF SYSTEM TIME {_instant(at)}"
    return text + options, (uri.reveal(), *arguments, into)


def show_backup(
    uri: Secret, passphrase: Secret | None, *, check_files: bool
) -> tuple[str, Arguments]:
    """Every layer of a collection, and whether each of their files is there."""
    options, arguments = _options(["check_files"] if check_files else [], passphrase)
    return f"SHOW BACKUP FROM LATEST IN %s{options}", (uri.reveal(), *arguments)


def jobs_of(kind: str) -> str:
    """Jobs of a kind that run or ended in the last 12 hours, each with all that is known of it."""
    return f"SHOW JOBS SELECT job_id FROM [SHOW JOBS] WHERE job_type = {literal(kind)}"  # noqa: S608 - quoted


def into(database: str) -> str:
    """How the description of a restore's job names the database that it makes."""
    return f"new_db_name = {literal(database)}"


def rename(old: str, new: str) -> str:
    return f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}"


def drop(database: str) -> str:
    return f"DROP DATABASE IF EXISTS {identifier(database)} CASCADE"


def drop_empty(database: str) -> str:
    return f"DROP DATABASE {identifier(database)} RESTRICT"


def tables_of(database: str) -> str:
    return f"SHOW TABLES FROM {identifier(database)}"


def by_hand(database: str, at: datetime) -> list[str]:
    """What a person writes; the URI is theirs to fill in."""
    restored = f"RESTORE DATABASE {identifier(database)} FROM LATEST IN 'URI'"
    return [
        "SHOW BACKUP FROM LATEST IN 'URI' WITH check_files;",
        f"{restored} AS OF SYSTEM TIME {_instant(at)} WITH new_db_name = 'NEW';",
    ]
