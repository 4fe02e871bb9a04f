"""What a look at all locations found: what metrics, status and the schedule start from."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from runner.outcome import JobOutcome, LocationState


@frozen(kw_only=True)
class Inspection:
    """All locations together.

    Args:
        stored_backups: each id once, whichever locations hold it.
        newest_at: start of the newest one. newest_id: its id.
        last: the last job of each kind that some location remembers.
        consecutive_failures: of backups, as remembered.
        last_verified_at: of any location.
    """

    at: datetime
    states: tuple[LocationState, ...]
    stored_backups: int = 0
    newest_at: datetime | None = None
    newest_id: str = ""
    last: tuple[JobOutcome, ...] = ()
    consecutive_failures: int = 0
    last_verified_at: datetime | None = None
