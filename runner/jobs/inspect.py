"""A look at every location: is it usable, what is there, what did a dead job leave.

Runs when the runner starts, after a job that died without a word, and now and
then, so that metrics and the schedule know the past from the bucket itself.
Every other job ends with the same look.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import Factory, evolve, frozen

from controller.api.errors import BackupError, ForeignOwner, LocationsFailed
from controller.api.status import BackupSummary
from controller.process.logging import kv
from runner.inspection import Inspection
from runner.jobs.environment import JobEnvironment, JobFailure
from runner.jobs.record import read_state
from runner.locations import Location, Locations, ask_each
from runner.outcome import JobOutcome, LocationFate, LocationState
from runner.repository.catalogue import Listing
from runner.repository.index import Summary
from runner.repository.layout import BackupId, parse_backup_id
from runner.repository.state import RunnerState

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class _Look:
    """One location, looked at; `listing` is None where that failed."""

    state: LocationState
    listing: Listing | None = None
    memory: RunnerState = Factory(RunnerState)


def run_inspect(job: JobEnvironment) -> JobOutcome:
    """Look at every location; one that is down fails nothing.

    Unfinished uploads are aborted as the request says, where this cluster
    writes: another runner, or a person's command, may be at work on the rest.
    """
    started_at = job.clock.now()
    with job.locations() as locations:
        if job.config.cluster_id and (job.request.abort_orphans or job.request.abandoned):
            answers = ask_each(
                locations.opened,
                lambda location: _abort_uploads(job, location),
                limit_s=job.answer_s,
            )
            for name, answer in answers.items():
                if isinstance(answer, BackupError):
                    log.warning(
                        "unfinished uploads not aborted",
                        extra=kv(location=name, error=str(answer)),
                    )
        inspection = inspect(job, locations)
        outcome = job.outcome(
            started_at,
            fates=tuple(
                LocationFate(
                    name=state.name, ok=state.healthy, reason=state.reason, message=state.message
                )
                for state in inspection.states
            ),
            locations=locations,
        )
    if not any(fate.ok for fate in outcome.fates):
        problems = "; ".join(f"{fate.name}: {fate.message}" for fate in outcome.fates)
        raise JobFailure(LocationsFailed(f"no location is usable: {problems}"), outcome)
    return outcome


def inspect(job: JobEnvironment, locations: Locations) -> Inspection:
    """Look, and tell the parent what was found."""
    now = job.clock.now()
    answers = job.ask("look", locations.opened, lambda location: _look(job, location, now))
    looks = [_Look(state=_unusable(name, error, now)) for name, error in locations.failed]
    for name, answer in answers.items():
        if isinstance(answer, BackupError):
            answer = _Look(state=_unusable(name, answer, now))  # noqa: PLW2901 - a look all the same
        looks.append(answer)
    required = job.config.storage.required_locations
    inspection = _together(looks, now, required)
    job.events.inspection(inspection)
    return inspection


def _abort_uploads(job: JobEnvironment, location: Location) -> None:
    if not location.catalogue.check_owner(job.cluster_id()):
        return  # nobody wrote here yet
    aborted = sum(
        location.storage.abort_stale_uploads(location.layout.backup_data(parse_backup_id(text)))
        for text in job.request.abandoned
    )
    if job.request.abort_orphans:
        oldest = job.clock.now() - job.config.backup.spec.timeout
        aborted += location.storage.abort_stale_uploads(location.layout.data, begun_before=oldest)
    if aborted:
        log.info("orphaned uploads aborted", extra=kv(location=location.name, count=aborted))


def _look(job: JobEnvironment, location: Location, now: datetime) -> _Look:
    """One location; another cluster's is not healthy for us, but can be read."""
    problem: BackupError | None = None
    try:
        if job.config.cluster_id:
            location.catalogue.claim(job.config.cluster_id)
    except ForeignOwner as error:
        problem = error
    may_write = bool(job.config.cluster_id) and problem is None
    memory = read_state(location)
    # Last: what it finds missing is counted once, by who may write that it is.
    listing = location.catalogue.list(update_index=may_write)
    state = evolve(
        _state(location.name, listing, memory, now),
        vanished_backups=len(location.catalogue.vanished) if may_write else 0,
    )
    if problem is not None:
        state = evolve(state, healthy=False, reason=problem.reason, message=str(problem))
    return _Look(state=state, listing=listing, memory=memory)


