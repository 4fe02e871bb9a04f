"""Verification: every byte of a backup is read, checked and taken apart by the engine's tools."""

from __future__ import annotations

from collections.abc import Sequence

from controller.api.errors import BackupError, IntegrityError, NotRestorable
from engines.interface import Engine
from runner.jobs.environment import JobEnvironment, JobFailure, failed_fate
from runner.locations import Location, asked_id
from runner.outcome import JobOutcome, LocationFate
from runner.repository.catalogue import Unreadable
from runner.repository.layout import BackupId
from runner.repository.manifest import WrapKind


def run_verify(job: JobEnvironment) -> JobOutcome:
    """Verify the newest backup, a named one or all, in every location or one.

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
                checked.update(_verify_location(job, engine, location))
            except BackupError as error:
                if job.context.cancelled.is_set():
                    raise
                fates.append(failed_fate(location.name, error))
                errors.append(error)
            else:
                fates.append(LocationFate(name=location.name, ok=True))
        outcome = job.outcome(
            started_at,
            backup_id=max(checked, default=""),
            fates=tuple(fates),
            locations=locations,
        )
    if errors:
        raise JobFailure(errors[0], outcome)
    return outcome


def _verify_location(job: JobEnvironment, engine: Engine, location: Location) -> Sequence[BackupId]:
    wanted, unreadable = _wanted(job, location)
    for number, backup_id in enumerate(wanted):
        job.events.stage(f"verify {location.name}", done=number, total=len(wanted))
        try:
            manifest = location.catalogue.manifest(backup_id)
        except IntegrityError as error:
            raise type(error)(f"backup {backup_id}: {error}") from error
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size

        job.events.count(lambda: {location.name: read})  # noqa: B023 - asked while this one runs
        if manifest.encryption.wrap is WrapKind.RECIPIENTS:
            # Whole, but is it readable? Only who holds the identity can say.
            location.check_stored(manifest, on_bytes=count)
            job.events.warning(
                f"location {location.name}: every stored byte of {backup_id} is as it was written; "
                "its contents were not looked at, the runner has no key (NoKey)"
            )
            continue
        source = location.source(manifest, on_bytes=count)
        problems = engine.verify_streams(source, manifest.facts, job.context)
        if source.error is not None:
            raise source.error
        if problems:
            raise IntegrityError(
                f"backup {backup_id} in {location.name}: " + "; ".join(map(str, problems))
            )
    if unreadable:
        details = "; ".join(f"{one.id}: {one.problem}" for one in unreadable)
        raise IntegrityError(f"not readable in {location.name}: {details}")
    return wanted


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
