"""Keeps each job's outcome in its locations: read, change, write, best effort."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from controller.api.errors import BackupError, ObjectNotFound
from runner.locations import Location
from runner.logging import kv
from runner.outcome import JobOutcome
from runner.repository.state import RunnerState, decode_state, encode_state

log = logging.getLogger(__name__)


def read_state(location: Location) -> RunnerState:
    """The state as this location keeps it; an empty one where there is none to be read."""
    try:
        return decode_state(location.catalogue.read_small(location.layout.state))
    except ObjectNotFound:
        return RunnerState()
    except BackupError as error:
        log.warning("state not read", extra=kv(location=location.name, error=str(error)))
        return RunnerState()


def record_outcome(locations: Sequence[Location], outcome: JobOutcome) -> None:
    """Write an outcome into the state of every location that takes it."""
    for location in locations:
        state = read_state(location).after(outcome, location.name)
        try:
            location.catalogue.write_small(location.layout.state, encode_state(state))
        except BackupError as error:
            log.warning("state not written", extra=kv(location=location.name, error=str(error)))