def _state(name: str, listing: Listing, memory: RunnerState, now: datetime) -> LocationState:
    backups = listing.backups
    unreadable = ", ".join(one.id for one in listing.unreadable)
    return LocationState(
        name=name,
        healthy=not unreadable,
        reason="UnreadableBackups" if unreadable else "",
        message=f"not readable by this version: {unreadable}" if unreadable else "",
        checked_at=now,
        stored_backups=len(backups),
        stored_bytes=sum(backup.stored_bytes for backup in backups),
        last_backup_at=backups[-1].started_at if backups else None,
        oldest_restorable_at=min((one.coverage_start for one in backups), default=None),
        newest_restorable_at=max((one.coverage_end for one in backups), default=None),
        last_verified_at=memory.verified.at if memory.verified else None,
        last_verification_ok=memory.verified.ok if memory.verified else None,
    )


def _unusable(name: str, error: BackupError, now: datetime) -> LocationState:
    return LocationState(
        name=name,
        healthy=False,
        answered=False,
        reason=error.reason,
        message=str(error),
        checked_at=now,
    )


def _complete(looks: Sequence[_Look], required: int) -> BackupSummary | None:
    """The newest backup that was, or is, in as many locations as are required.

    That it was is remembered: a location that was added since, or that is
    silent now, makes no success undone.
    """
    holders: defaultdict[BackupId, list[str]] = defaultdict(list)
    backups: dict[BackupId, Summary] = {}
    for look in looks:
        for backup in look.listing.backups if look.listing else ():
            holders[backup.id].append(look.state.name)
            backups[backup.id] = backup
    remembered = {look.memory.last_success_id for look in looks}
    found = [
        backup
        for backup in backups.values()
        if len(holders[backup.id]) >= required or backup.id in remembered
    ]
    if not found:
        return None
    newest = max(found, key=lambda one: (one.started_at, one.id))
    return BackupSummary(
        id=newest.id,
        started_at=newest.started_at,
        finished_at=newest.finished_at,
        size_bytes=newest.stored_bytes,
        locations=tuple(holders[newest.id]),
    )


def _plain_bytes(backups: Mapping[BackupId, Summary], complete: BackupSummary) -> int:
    """Of the full backup that it is, or that its chain begins with; 0: nobody lists that."""
    layer = backups[parse_backup_id(complete.id)].layer
    full = backups.get(layer.chain if layer else parse_backup_id(complete.id))
    return full.plain_bytes if full else 0


def _together(looks: list[_Look], now: datetime, required: int) -> Inspection:
    backups = {
        backup.id: backup for look in looks if look.listing for backup in look.listing.backups
    }
    complete = _complete(looks, required)
    inspection = Inspection(
        at=now,
        states=tuple(look.state for look in looks),
        stored_backups=len(backups),
        newest_at=max((backup.started_at for backup in backups.values()), default=None),
        complete=complete,
        complete_plain_bytes=_plain_bytes(backups, complete) if complete else 0,
    )
    # Locations remember what they were told; one that was down knows less. The latest wins.
    last: dict[str, JobOutcome] = {}
    for look in looks:
        for kind, outcome in look.memory.last.items():
            if kind not in last or outcome.finished_at > last[kind].finished_at:
                last[kind] = outcome
                if kind == "backup":
                    inspection = evolve(
                        inspection, consecutive_failures=look.memory.consecutive_failures
                    )
    return evolve(
        inspection,
        last=tuple(last[kind] for kind in sorted(last)),
        last_verified_at=_verified_since(looks),
    )


def _verified_since(looks: Sequence[_Look]) -> datetime | None:
    """Since when the newest backup of no location was left out; None if one never was verified.

    Of a location that is silent nothing is known, and another cluster's
    remembers that cluster's jobs.
    """
    ours = [
        look.memory.newest_verified_at
        for look in looks
        if look.state.answered and look.state.reason != ForeignOwner.reason
    ]
    known = [moment for moment in ours if moment is not None]
    return min(known) if ours and len(known) == len(ours) else None
