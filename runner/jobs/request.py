"""What a job is asked to do: values that travel as JSON to the child."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from runner.outcome import JobKind, JobOutcome
from runner.records import from_json, to_json


@frozen(kw_only=True)
class RestoreOptions:
    """Which backup, from where, into what.

    Args:
        at: the newest backup whose coverage starts at or before it; aware.
        name: a backup's id; exactly one of the two is given.
        location: only from this one; empty means the first that works.
        accept_unencrypted: also a backup that is not encrypted in a location
            that encrypts.
        database: target; empty means the database of the configuration.
    """

    at: datetime | None = None
    name: str = ""
    location: str = ""
    database: str = ""
    replace: bool = False
    owners: bool = True
    accept_unencrypted: bool = False
    dry_run: bool = False

    def target(self, configured: str) -> str:
        """The database that it goes into."""
        return self.database or configured


@frozen(kw_only=True)
class JobRequest:
    """One job.

    Args:
        scheduled: by the scheduler, not by a person.
        restore: of a RESTORE.
        name: backup id of a VERIFY; empty means the newest.
        everything: a VERIFY of all backups.
        accept_unencrypted: of a VERIFY, as of a restore.
        location: of a VERIFY or PRUNE; empty means all.
        dry_run: of a PRUNE.
        abort_orphans: of an INSPECT: also abort unfinished uploads that are older
            than any job may be.
        abandoned: of an INSPECT: backups whose job is known to be dead; their
            uploads are aborted whatever their age.
        lost: of an INSPECT: the outcome of a job that died without one.
    """

    kind: JobKind
    scheduled: bool = False
    restore: RestoreOptions | None = None
    name: str = ""
    everything: bool = False
    accept_unencrypted: bool = False
    location: str = ""
    dry_run: bool = False
    abort_orphans: bool = False
    abandoned: tuple[str, ...] = ()
    lost: JobOutcome | None = None

    @property
    def is_dry_run(self) -> bool:
        """Whether it only says what it would do."""
        return self.dry_run or bool(self.restore and self.restore.dry_run)


def look_after(lost: JobOutcome, *, scheduled: bool = False) -> JobRequest:
    """The look at the locations that takes back what a killed job left, and only that."""
    begun = lost.kind is JobKind.BACKUP and lost.backup_id
    return JobRequest(
        kind=JobKind.INSPECT,
        scheduled=scheduled,
        abandoned=(lost.backup_id,) if begun else (),
        lost=lost,
    )


def encode_request(request: JobRequest) -> bytes:
    return to_json(request)


def decode_request(raw: bytes | Mapping[str, Any]) -> JobRequest:
    """Read a request; raises FormatError for anything but what `encode_request` writes."""
    return from_json(JobRequest, raw, "the job request")
