"""What becomes of one backup in every location, whoever moves its bytes there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.api.errors import BackupError, LocationsFailed, TerminalError
from runner.jobs.environment import JobEnvironment, JobFailure, failed_fate
from runner.jobs.prune import prune_location
from runner.locations import Location, Locations
from runner.outcome import JobOutcome, LocationFate, StageTiming
from runner.pipeline.fanout import describe
from runner.repository.catalogue import Listing
from runner.repository.layout import BackupId


class Fates:
    """Each location's own fate: what it stored, or the first error that it met."""

    def __init__(self, job: JobEnvironment, locations: Locations, started_at: datetime) -> None:
        self._job = job
        self._locations = locations
        self._started_at = started_at
        self.errors: dict[str, BaseException] = dict(locations.failed)
        self.stored_bytes: dict[str, int] = {}

    def check(self, cluster_id: str) -> list[tuple[Location, Listing]]:
        """Find the locations that can take a backup, with what each holds.

        What can be known to fail fails before the database is read.
        """

        def check(location: Location) -> Listing:
            location.keyring.check()
            location.catalogue.claim(cluster_id)
            # The look after the commit writes the index, and tells what is missing from it: a job
            # that fails would take that along.
            return location.catalogue.list()

        answers = self._job.ask("check", self._locations.opened, check)
        ready = []
        for location in self._locations.opened:
            answer = answers[location.name]
            if isinstance(answer, BackupError):
                self.fail(location.name, answer, "check")
            else:
                ready.append((location, answer))
        return ready

    def fail(self, name: str, error: BaseException, step: str) -> None:
        self.errors.setdefault(name, error)
        self._job.events.warning(f"location {name} failed ({step}): {describe(error)}")

    def left(self, locations: Sequence[Location]) -> list[Location]:
        """Those that have met no error."""
        return [location for location in locations if location.name not in self.errors]

    @property
    def are_enough(self) -> bool:
        """Whether as many locations hold the backup as the class asks for."""
        return len(self.stored_bytes) >= self._job.config.storage.required_locations

    def prune(self, committed: Sequence[Location], cluster_id: str) -> None:
        """Retention is part of the backup, its failure is not the backup's."""
        self._job.events.stage("prune")
        answers = self._job.ask(
            "prune", committed, lambda location: prune_location(self._job, location, cluster_id)
        )
        for name, answer in answers.items():
            if isinstance(answer, BackupError):
                self._job.events.warning(f"location {name}: not pruned: {answer}")

    def outcome(
        self,
        backup_id: BackupId,
        plain_bytes: int,
        stages: tuple[StageTiming, ...] = (),
        *,
        incremental: bool = False,
    ) -> JobOutcome:
        return self._job.outcome(
            self._started_at,
            backup_id=backup_id if self.stored_bytes else "",
            fates=tuple(
                self._fate(spec.name) for spec in self._job.config.storage.backup_locations
            ),
            plain_bytes=plain_bytes,
            incremental=incremental,
            stages=stages,
            locations=self._locations,
        )

    def _fate(self, name: str) -> LocationFate:
        if name in self.errors:
            return failed_fate(name, self.errors[name])
        return LocationFate(name=name, ok=True, stored_bytes=self.stored_bytes.get(name, 0))

    def incomplete(
        self, backup_id: BackupId, plain_bytes: int, *, incremental: bool = False
    ) -> JobFailure:
        """Too few locations: worth another try unless every one of them needs a person first."""
        total = len(self._job.config.storage.backup_locations)
        required = self._job.config.storage.required_locations
        message = (
            f"{len(self.stored_bytes)} of {total} locations hold the backup, "
            f"{required} required; failed: {', '.join(self.errors)}"
        )
        outcome = self.outcome(backup_id, plain_bytes, incremental=incremental)
        causes = list(self.errors.values())
        if all(isinstance(cause, TerminalError) for cause in causes):
            details = "; ".join(describe(cause) for cause in causes)
            return JobFailure(TerminalError(f"{message}: {details}"), outcome)
        return JobFailure(LocationsFailed(message), outcome)
