"""What a restarted runner wants to know and the manifests do not say.

Best effort and per location: losing it costs a metric until the next job. What
was backed up is always read from the manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import Factory, evolve, frozen

from runner.outcome import JobKind, JobOutcome, Result


@frozen(kw_only=True)
class Verified:
    """The last verification of this location; `ok` is None if it could not tell."""

    at: datetime
    ok: bool | None = None
    backup_id: str = ""


@frozen(kw_only=True)
class RunnerState:
    """The last job of each kind, and how often backups failed since the last success.

    `last_success_id` is of the backup that was last stored in as many
    locations as were required; `newest_verified_at` when the newest backup
    here was last verified: not one that a person named.
    """

    last: Mapping[str, JobOutcome] = Factory(dict)
    last_success_at: datetime | None = None
    last_success_id: str = ""
    consecutive_failures: int = 0
    verified: Verified | None = None
    newest_verified_at: datetime | None = None

    def after(self, outcome: JobOutcome, location: str, *, named: bool = False) -> RunnerState:
        """The state after a job, as `location` keeps it.

        Args:
            named: the job was about one backup that was asked for by its id.
        """
        state = evolve(self, last={**self.last, outcome.kind.value: outcome})
        if outcome.kind is JobKind.BACKUP:
            if outcome.success:
                return evolve(
                    state,
                    consecutive_failures=0,
                    last_success_at=outcome.finished_at,
                    last_success_id=outcome.backup_id,
                )
            if outcome.result is Result.FAILURE:  # a cancelled one is nobody's fault
                return evolve(state, consecutive_failures=self.consecutive_failures + 1)
            return state
        if outcome.kind is JobKind.VERIFY and outcome.result is not Result.CANCELLED:
            for fate in outcome.fates:
                if fate.name == location:
                    verified = Verified(
                        at=outcome.started_at, ok=fate.ok, backup_id=outcome.backup_id
                    )
                    newest_at = self.newest_verified_at if named else outcome.started_at
                    return evolve(state, verified=verified, newest_verified_at=newest_at)
        return state
