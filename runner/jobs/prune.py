"""Retention's effects: one location at a time, the manifest first, never without a reason."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import timedelta

from controller.api.errors import BackupError, Cancelled, ClockWrong
from controller.process.logging import kv
from engines.interface import Progress
from runner.jobs.environment import JobEnvironment, JobFailure, failed_fate
from runner.jobs.inspect import inspect
from runner.locations import Location
from runner.outcome import JobOutcome, LocationFate
from runner.repository.catalogue import Listing
from runner.repository.layout import BackupId, parse_backup_id
from runner.retention.policy import Candidate, Decision, decide, policy_of
from runner.wording import time_text

log = logging.getLogger(__name__)

#: Data without a manifest is somebody's backup under way until no job can be that old.
_SWEEP_MARGIN = timedelta(hours=24)
#: More than two clocks of machines that keep the time, and less than any useful rule.
_CLOCK_TOLERANCE = timedelta(hours=1)
#: Of those that somebody else deleted, as many as fit a line.
_NAMED = 5


def candidates(listing: Listing) -> Iterable[Candidate]:
    """What retention looks at: readable committed backups. Others are never dropped."""
    for backup in listing.backups:
        yield Candidate(
            id=backup.id,
            started_at=backup.started_at,
            labels=backup.labels,
            chain=backup.layer.chain if backup.layer else "",
            layer=backup.layer.number if backup.layer else 0,
        )


def prune_location(job: JobEnvironment, location: Location, cluster_id: str) -> Decision:
    """Apply the policy to one location, then sweep what interrupted jobs left.

    Raises: ForeignOwner, ClockWrong, StorageUnavailable, AccessDenied.
    """
    location.catalogue.claim(cluster_id)
    decision = _decide(job, location)
    grace = job.config.backup.spec.timeout + _SWEEP_MARGIN
    orphans = location.catalogue.orphans(job.clock.now(), grace)
    if decision.drop or orphans:
        _check_clock(job, location, [parse_backup_id(verdict.id) for verdict in decision.drop])
    for number, verdict in enumerate(decision.drop):
        if job.context.cancelled.is_set():
            raise Cancelled("the job was ended")
        # Told one by one: deleting thousands takes long, and is no stall.
        job.events.progress(
            Progress(
                stage=f"prune {location.name}",
                done=number,
                total=len(decision.drop),
                unit="backups",
                detail=verdict.id,
            )
        )
        location.catalogue.remove(parse_backup_id(verdict.id))
        log.info(
            "backup pruned",
            extra=kv(
                location=location.name, backup_id=verdict.id, reason="; ".join(verdict.reasons)
            ),
        )
    for backup_id in location.catalogue.sweep(orphans):
        log.info(
            "data without a manifest deleted",
            extra=kv(location=location.name, backup_id=backup_id),
        )
    return decision


def _check_clock(job: JobEnvironment, location: Location, going: Collection[BackupId]) -> None:
    """Delete nothing by a clock that cannot be right: ages and the grace are counted from it.

    Raises: ClockWrong.
    """
    there = location.catalogue.store_time(going)
    here = job.clock.now()
    if abs(here - there) > _CLOCK_TOLERANCE:
        raise ClockWrong(
            f"nothing was deleted in location {location.name}: it is {time_text(here)} by this "
            f"machine's clock and {time_text(there)} by the store's. Set the one that is wrong"
        )


def run_prune(job: JobEnvironment) -> JobOutcome:
    """Prune, or say what would be pruned; reports every backup with its reasons."""
    started_at = job.clock.now()
    errors: list[BackupError] = []
    fates = []

    def prune(location: Location) -> Decision:
        if job.request.dry_run:
            return _decide(job, location)
        return prune_location(job, location, job.cluster_id())

    with job.locations() as locations:
        for name, error in locations.failed:
            fates.append(failed_fate(name, error))
            errors.append(error)
        for name, answer in job.ask("prune", locations.opened, prune).items():
            if isinstance(answer, BackupError):
                fates.append(failed_fate(name, answer))
                errors.append(answer)
            else:
                fates.append(LocationFate(name=name, ok=True))
                job.events.report(name, _rows(answer, dry_run=job.request.dry_run))
        if not job.request.dry_run and not job.request.location:
            inspect(job, locations)
        outcome = job.outcome(started_at, fates=tuple(fates), locations=locations)
    if errors:
        raise JobFailure(errors[0], outcome)
    return outcome


def _decide(job: JobEnvironment, location: Location) -> Decision:
    """Decide on what the manifests say; the index spares reading them while nothing has to go.

    Anybody who can write the bucket can write the index, and a wrong time in
    it would make the newest backup look like the oldest.
    """
    # No look follows at one location alone: what is gone there stays for the next one to count.
    may_write = not job.request.dry_run and not job.request.location
    listing = location.catalogue.list(update_index=may_write)
    decision = _judge(job, listing)
    if decision.drop:
        listing = location.catalogue.list(use_index=False, update_index=may_write)
        decision = _judge(job, listing)
    if vanished := sorted(location.catalogue.vanished):
        named = ", ".join(vanished[:_NAMED]) + (" ..." if len(vanished) > _NAMED else "")
        job.events.warning(
            f"location {location.name}: {len(vanished)} of its backups are gone, and no retention"
            f" dropped them: {named}"
        )
    for unreadable in listing.unreadable:
        job.events.warning(
            f"location {location.name}: backup {unreadable.id} is not readable and stays: "
            f"{unreadable.problem}"
        )
    return decision


def _judge(job: JobEnvironment, listing: Listing) -> Decision:
    return decide(candidates(listing), policy_of(job.config.backup.spec), job.clock.now())


def _rows(decision: Decision, *, dry_run: bool) -> list[dict[str, object]]:
    gone = "would drop" if dry_run else "dropped"
    rows: list[dict[str, object]] = [
        {"id": one.id, "verdict": verdict, "reasons": list(one.reasons)}
        for verdict, verdicts in (("keep", decision.keep), (gone, decision.drop))
        for one in verdicts
    ]
    return sorted(rows, key=lambda row: str(row["id"]), reverse=True)
