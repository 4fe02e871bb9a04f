"""Keeps each job's outcome in its locations: read, change, write, best effort."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from attrs import evolve

from controller.api.errors import FormatError, ObjectNotFound, StorageUnavailable
from controller.process.logging import kv
from runner.locations import Location, ask_each
from runner.outcome import JobOutcome
from runner.records import from_json, to_json
from runner.repository.state import RunnerState

log = logging.getLogger(__name__)

#: A location that hangs must not hold up the outcome that it is told.
_WRITE_S = 10.0
#: Of a message that lists problems, what a person still reads; the log has all of it.
_MESSAGE_CHARS = 2000


def read_state(location: Location) -> RunnerState:
    """The state as this location keeps it; an empty one where there is none, or a damaged one.

    Raises: StorageUnavailable, AccessDenied: it may be there, and must not be begun anew.
    """
    try:
        return from_json(
            RunnerState, location.catalogue.read_small(location.layout.state), "_state.json"
        )
    except ObjectNotFound:
        return RunnerState()
    except FormatError as error:
        log.warning("state not readable", extra=kv(location=location.name, error=str(error)))
        return RunnerState()


def record_outcome(
    locations: Sequence[Location], outcome: JobOutcome, cluster_id: str, *, named: bool = False
) -> None:
    """Write an outcome into the state of every location that takes it.

    Those that did not answer this job are left out: they would only hold it up.

    Args:
        named: the job was about one backup that was asked for by its id.
    """
    shortened = _shortened(outcome)
    silent = {fate.name for fate in outcome.fates if fate.reason == StorageUnavailable.reason}

    def write(location: Location) -> None:
        if location.catalogue.check_owner(cluster_id):
            state = read_state(location).after(shortened, location.name, named=named)
            location.catalogue.write_small(location.layout.state, to_json(state))

    chosen = [location for location in locations if location.name not in silent]
    for name, answer in ask_each(chosen, write, limit_s=_WRITE_S).items():
        if answer is not None:
            log.warning("state not written", extra=kv(location=name, error=str(answer)))


def _shortened(outcome: JobOutcome) -> JobOutcome:
    """What is remembered of it: the state has to stay small enough to be read again."""
    return evolve(
        outcome,
        message=outcome.message[:_MESSAGE_CHARS],
        fates=tuple(
            evolve(fate, message=fate.message[: _MESSAGE_CHARS // 4]) for fate in outcome.fates
        ),
        storage=(),
    )
