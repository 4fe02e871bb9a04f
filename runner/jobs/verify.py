"""Verification: every byte of a backup is read, checked and taken apart by the engine's tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.api.errors import BackupError, IntegrityError, NoKey, NotRestorable
from engines.interface import Engine
from runner.jobs.collections import to_read
from runner.jobs.environment import (
    JobEnvironment,
    JobFailure,
    failed_fate,
    moves_streams,
    stores_by_itself,
)
from runner.locations import Location, asked_id
from runner.outcome import JobOutcome, LocationFate
from runner.repository.catalogue import Unreadable
from runner.repository.layout import BackupId
from runner.repository.manifest import Manifest


def run_verify(job: JobEnvironment) -> JobOutcome:
    """Verify the newest backup, a named one or all, in every location or one.

    What a restore would refuse is not verified. A backup that is for others
    to read is neither whole nor damaged: its location's fate says NoKey.

    Raises: JobFailure when any location is not whole; what kept a location
        from being read counts too - it is not proven.
    """
    started_at = job.clock.now()
    engine = job.engine()
    errors: list[BackupError] = []
    fates: list[LocationFate] = []
    checked: set[BackupId] = set()
    with job.locations() as locations:
        for name, error in locations.failed:
            fates.append(failed_fate(name, error))
            errors.append(error)
        for location in locations.opened:
            try:
                ids, fate = _verify_location(job, engine, location)
            except BackupError as error:
                if job.context.cancelled.is_set():
                    raise
                fates.append(failed_fate(location.name, error))
                errors.append(error)
            else:
                checked.update(ids)
                fates.append(fate)
        outcome = job.outcome(
            started_at,
            backup_id=max(checked, default=""),
            fates=tuple(fates),
            locations=locations,
        )
    if errors:
        raise JobFailure(errors[0], outcome)
    return outcome


def _verify_location(
    job: JobEnvironment, engine: Engine, location: Location
) -> tuple[Sequence[BackupId], LocationFate]:
    wanted, unreadable = _wanted(job, location)
    unknown = []
    for number, backup_id in enumerate(wanted):
        job.events.stage(f"verify {location.name}", done=number, total=len(wanted))
        try:
            manifest = location.catalogue.manifest(backup_id)
        except IntegrityError as error:
            raise type(error)(f"backup {backup_id}: {error}") from error
        location.check_trusted(manifest, accept_unencrypted=job.request.accept_unencrypted)
        if location.is_for_others(manifest):
            location.check_stored(manifest, on_bytes=_counter(job, location))
            unknown.append(backup_id)
        else:
            _check_contents(job, engine, location, manifest)
    if unreadable:
        details = "; ".join(f"{one.id}: {one.problem}" for one in unreadable)
        raise IntegrityError(f"not readable in {location.name}: {details}")
    if not unknown:
        return wanted, LocationFate(name=location.name, ok=True)
    message = (
        f"every stored byte of {', '.join(unknown)} is as it was written; whether it can be "
        "restored only a holder of one of the recipients' keys can say"
    )
    fate = LocationFate(name=location.name, ok=None, reason=NoKey.reason, message=message)
    return wanted, fate


def _check_contents(
    job: JobEnvironment, engine: Engine, location: Location, manifest: Manifest
) -> None:
    if manifest.layer is not None:
        # The database itself compares every file with what it wrote down of it.
        to_read(location, manifest, manifest.layer, stores_by_itself(engine), job.context)
        return
    source = location.source(manifest, on_bytes=_counter(job, location))
    problems = moves_streams(engine).verify_streams(source, manifest.facts, job.context)
    if source.error is not None:
        raise source.error
    if problems:
        raise IntegrityError(
            f"backup {manifest.id} in {location.name}: " + "; ".join(map(str, problems))
        )


def _counter(job: JobEnvironment, location: Location) -> Callable[[int], None]:
    """Counts what is read of one backup, as its progress."""
    read = 0

    def count(size: int) -> None:
        nonlocal read
        read += size

    job.events.count(lambda: {location.name: read})
    return count


def _wanted(
    job: JobEnvironment, location: Location
) -> tuple[Sequence[BackupId], Sequence[Unreadable]]:
    if job.request.name:
        return [asked_id(job.request.name)], []
    listing = location.catalogue.list()
    newest = listing.backups[-1].id if listing.backups else BackupId("")
    # Ids begin with the start: one that is later than the newest readable is the newest.
    unreadable = [one for one in listing.unreadable if job.request.everything or one.id > newest]
    if not listing.backups and not unreadable:
        raise NotRestorable(f"location {location.name} holds no backup")
    ids = [backup.id for backup in listing.backups]
    return (ids if job.request.everything else ids[-1:]), unreadable
