"""What a change of the status is to a person who looks at `kubectl describe`.

An event is news: the first failure of a location and its recovery, not that it
still fails. What is true now is in the status.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from controller.api.conditions import BACKUP_HEALTHY, ConditionStatus, get_condition
from controller.api.status import DatabaseBackupStatus
from runner.conditions import VERIFIED, is_verdict

#: A runner that fails every minute tells so a few times, and does not fill etcd.
_WINDOW_S = 600.0
_PER_WINDOW = 10


@frozen
class Happening:
    """One event to be."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def happenings(old: DatabaseBackupStatus, new: DatabaseBackupStatus) -> Iterator[Happening]:
    """What happened between two statuses of one object, in the order of their fields."""
    yield from _backup(old, new)
    yield from _restore(old, new)
    yield from _verification(old, new)
    yield from _locations(old, new)


class EventLimit:
    """Drops what was said already, and what is too much. Not thread-safe."""

    def __init__(self, *, window_s: float = _WINDOW_S, per_window: int = _PER_WINDOW) -> None:
        self._window_s = window_s
        self._per_window = per_window
        self._admitted: deque[tuple[float, Happening]] = deque()

    def admits(self, happening: Happening, now_mono: float) -> bool:
        while self._admitted and now_mono - self._admitted[0][0] >= self._window_s:
            self._admitted.popleft()
        if len(self._admitted) >= self._per_window:
            return False
        if any(happening == said for _, said in self._admitted):
            return False
        self._admitted.append((now_mono, happening))
        return True


def _backup(old: DatabaseBackupStatus, new: DatabaseBackupStatus) -> Iterator[Happening]:
    attempt = new.last_attempt
    if attempt is None or attempt == old.last_attempt or not is_verdict(attempt):
        return
    if not attempt.succeeded:
        yield Happening("Warning", "BackupFailed", _why(attempt.reason, attempt.message))
    elif not _is(old, BACKUP_HEALTHY, ConditionStatus.TRUE):
        # The first one, or one after a failure; the others are no news.
        condition = get_condition(new.conditions, BACKUP_HEALTHY)
        yield Happening("Normal", "BackupSucceeded", condition.message if condition else "")


def _restore(old: DatabaseBackupStatus, new: DatabaseBackupStatus) -> Iterator[Happening]:
    restore = new.last_restore
    if restore is None or restore == old.last_restore:
        return
    into = f"database {restore.database}" if restore.database else "the configured database"
    what = f"{restore.backup_id or 'a backup'} into {into}"
    if restore.succeeded is None:
        yield Happening("Normal", "RestoreStarted", what)
    elif restore.succeeded:
        yield Happening("Normal", "RestoreSucceeded", what)
    else:
        yield Happening("Warning", "RestoreFailed", f"{what}: {restore.message}")


def _verification(old: DatabaseBackupStatus, new: DatabaseBackupStatus) -> Iterator[Happening]:
    last = new.last_verification
    if last is None or last == old.last_verification:
        return
    if last.succeeded is False:
        yield Happening("Warning", "VerificationFailed", _why(last.reason, last.message))
    elif last.succeeded and _is(old, VERIFIED, ConditionStatus.FALSE):
        yield Happening("Normal", "VerificationSucceeded", last.backup_id)


def _locations(old: DatabaseBackupStatus, new: DatabaseBackupStatus) -> Iterator[Happening]:
    was_healthy = {one.name: one.healthy for one in old.locations}
    for location in new.locations:
        if not location.healthy and was_healthy.get(location.name, True):
            why = _why(location.reason, location.message)
            yield Happening("Warning", "LocationFailed", f"{location.name}: {why}")
        elif location.healthy and not was_healthy.get(location.name, True):
            yield Happening("Normal", "LocationRecovered", location.name)


def _is(status: DatabaseBackupStatus, type_: str, value: ConditionStatus) -> bool:
    condition = get_condition(status.conditions, type_)
    return condition is not None and condition.status is value


def _why(reason: str, message: str) -> str:
    return f"{reason}: {message}" if reason else message
