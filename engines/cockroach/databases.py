"""Databases of a cluster: which there are, and how a restored one gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from controller.api.errors import BackupError, TargetExists
from engines.cockroach import jobs, statements
from engines.cockroach.connection import Cluster, ClusterFailed
from engines.interface import JobContext

_MAX_NAME_BYTES = 63
#: What is left to do where nothing can be renamed.
NO_SWAP = (
    "CockroachDB renames no database in which a view, function or trigger reads a table: restore "
    "under a name that is free, with --database, and let clients use that; or drop the old "
    "database yourself and restore again, without --replace"
)
#: How a cluster refuses to rename what a view, function or trigger reads by its name.
_DEPENDS = "depends on"


@frozen(kw_only=True)
class Database:
    """What is there under a name.

    Args:
        tables: with views and sequences. has_views: then it keeps its name, as clusters have it.
    """

    owner: str
    tables: int
    has_views: bool = False


def look(cluster: Cluster, name: str) -> Database | None:
    """Describe a database; None if there is none of that name."""
    owners = _owners(cluster)
    if name not in owners:
        return None
    tables = _tables(cluster, name)
    return Database(
        owner=owners[name],
        tables=len(tables),
        has_views=any("view" in str(row.get("type")) for row in tables),
    )


def count_tables(cluster: Cluster, name: str) -> int:
    """How many tables, views and sequences there are."""
    return len(_tables(cluster, name))


def _tables(cluster: Cluster, name: str) -> Sequence[Mapping[str, Any]]:
    return cluster.rows(f'while looking into "{name}"', statements.tables_of(name))


def _owners(cluster: Cluster) -> Mapping[str, str]:
    rows = cluster.rows("while looking for databases", "SHOW DATABASES")
    return {str(row["database_name"]): str(row.get("owner") or "") for row in rows}


def beside(target: str, label: str) -> str:
    """Name of what a restore makes beside what it is to replace."""
    return f"{_prefix(target)}{label}"


def _prefix(target: str) -> str:
    return f"dbb_restore_{hashlib.sha256(target.encode()).hexdigest()[:10]}_"


def kept_name(target: str, now: datetime) -> str:
    """Dated name for a replaced database, at most 63 bytes long."""
    suffix = f"_before_{now:%Y%m%d%H%M%S}"
    head = target.encode()[: _MAX_NAME_BYTES - len(suffix)].decode(errors="ignore")
    return head + suffix


def clear_leftovers(
    cluster: Cluster, target: str, context: JobContext, *, is_ours: Callable[[jobs.Job], bool]
) -> list[str]:
    """End and drop what killed restores of this target left.

    Args:
        is_ours: whether a job reads a backup of the same object.
    Returns: what could not be dropped, as warnings.
    Raises: TargetExists: somebody else is restoring into that name.
    """
    prefix = _prefix(target)
    for job in jobs.jobs(cluster, "RESTORE"):
        is_beside = prefix in job.description
        if job.is_ended or not (is_beside or statements.into(target) in job.description):
            continue
        if not (is_beside or is_ours(job)):
            raise TargetExists(
                f"the cluster's job {job.id} is restoring into that name: wait for it, or "
                f"CANCEL JOB {job.id}"
            )
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


def dropped_if_empty(cluster: Cluster, name: str) -> bool:
    """Drop a database that holds nothing, not a type, function or schema either."""
    try:
        cluster.rows(f'while dropping "{name}"', statements.drop_empty(name))
    except BackupError:
        return False
    return True


def give_name(cluster: Cluster, made: str, name: str) -> None:
    """Rename a database.

    Raises: TargetExists: it has views or their like, and so cannot be swapped.
    """
    try:
        cluster.rows(f'while renaming to "{name}"', statements.rename(made, name))
    except ClusterFailed as error:
        if _DEPENDS not in str(error):
            raise
        raise TargetExists(f"{error}. {NO_SWAP}") from None


def move_away(cluster: Cluster, name: str) -> str:
    """Free a name. Returns: the dated one that its database has now."""
    now: datetime = cluster.row("while asking for the time", "SELECT now()")["now"]
    kept = kept_name(name, now)
    give_name(cluster, name, kept)
    return kept


def swap(cluster: Cluster, made: str, name: str) -> str:
    """Put `made` in the place of the database `name`.

    Two renames: the cluster has no transaction for both. Between them there is no database of
    that name; if the second one fails the first is taken back.

    Returns: the dated name that the replaced one has now.
    """
    kept = move_away(cluster, name)
    try:
        give_name(cluster, made, name)
    except BackupError as error:
        move_back(cluster, kept, name, error)
        raise
    return kept


def move_back(cluster: Cluster, kept: str, name: str, error: BaseException) -> None:
    """Give a database its name again, after `error`, which tells if that fails."""
    try:
        give_name(cluster, kept, name)
    except BackupError as further:
        error.add_note(
            f'the database "{name}" is now called "{kept}" and could not be renamed back: {further}'
        )
