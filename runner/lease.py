"""The fence of a cluster: the Lease that belongs to a DatabaseBackup.

The controller makes the object, the runner owns its `spec`. It is for order
and not for safety - what is stored is safe when two act - so a runner stops
only when it sees that another one holds the Lease: an API server that does not
answer ends no backup.
"""

from __future__ import annotations

import logging
import math
import threading
from datetime import UTC, datetime, timedelta

from attrs import frozen

from controller.api.errors import ApiConflict, BackupError, ObjectNotFound
from controller.api.lease import BUSY_UNTIL, DELETION_MARK
from controller.kube.client import Client, Raw
from controller.kube.resource import LEASES
from controller.process.clock import Clock
from controller.process.logging import kv
from runner.ports import OnLost, Overtaken

log = logging.getLogger(__name__)

#: A Lease whose holder did not say for how long it is good.
_DURATION_S = 60.0
#: Somebody else, the controller say, writes to the same object; not all the time.
_CONFLICTS = 5


@frozen(kw_only=True)
class LeaseTiming:
    """How long a runner that vanished is waited for.

    Args:
        duration_s: without a renewal another runner takes over after it.
        renew_s: between two renewals: a third of it, so that two may fail.
        poll_s: between two looks of a runner that waits, and after a failed renewal.
        confirm_s: who wants to act with an expired Lease waits so long for a renewal.
    """

    duration_s: float = _DURATION_S
    renew_s: float = 20.0
    poll_s: float = 2.0
    confirm_s: float = 5.0

    @classmethod
    def of(cls, duration_s: float) -> LeaseTiming:
        """Return the timing of a Lease that is good for so long."""
        renew_s = duration_s / 3
        return cls(
            duration_s=duration_s,
            renew_s=renew_s,
            poll_s=min(2.0, renew_s / 2),
            confirm_s=min(5.0, renew_s),
        )


@frozen(kw_only=True)
class _Term:
    """Who holds a Lease, and since which renewal."""

    holder: str
    renewed: str
    duration_s: float
    transitions: int


