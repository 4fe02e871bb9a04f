"""Databases of a cluster: which there are, and the swap of a restored one for another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from controller.api.errors import BackupError
from engines.cockroach import jobs, statements
from engines.cockroach.connection import Cluster
from engines.interface import JobContext

_MAX_NAME_BYTES = 63


@frozen(kw_only=True)
class Database:
    """What is there under a name."""

    owner: str
    tables: int


def look(cluster: Cluster, name: str) -> Database | None:
    """Describe a database; None if there is none of that name."""
    owners = _owners(cluster)
    if name not in owners:
        return None
    return Database(owner=owners[name], tables=count_tables(cluster, name))


def count_tables(cluster: Cluster, name: str) -> int:
    """How many tables, views and sequences there are."""
    return len(cluster.rows(f'while looking into "{name}"', statements.tables_of(name)))


def _owners(cluster: Cluster) -> Mapping[str, str]:
    rows = cluster.rows("while looking for databases", "SHOW DATABASES")
    return {str(row["database_name"]): str(row.get("owner") or "") for row in rows}


def beside(target: str, label: str) -> str:
    """Name of what a restore makes before it gets its final name."""
    return f"{_prefix(target)}{label}"


def _prefix(target: str) -> str:
    return f"dbb_restore_{hashlib.sha256(target.encode()).hexdigest()[:10]}_"


def kept_name(target: str, now: datetime) -> str:
    """Dated name for a replaced database, at most 63 bytes long."""
    suffix = f"_before_{now:%Y%m%d%H%M%S}"
    head = target.encode()[: _MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")
    return head + suffix


def clear_leftovers(cluster: Cluster, target: str, context: JobContext) -> list[str]:
    """End and drop what killed restores of this target left.

    Returns: what could not be dropped, as warnings.
    """
    prefix = _prefix(target)
    for job in jobs.jobs(cluster, "RESTORE"):
        if prefix in job.description and not job.is_ended:
            jobs.cancel(cluster, job, context)
    warnings = []
    for name in _owners(cluster):
        if name.startswith(prefix):
            try:
                drop(cluster, name)
            except BackupError as error:
                warnings.append(f'"{name}" is left from an earlier restore: {error}')
    return warnings


def drop(cluster: Cluster, name: str) -> None:
    cluster.rows(f'while dropping "{name}"', statements.drop(name))


def give_name(cluster: Cluster, made: str, name: str) -> None:
    cluster.rows(f'while renaming to "{name}"', statements.rename(made, name))


def swap(cluster: Cluster, made: str, name: str) -> str:
    """Put `made` in the place of the database `name`.

    Two renames: the cluster has no transaction for both. Between them there is no database of
    that name; if the second one fails the first is taken back.

    Returns: the dated name that the replaced one has now.
    """
    now: datetime = cluster.row("while asking for the time", "SELECT now()")["now"]
    kept = kept_name(name, now)
    give_name(cluster, name, kept)
    try:
        give_name(cluster, made, name)
    except BackupError as error:
        try:
            give_name(cluster, kept, name)
        except BackupError as further:
            error.add_note(
                f'the database "{name}" is now called "{kept}" and could not be renamed back: '
                f"{further}"
            )
        raise
    return kept
