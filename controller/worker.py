"""The worker: takes a key, has it reconciled, and decides when it comes again.

This is the one place where errors become queue actions. Reconcilers raise what
went wrong and retry nothing; what an error means is said by its kind.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

from attrs import field, frozen
from attrs.validators import gt

from controller.api.errors import (
    AccessDenied,
    ApiRefused,
    ApiThrottled,
    BusyError,
    FormatError,
    IntegrityError,
    ObjectExists,
    ObjectNotFound,
    RetriableError,
    TerminalError,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.process.clock import Clock
from controller.process.logging import bound, kv
from controller.queue.workqueue import WorkQueue

log = logging.getLogger(__name__)

#: Where a person mends rights or another object, no event comes.
_LOOK_AGAIN_S = 300.0
#: Long enough for a server to begin.
_FIRST_LOOK_S = 5.0


class Outcome(enum.Enum):
    """What became of one reconcile; exactly one of these."""

    DONE = "done"
    REQUEUED = "requeued"  # at a time that the reconcile asked for
    RETRIED = "retried"  # a passing fault: later, and later each time
    WAITING = "waiting"  # for a dependency: its event, or some time
    TERMINAL = "terminal"  # until a person changes the object
    INTEGRITY = "integrity"  # the same, and somebody has to look
    UNEXPECTED = "unexpected"  # a defect: as a passing fault, and loud


@frozen
class RequeueAfter:
    """What a reconcile returns that succeeded and wants to look again at a known time."""

    after_s: float = field(validator=gt(0))


#: Makes the cluster be as the object of that key says; None: nothing left to do.
Reconcile = Callable[[ObjectKey], RequeueAfter | None]


class WorkerMetrics(Protocol):
    """Counts outcomes. Thread-safe."""

    def reconciled(self, outcome: Outcome) -> None: ...


class Refusals:
    """Has a reconcile look again at what an API server, or who answered in its place, said no to.

    By the object alone it is final. But rights and quotas are mended, certificates
    are rotated, a load balancer redirects or answers with a page, and a server
    that has just begun knows no rights and no custom kinds: no event tells when
    that is over. So it is looked at again soon, and later each time.

    Threads: any, with different keys.
    """

    def __init__(self) -> None:
        # How long the last wait was. Single operations are atomic.
        self._waited_s: dict[ObjectKey, float] = {}

    @contextlib.contextmanager
    def coming_again(self, key: ObjectKey) -> Iterator[None]:
        """Raise such an error of the block as one that waits."""
        try:
            yield
        except (AccessDenied, ApiRefused, FormatError, ObjectExists, ObjectNotFound) as error:
            wait_s = min(2 * self._waited_s.get(key, _FIRST_LOOK_S / 2), _LOOK_AGAIN_S)
            self._waited_s[key] = wait_s
            raise WaitingError(str(error), retry_after_s=wait_s) from error
        else:
            self._waited_s.pop(key, None)


def _reconcile_id() -> str:
    return secrets.token_hex(4)


class Worker:
    """Works on one key after the other; as many run beside each other as one likes.

    Args:
        kind: of the objects that the keys name, for the log.
        new_id: names each reconcile in the log.
    """

    def __init__(
        self,
        kind: str,
        queue: WorkQueue[ObjectKey],
        reconcile: Reconcile,
        *,
        metrics: WorkerMetrics,
        clock: Clock,
        new_id: Callable[[], str] = _reconcile_id,
    ) -> None:
        self._kind = kind
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        # Keys that the API server wants to hear of again at this time, and no sooner. Single
        # operations are atomic, and a key is one worker's at a time.
        self._not_before_mono: dict[ObjectKey, float] = {}

    def process_next(self) -> bool:
        """Wait for a key and work on it; False: there will be none."""
        key = self._queue.get()
        if key is None:
            return False
        try:
            if (wait_s := self._still_to_wait_s(key)) > 0:
                # An event brought it: that the server is not to be asked yet, it does not know.
                self._queue.add_after(key, wait_s)
                return True
            with bound(
                kind=self._kind,
                namespace=key.namespace,
                name=key.name,
                reconcile_id=self._new_id(),
            ):
                self._metrics.reconciled(self._process(key))
        finally:
            # After the requeue, and whatever came of it: else nobody ever gets it again.
            self._queue.done(key)
        return True

    def _still_to_wait_s(self, key: ObjectKey) -> float:
        wait_s = self._not_before_mono.get(key, 0.0) - self._clock.monotonic()
        if wait_s <= 0:
            self._not_before_mono.pop(key, None)
        return wait_s

    def _process(self, key: ObjectKey) -> Outcome:
        try:
            wish = self._reconcile(key)
        except Exception as error:  # noqa: BLE001 - one bad object must not end the worker of all others
            return self._failed(key, error)
        self._queue.forget(key)
        if wish is None:
            log.debug("reconciled")
            return Outcome.DONE
        self._queue.add_after(key, wish.after_s)
        log.debug("reconciled", extra=kv(requeue_after_s=wish.after_s))
        return Outcome.REQUEUED

    def _failed(self, key: ObjectKey, error: Exception) -> Outcome:
        outcome = outcome_of(error)
        if isinstance(error, WaitingError):
            self._queue.forget(key)
            self._queue.add_after(key, error.retry_after_s)
        elif isinstance(error, ApiThrottled) and error.retry_after_s > 0:
            # The server's wish: no failure of this object's, and no sooner.
            self._not_before_mono[key] = self._clock.monotonic() + error.retry_after_s
            self._queue.add_after(key, error.retry_after_s)
        elif outcome in {Outcome.RETRIED, Outcome.UNEXPECTED}:
            self._queue.add_rate_limited(key)
        else:
            self._queue.forget(key)
        level, message = _TOLD[outcome]
        log.log(
            level,
            message,
            exc_info=error if outcome is Outcome.UNEXPECTED else None,
            extra=kv(
                reason=getattr(error, "reason", type(error).__name__),
                error=str(error),
                attempt=self._queue.num_requeues(key),
            ),
        )
        return outcome


_TOLD = {
    Outcome.RETRIED: (logging.WARNING, "reconcile failed, trying again"),
    Outcome.WAITING: (logging.INFO, "waiting for a dependency"),
    Outcome.TERMINAL: (logging.ERROR, "object has to be changed"),
    Outcome.INTEGRITY: (logging.ERROR, "stored data is not what was stored"),
    Outcome.UNEXPECTED: (logging.ERROR, "reconcile failed unexpectedly, trying again"),
}


def outcome_of(error: Exception) -> Outcome:
    """Say what an error means to the queue."""
    match error:
        case RetriableError() | BusyError():
            return Outcome.RETRIED
        case WaitingError():
            return Outcome.WAITING
        case TerminalError():
            return Outcome.TERMINAL
        case IntegrityError():
            return Outcome.INTEGRITY
        case _:
            return Outcome.UNEXPECTED