class LeaseFence:
    """Holds the Lease of one DatabaseBackup.

    A Lease is expired when *this* process has seen no renewal for its duration:
    clocks of two nodes are never compared, and the time in which the API server
    did not answer does not count, because nobody could renew then.

    Args:
        holder: our name in the Lease, the pod's: a container that is started
            again in its pod goes on where it was killed.
    Threads: `acquire` and `release` belong to one thread, `confirm` and
    `busy_until` to any; renewals have their own. `_changed` guards
    `_busy_until`, `_is_due`, `_closing`, `_lost`, `_renewed_mono` and
    `_tried_mono`; no I/O happens under it. `_lease` and `_transitions` are used
    by one thread at a time.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        holder: str,
        clock: Clock,
        timing: LeaseTiming | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._path = f"{namespace}/{name}"
        self._holder = holder
        self._clock = clock
        self._timing = timing or LeaseTiming()
        self._changed = threading.Condition()
        self._busy_until: datetime | None = None
        self._is_due = False
        self._closing = False
        #: Who was seen to act instead.
        self._lost: Overtaken | None = None
        #: When the last renewal that was confirmed, and the last that ended, were sent: whoever
        #: waits for the Lease counts from a later moment.
        self._renewed_mono = self._tried_mono = float("-inf")
        self._thread: threading.Thread | None = None
        #: As it was last read or written; None if it has to be read.
        self._lease: Raw | None = None
        #: How often the Lease had changed hands when it came into ours.
        self._transitions = 0
        self._is_held = False
        self._is_marked = False
        #: Somebody else's term, and when it was first seen.
        self._seen: tuple[_Term, float] | None = None
        self._told = ""

    @property
    def is_marked(self) -> bool:
        """Whether the controller put `DELETION_MARK` on it, as of the last look; for any thread."""
        return self._is_marked

    def acquire(self, stop: threading.Event, on_lost: OnLost) -> bool:
        """Wait for the Lease and keep it until `release`."""
        while not stop.is_set():
            if self.try_acquire():
                self._closing = False
                self._thread = threading.Thread(target=self._run, args=(on_lost,), name="lease")
                self._thread.start()
                return True
            self._clock.wait(stop, self._timing.poll_s)
        return False

    def try_acquire(self) -> bool:
        """Take the Lease if nobody has it, or who had it is gone; one look."""
        try:
            lease = self._read()
            if not self._is_free(_term(lease)):
                return False
            self._write(lease, self._holder)
        except ApiConflict:
            return False  # somebody was faster; the next look says who
        except ObjectNotFound:
            self._tell("there is no Lease yet, waiting for the controller to make it")
            return False
        except BackupError as error:
            self._seen = None  # a silence of the API server says nothing about the holder
            self._tell("Lease not readable, waiting", error=str(error))
            return False
        self._is_held = True
        log.info("Lease acquired", extra=kv(path=self._path))
        return True

    def renew_once(self) -> float:
        """Write the Lease again; one step of the renewals.

        Returns: seconds until the next one.
        Raises: Overtaken if another runner holds it, or has held it since.
        """
        for _ in range(_CONFLICTS):
            try:
                lease = self._lease or self._read()
                self._check(_term(lease))
                self._write(lease, self._holder)
            except ApiConflict:
                self._lease = None
            except Overtaken:
                self._is_held = False
                raise
            except BackupError as error:
                # Whether it was written is not known: read it first, next time.
                self._lease = None
                self._tell("Lease not renewed, trying again", error=str(error))
                return self._timing.poll_s
            else:
                self._told = ""
                return self._timing.renew_s
        return self._timing.poll_s

    def confirm(self) -> bool:
        """Let a renewal come first if the last one is older than the Lease lasts."""
        with self._changed:
            asked_mono = self._clock.monotonic()
            give_up_mono = asked_mono + self._timing.confirm_s
            while self._lost is None and not self._is_fresh_locked():
                now_mono = self._clock.monotonic()
                # A try that began before was on its way while this process stood still.
                if self._tried_mono >= asked_mono or now_mono >= give_up_mono or self._closing:
                    return False
                self._is_due = True
                self._changed.notify_all()
                self._clock.wait(self._changed, give_up_mono - now_mono)
            if self._lost is not None:
                raise self._lost
            return True

    def busy_until(self, deadline_s: float | None) -> None:
        """Have it written with a renewal at once; the job does not wait for that."""
        with self._changed:
            self._busy_until = (
                None
                if deadline_s is None
                else self._clock.now() + timedelta(seconds=math.ceil(deadline_s))
            )
            self._is_due = True
            self._changed.notify_all()

    def release(self) -> None:
        """Give the Lease up, so that a successor acts at once."""
        with self._changed:
            self._closing = True
            self._busy_until = None
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not self._is_held:
            return
        self._is_held = False
        for _ in range(_CONFLICTS):
            try:
                lease = self._lease or self._read()
                if _term(lease).holder == self._holder:
                    self._write(lease, "")
            except ApiConflict:
                self._lease = None
            except BackupError as error:
                log.warning(
                    "Lease not released; a successor waits until it expires",
                    extra=kv(path=self._path, error=str(error)),
                )
                return
            else:
                log.info("Lease released", extra=kv(path=self._path))
                return

    # -- the renewals -----------------------------------------------------------

    def _run(self, on_lost: OnLost) -> None:
        pause_s = self._timing.renew_s
        while self._wait(pause_s):
            begun_mono = self._clock.monotonic()
            try:
                pause_s = self.renew_once()
            except Overtaken as error:
                log.error("Lease lost", extra=kv(path=self._path, error=str(error)))
                with self._changed:
                    self._lost = error
                    self._changed.notify_all()
                on_lost(error)
                return
            except Exception:
                # Thread top: a runner that cannot renew must go on trying, or its successor and
                # it would both act, each sure to be the only one.
                log.exception("Lease not renewed")
                pause_s = self._timing.poll_s
            with self._changed:
                self._tried_mono = begun_mono
                self._changed.notify_all()

    def _wait(self, pause_s: float) -> bool:
        """Wait until the next renewal is due; False once there shall be none."""
        due_mono = self._clock.monotonic() + pause_s
        with self._changed:
            while not (self._closing or self._is_due):
                if not self._clock.wait(self._changed, due_mono - self._clock.monotonic()):
                    break
            self._is_due = False
            return not self._closing

    def _is_fresh_locked(self) -> bool:
        return self._clock.monotonic() - self._renewed_mono < self._timing.duration_s

    # -- the object -------------------------------------------------------------

    def _check(self, term: _Term) -> None:
        """Raises: Overtaken if somebody else acts, or did since this runner took the Lease."""
        if term.holder == self._holder:
            return
        # Nobody's: it was deleted and made again, or a person emptied it. Still ours. But one that
        # was taken and given back was another runner's, and what this one knows is of before.
        if not term.holder and term.transitions <= self._transitions:
            return
        who = f"{term.holder} holds" if term.holder else "another runner has held"
        raise Overtaken(
            f"{who} the Lease {self._path}, so this runner ends what it does;"
            " started again it waits its turn"
        )

    def _is_free(self, term: _Term) -> bool:
        if term.holder in {"", self._holder}:
            return True
        now_mono = self._clock.monotonic()
        if self._seen is None or self._seen[0] != term:
            self._seen = (term, now_mono)
        self._tell("another runner holds the Lease, waiting", holder=term.holder)
        return now_mono - self._seen[1] >= term.duration_s

    def _read(self) -> Raw:
        return self._looked_at(self._client.get(LEASES, self._name, namespace=self._namespace))

    def _looked_at(self, lease: Raw) -> Raw:
        self._is_marked = DELETION_MARK in (lease["metadata"].get("annotations") or {})
        return lease

    def _write(self, lease: Raw, holder: str) -> None:
        with self._changed:
            busy_until = self._busy_until
        term = _held(lease, holder=holder, now=self._clock.now(), timing=self._timing)
        annotations = dict(lease["metadata"].get("annotations") or {})
        annotations.pop(BUSY_UNTIL, None)
        if busy_until is not None:
            annotations[BUSY_UNTIL] = busy_until.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = {**lease["metadata"], "annotations": annotations}
        sent_mono = self._clock.monotonic()
        written = self._client.replace(LEASES, {**lease, "metadata": metadata, "spec": term})
        self._lease = self._looked_at(written)
        self._transitions = _term(self._lease).transitions
        with self._changed:
            self._renewed_mono = sent_mono

    def _tell(self, message: str, *, holder: str = "", error: str = "") -> None:
        """Log what is the case once, not with every look."""
        if (text := f"{message}: {holder or error}") != self._told:
            self._told = text
            log.warning(message, extra=kv(path=self._path, holder=holder, error=error))


def _term(lease: Raw) -> _Term:
    spec = lease.get("spec") or {}
    return _Term(
        holder=str(spec.get("holderIdentity") or ""),
        renewed=str(spec.get("renewTime") or ""),
        duration_s=float(spec.get("leaseDurationSeconds") or _DURATION_S),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def _held(lease: Raw, *, holder: str, now: datetime, timing: LeaseTiming) -> Raw:
    """The `spec` of a Lease that `holder` renews, takes, or (empty) gives up."""
    old = lease.get("spec") or {}
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        **old,
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, round(timing.duration_s)),
        "renewTime": at,
    }
    if holder and holder != old.get("holderIdentity"):
        spec["acquireTime"] = at
        spec["leaseTransitions"] = int(old.get("leaseTransitions") or 0) + 1
    return spec
