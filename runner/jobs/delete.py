"""Deletion of everything that one object has stored, for an object that goes with its data.

Each location by itself, and each as often as it takes: what is gone already is
no error, and a job that was killed left no backup, only data that the next one
finds. What another cluster owns, and what this version cannot read, stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from controller.api.errors import (
    BackupError,
    Cancelled,
    DataRetained,
    ForeignOwner,
    IntegrityError,
    StorageUnavailable,
)
from controller.process.logging import kv
from engines.interface import Progress
from runner.jobs.environment import JobEnvironment, JobFailure, failed_fate
from runner.locations import Location
from runner.outcome import JobOutcome, LocationFate
from runner.repository.catalogue import Unreadable
from runner.repository.erasure import holdings
from runner.wording import count_text

log = logging.getLogger(__name__)

#: Few enough that every store answers well before it counts as silent.
_BATCH = 100
#: Of what stays, so many are named.
_NAMED = 5
#: These say that data stays; every other error says that it has to be tried again.
_FINAL = (DataRetained, ForeignOwner)


def run_delete(job: JobEnvironment) -> JobOutcome:
    """Delete everything of this owner in every location.

    Raises: JobFailure, with DataRetained if nothing but what has to stay is left, else
        with the error of a location where another try may get further.
    """
    started_at = job.clock.now()
    cluster_id = job.cluster_id()
    errors: list[BackupError] = []
    fates: list[LocationFate] = []
    with job.locations() as locations:
        answers = job.ask(
            "delete", locations.opened, lambda location: _clear(job, location, cluster_id)
        )
        for name, answer in (*locations.failed, *answers.items()):
            if isinstance(answer, BackupError):
                fates.append(failed_fate(name, answer))
                errors.append(answer)
            else:
                fates.append(LocationFate(name=name, ok=True, message=answer))
        outcome = job.outcome(started_at, fates=tuple(fates), locations=locations)
    if errors:
        passing = [error for error in errors if not isinstance(error, _FINAL)]
        raise JobFailure(passing[0] if passing else _retained(fates), outcome)
    return outcome


def _clear(job: JobEnvironment, location: Location, cluster_id: str) -> str:
    """Empty the owner's folder in one location; says what that was.

    Raises: DataRetained, ForeignOwner; StorageUnavailable, AccessDenied; Cancelled.
    """
    storage, layout, catalogue = location.storage, location.layout, location.catalogue
    try:
        is_claimed = catalogue.check_owner(cluster_id)
    except IntegrityError as error:
        raise DataRetained(
            f"{layout.owner} cannot be read ({error}), so nobody can tell whose the backups are"
        ) from error
    keys = [info.key for info in storage.list(layout.root)]
    if not is_claimed and keys:
        catalogue.claim(cluster_id)
    unreadable = catalogue.list(use_index=False).unreadable if keys else ()
    found = holdings(layout, keys, kept={one.id for one in unreadable})
    total = sum(map(len, found.in_order()))
    done = 0
    for batch in _batches(found.in_order()):
        _go_on(job)
        job.events.progress(
            Progress(stage=f"delete {location.name}", done=done, total=total, unit="objects")
        )
        storage.delete(batch)
        done += len(batch)
    _go_on(job)
    storage.abort_stale_uploads(layout.data)
    log.info("backups deleted", extra=kv(location=location.name, count=len(found.manifests)))
    if unreadable or found.strangers:
        # With _owner.json: it keeps another cluster away from what stays.
        raise DataRetained(_words(unreadable, found.strangers))
    _finish(location)
    return f"deleted {count_text(len(found.manifests), 'backup')}" if keys else "holds nothing"


def _finish(location: Location) -> None:
    """Take `_owner.json` away, the last thing there is."""
    storage, layout = location.storage, location.layout
    if any(info.key != layout.owner for info in storage.list(layout.root)):
        raise StorageUnavailable(
            f"something was written below {layout.root} while it was deleted; it is tried again"
        )
    storage.delete([layout.owner])


def _batches(sorts: Iterator[tuple[str, ...]]) -> Iterator[Sequence[str]]:
    """Cut what goes into batches, none of two sorts: a store deletes a batch in any order."""
    for keys in sorts:
        for start in range(0, len(keys), _BATCH):
            yield keys[start : start + _BATCH]


def _go_on(job: JobEnvironment) -> None:
    if job.context.cancelled.is_set():
        raise Cancelled("the job was ended")


def _words(unreadable: Sequence[Unreadable], strangers: Sequence[str]) -> str:
    """What stays, and why."""
    said = []
    if unreadable:
        named = "; ".join(f"{one.id}: {one.problem}" for one in unreadable[:_NAMED])
        backups = count_text(len(unreadable), "backup")
        said.append(f"{backups} that this version cannot read: {named}")
    if strangers:
        objects = count_text(len(strangers), "object")
        said.append(f"{objects} of no known form: {', '.join(strangers[:_NAMED])}")
    return "it stays what is not this version's to delete: " + "; ".join(said)


def _retained(fates: Sequence[LocationFate]) -> DataRetained:
    return DataRetained("; ".join(f"{one.name}: {one.message}" for one in fates if not one.ok))
