"""What a look at all locations found: what metrics, status and the schedule start from."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from controller.api.status import BackupSummary
from runner.outcome import JobOutcome, LocationState


@frozen(kw_only=True)
class Inspection:
    """All locations together.

    Args:
        stored_backups: each id once, whichever locations hold it.
        newest_at: start of the newest one in any location: when a backup was
            last tried with some success.
        complete: the newest one that as many locations hold as are required,
            now or when it was made.
        complete_plain_bytes: what the engine wrote for it or, of one that has what changed only,
            for the full backup before it; 0 without one.
        last: the last job of each kind that some location remembers.
        consecutive_failures: of backups, as remembered.
        last_verified_at: the earliest over the locations of when its newest
            backup was last verified; None if one never was.
    """

    at: datetime
    states: tuple[LocationState, ...]
    stored_backups: int = 0
    newest_at: datetime | None = None
    complete: BackupSummary | None = None
    complete_plain_bytes: int = 0
    last: tuple[JobOutcome, ...] = ()
    consecutive_failures: int = 0
    last_verified_at: datetime | None = None
