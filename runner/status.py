"""The status sink of a cluster: the runner's part of the object's status, and its events.

Jobs only leave the newest status here; one thread hands it on. While the API
server does not answer there is one status that waits, not a queue of them, and
a few events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import Any

from attrs import evolve, frozen

from controller.api import codec
from controller.api.conditions import get_condition
from controller.api.deletion import DATA_DELETED
from controller.api.errors import (
    ApiThrottled,
    ApiUnavailable,
    BackupError,
    InvalidSpec,
    ObjectNotFound,
    RetriableError,
)
from controller.api.status import DatabaseBackupStatus
from controller.kube.client import Client, Raw
from controller.kube.events import Event
from controller.kube.resource import DATABASE_BACKUPS
from controller.process.clock import Clock
from controller.process.logging import kv
from runner.conditions import own_part
from runner.events import EventLimit, happenings
from runner.past import ended
from runner.ports import Confirm, Overtaken

log = logging.getLogger(__name__)

FIELD_MANAGER = "db-backup-runner"
#: Of those that wait for an API server; the oldest go first.
_EVENTS = 20
#: A status is read by people and copied into every list: a message is not a log.
_MESSAGE_CHARACTERS = 4096


@frozen(kw_only=True)
class StatusTiming:
    """How often the status is written.

    Args:
        pause_s: between two writes, however much happens.
        first_retry_s, last_retry_s: after a failed write, doubling between the two.
        refresh_s: written again even if nothing changed, in case somebody else
            changed our fields; where nobody did, the API server writes nothing.
    """

    pause_s: float = 3.0
    first_retry_s: float = 1.0
    last_retry_s: float = 60.0
    refresh_s: float = 3600.0


class ClusterStatus:
    """Writes the runner's part of one DatabaseBackup's status by server-side apply.

    Always the whole part, so that a field that is gone goes. Conflicts are
    forced: nothing but our own fields is in it.

    Args:
        regarding: the object, by its identity alone; with the uid, or `kubectl
            describe` does not find its events.
        instance: which runner, for events: the pod's name.
        confirm: of the fence, asked before each write: the status of a runner
            that was overtaken is of the past.
    Threads: `report` may be called by any; one thread of its own writes.
    `_changed` guards `_wanted`, `_events`, `_told`, `_due_mono` and `_closing`;
    no I/O happens under it.
    """

    def __init__(
        self,
        client: Client,
        *,
        regarding: Raw,
        instance: str,
        confirm: Confirm,
        clock: Clock,
        timing: StatusTiming | None = None,
    ) -> None:
        self._client = client
        self._regarding = regarding
        # Without the uid: an object that was made again goes on with the past of its name.
        identity = {key: regarding["metadata"][key] for key in ("namespace", "name")}
        self._identity = {**regarding, "metadata": identity}
        self._instance = instance
        self._confirm = confirm
        self._clock = clock
        self._timing = timing or StatusTiming()
        self._changed = threading.Condition()
        self._wanted: DatabaseBackupStatus | None = None
        #: What the next report is compared with, for events.
        self._told = DatabaseBackupStatus()
        self._limit = EventLimit()
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._due_mono = 0.0
        self._closing = False
        self._thread: threading.Thread | None = None
        # The rest belongs to the thread, before and after it to `start` and `stop`.
        #: Whether a former runner's status was read: nothing is written over it before.
        self._is_read = False
        #: That status and when it was read, if it was not at the start.
        self._former: tuple[DatabaseBackupStatus, datetime] | None = None
        self._written: Raw | None = None
        self._written_mono = 0.0
        self._failures = 0
        self._problem = ""

    def start(self) -> DatabaseBackupStatus:
        """Read what a former runner reported, in one try, and begin to write.

        Where that try fails the thread goes on trying, and then keeps of the
        former status what this runner does not know.
        """
        try:
            self._told = self._read()
            self._is_read = True
        except BackupError as error:
            log.warning("former status not readable yet", extra=kv(error=str(error)))
        self._thread = threading.Thread(target=self._run, name="status")
        self._thread.start()
        return self._told

    def report(self, status: DatabaseBackupStatus) -> None:
        with self._changed:
            now_mono = self._clock.monotonic()
            for one in happenings(self._told, status):
                if self._limit.admits(one, now_mono):
                    self._events.append(
                        Event(
                            regarding=self._regarding,
                            type=one.type,
                            reason=one.reason,
                            message=one.message,
                            at=self._clock.now(),
                            reporter=FIELD_MANAGER,
                            instance=self._instance,
                        )
                    )
            self._wanted = self._told = status
            self._changed.notify_all()

    def stop(self, *, flush: bool) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            if flush:
                with suppress(Overtaken):  # its successor has the last word
                    self.write_once()

    # -- the thread -------------------------------------------------------------

    def write_once(self) -> None:
        """Hand on what is new; one step of the thread. Sets when the next one is due.

        Raises: Overtaken: nothing may be written any more.
        """
        error: BackupError | None
        if self._confirm():
            error = self._write_status()
            if not isinstance(error, RetriableError):
                error = self._post_events() or error
        else:
            error = ApiUnavailable("the Lease is expired and could not be renewed")
        now_mono = self._clock.monotonic()
        if error is None:
            self._failures, self._problem = 0, ""
            pause_s = self._timing.pause_s
        else:
            pause_s = min(self._timing.first_retry_s * 2**self._failures, self._timing.last_retry_s)
            if isinstance(error, ApiThrottled):
                pause_s = max(pause_s, error.retry_after_s or 0.0)
            self._failures = min(self._failures + 1, 16)
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning("status not written, trying again", extra=kv(error=str(error)))
        with self._changed:
            self._due_mono = now_mono + pause_s

    def _run(self) -> None:
        while self._wait():
            try:
                self.write_once()
            except Overtaken:
                return
            except Exception:
                # Thread top: what cannot be told must not keep the next thing from being told.
                log.exception("status not written")
                with self._changed:
                    self._due_mono = self._clock.monotonic() + self._timing.last_retry_s

    def _wait(self) -> bool:
        """Wait until there is something to write and its time has come; False at the end."""
        with self._changed:
            while not self._closing:
                due_mono: float | None = self._due_mono
                if not (self._events or self._is_news()):
                    refresh_mono = self._written_mono + self._timing.refresh_s
                    due_mono = max(self._due_mono, refresh_mono) if self._wanted else None
                now_mono = self._clock.monotonic()
                if due_mono is not None and now_mono >= due_mono:
                    return True
                self._clock.wait(self._changed, due_mono and due_mono - now_mono)
            return False

    def _is_news(self) -> bool:
        return self._wanted is not None and self._body(self._wanted) != self._written

    def _write_status(self) -> BackupError | None:
        with self._changed:
            wanted = self._wanted
        if wanted is None:
            return None
        now_mono = self._clock.monotonic()
        try:
            if not self._is_read:
                now = self._clock.now()
                self._former = ended(self._read(), now), now
                self._is_read = True
            body = self._body(wanted)
            if body == self._written and now_mono - self._written_mono < self._timing.refresh_s:
                return None
            is_last_word = get_condition(wanted.conditions, DATA_DELETED) is not None
            self._client.apply_status(
                DATABASE_BACKUPS,
                {**(self._very_object() if is_last_word else self._identity), "status": body},
                field_manager=FIELD_MANAGER,
                force=True,
            )
        except BackupError as error:
            return error
        self._written, self._written_mono = body, now_mono
        return None

    def _post_events(self) -> BackupError | None:
        while True:
            with self._changed:
                if not self._events:
                    return None
                event = self._events[0]
            try:
                self._client.create_event(event)
            except RetriableError as error:
                return error
            except BackupError as error:
                # It would be refused the next time, too; the status says the same.
                log.warning("event not taken", extra=kv(reason=event.reason, error=str(error)))
            with self._changed:
                # A full queue may have dropped it meanwhile.
                if self._events and self._events[0] is event:
                    self._events.popleft()

    def _get(self) -> Raw:
        metadata = self._regarding["metadata"]
        return self._client.get(DATABASE_BACKUPS, metadata["name"], namespace=metadata["namespace"])

    def _very_object(self) -> Raw:
        """The identity of this very object, as it is now.

        That its data is deleted must never be said of a later object of the name,
        which would then be let go with its own. A uid alone the API server does not
        look at when it applies to a status; a resource version it does.

        Raises: ObjectNotFound.
        """
        found = self._get()["metadata"]
        if found["uid"] != self._regarding["metadata"].get("uid"):
            raise ObjectNotFound("the object that the status is about is gone")
        metadata = self._identity["metadata"] | {"resourceVersion": found["resourceVersion"]}
        return self._identity | {"metadata": metadata}

    def _read(self) -> DatabaseBackupStatus:
        found = self._get()
        try:
            return codec.decode(DatabaseBackupStatus, found.get("status") or {})
        except InvalidSpec as error:
            log.warning("former status not of our form", extra=kv(error=str(error)))
            return DatabaseBackupStatus()

    def _body(self, status: DatabaseBackupStatus) -> Raw:
        known = _carried(status, *self._former) if self._former else status
        body: Raw = _bounded(codec.encode(own_part(known)))
        return body


def _carried(
    status: DatabaseBackupStatus, former: DatabaseBackupStatus, read_at: datetime
) -> DatabaseBackupStatus:
    """Keep of a former status what a runner that could not read it at its start does not know."""
    conditions = []
    for condition in status.conditions:
        old = get_condition(former.conditions, condition.type)
        at = condition.last_transition_time
        # One that moved later has really moved.
        if old and at and old.status is condition.status and at <= read_at:
            condition = evolve(condition, last_transition_time=old.last_transition_time)  # noqa: PLW2901 - the same condition
        conditions.append(condition)
    return evolve(
        status,
        conditions=tuple(conditions),
        last_attempt=status.last_attempt or former.last_attempt,
        last_restore=status.last_restore or former.last_restore,
        last_verification=status.last_verification or former.last_verification,
    )


def _bounded(value: Any) -> Any:
    """Cut every `message`, however deep."""
    if isinstance(value, list):
        return [_bounded(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: one[:_MESSAGE_CHARACTERS]
        if key == "message" and isinstance(one, str)
        else _bounded(one)
        for key, one in value.items()
    }
