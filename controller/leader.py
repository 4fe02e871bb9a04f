"""Leader election: of several replicas one acts, the one that holds a Lease.

The semantics are client-go's. Clocks of machines are never compared: a
candidate takes the Lease over when it saw no renewal for the Lease's own
duration by its own clock, and a leader takes itself for one only for a shorter
time after it *sent* its last successful renewal. A leader that is cut off has
stopped by itself before anybody else can begin, without being told.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Protocol

from attrs import evolve, field, frozen
from attrs.validators import gt

from controller.api.errors import (
    ApiConflict,
    ApiUnavailable,
    BackupError,
    ObjectExists,
    ObjectNotFound,
)
from controller.kube.client import Raw
from controller.kube.resource import LEASES, Resource
from controller.process.clock import Clock
from controller.process.logging import kv

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Timing:
    """How long what is held, in seconds.

    Args:
        lease_duration_s: a Lease that was not renewed for so long is free.
        renew_deadline_s: a leader that could not renew for so long stops acting.
        retry_period_s: between two tries to acquire or renew.
    """

    lease_duration_s: float = field(default=15.0, validator=gt(0))
    renew_deadline_s: float = field(default=10.0, validator=gt(0))
    retry_period_s: float = field(default=2.0, validator=gt(0))

    def __attrs_post_init__(self) -> None:
        if not self.retry_period_s < self.renew_deadline_s < self.lease_duration_s:
            raise ValueError("retry period < renew deadline < lease duration does not hold")


class Leases(Protocol):
    """What an election needs of a client."""

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Raw: ...
    def create(self, resource: Resource, raw: Raw) -> Raw: ...
    def replace(self, resource: Resource, raw: Raw) -> Raw: ...


class NotLeading(ApiUnavailable):
    """This replica may not write now; the one that may will do it."""

    reason = "NotLeading"


@frozen
class _Observed:
    """A Lease's content and when it was first seen with it, by our own clock."""

    lease: Raw
    at_mono: float

    @property
    def holder(self) -> str:
        return (self.lease.get("spec") or {}).get("holderIdentity") or ""

    @property
    def duration_s(self) -> float:
        return float((self.lease.get("spec") or {}).get("leaseDurationSeconds") or 0)


class Elector:
    """One candidate.

    Args:
        client: for the Lease alone: its requests must not wait for others' turn,
            and must time out well within the renew deadline.
        identity: unique among all candidates, also over restarts.

    Threads: one is in `run`; `is_leader`, `term`, `check` and `wait_until_leading` are for any.
    """

    def __init__(
        self,
        client: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        timing: Timing | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._timing = timing or Timing()
        # Guards the three below; notified when one of the first two changes.
        self._changed = threading.Condition(threading.Lock())
        # Until when this replica is the leader, by its own clock; None: it is not.
        self._leads_until_mono: float | None = None
        self._has_ended = False
        self._term = 0
        # Of the thread in `run`.
        self._observed: _Observed | None = None
        self._was_leader = False
        # The last error, so that an outage is one line and not one every two seconds.
        self._told = ""

    @property
    def identity(self) -> str:
        return self._identity

    def is_leader(self) -> bool:
        """Whether this replica may act at this moment."""
        with self._changed:
            return self._is_leader_locked()

    def term(self) -> int:
        """How often this replica became the leader: between two of them others may have acted."""
        with self._changed:
            return self._term

    def check(self) -> None:
        """Raise NotLeading, which is retriable, unless this replica may act: as a write is sent."""
        if not self.is_leader():
            raise NotLeading("this replica is not the leader")

    def wait_until_leading(self, stop: threading.Event) -> bool:
        """Wait for leadership; False: `stop` was set, or the election has ended."""
        with self._changed:
            # Asked once: a second answer may be another one, and False ends who waits for good.
            while not (stop.is_set() or self._has_ended):
                if self._is_leader_locked():
                    return True
                self._clock.wait(self._changed, self._timing.retry_period_s)
            return False

    def run(self, stop: threading.Event) -> None:
        """Try to be the leader, and to stay it, until `stop` is set; then hand over."""
        try:
            while not stop.is_set():
                self.step()
                self._clock.wait(stop, self._timing.retry_period_s)
        finally:
            self.release()

    def step(self) -> bool:
        """Acquire or renew once; whether this replica is the leader after it."""
        begun_mono = self._clock.monotonic()
        try:
            is_ours = self._acquire_or_renew()
        except BackupError as error:
            # Also what is wrong for good, such as missing rights: whoever mends it
            # does not restart us for it.
            if str(error) != self._told:
                self._told = str(error)
                log.warning("lease not reached", extra=kv(reason=error.reason, error=str(error)))
        else:
            self._told = ""
            self._set_leading(begun_mono + self._timing.renew_deadline_s if is_ours else None)
        is_leader = self.is_leader()
        if is_leader != self._was_leader:
            self._was_leader = is_leader
            message = "leading" if is_leader else "not leading any more"
            log.info(message, extra=kv(holder=self._holder()))
        return is_leader

    def release(self) -> None:
        """Stop acting, and let another candidate take over at once; ends the election.

        Call it when nothing acts any more.
        """
        was_leader = self.is_leader()
        with self._changed:
            self._leads_until_mono = None
            self._has_ended = True
            self._changed.notify_all()
        observed = self._observed
        if not was_leader or observed is None:
            return
        now = _micro_time(self._clock.now())
        # A second is the shortest that the API takes; nobody waits for it, as
        # there is no holder.
        freed = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
        lease = observed.lease | {"spec": observed.lease["spec"] | freed}
        try:
            self._client.replace(LEASES, lease)
        except BackupError as error:
            log.warning("lease not released", extra=kv(reason=error.reason, error=str(error)))
        else:
            log.info("lease released")

    def _acquire_or_renew(self) -> bool:
        # A conflict may be an own write whose answer was lost: look, and try once more.
        for _ in range(2):
            # Who leads has the Lease as it wrote it, and needs no look before it writes again.
            if not (self._was_leader and self._observed):
                try:
                    self._observe(self._get())
                except ObjectNotFound:
                    return self._create()
            observed = self._observed
            if observed is None or not self._is_free(observed):
                return False
            try:
                self._observe(self._client.replace(LEASES, self._taken(observed)))
            except (ApiConflict, ObjectNotFound):
                self._observed = None
            else:
                return True
        return False

    def _is_free(self, observed: _Observed) -> bool:
        seen_for_s = self._clock.monotonic() - observed.at_mono
        return observed.holder in {"", self._identity} or seen_for_s >= observed.duration_s

    def _get(self) -> Raw:
        return self._client.get(LEASES, self._name, namespace=self._namespace)

    def _create(self) -> bool:
        lease: Raw = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
        }
        try:
            self._observe(self._client.create(LEASES, self._taken(_Observed(lease, 0.0))))
        except ObjectExists:
            return False
        return True

    def _taken(self, observed: _Observed) -> Raw:
        """The Lease with us as its holder."""
        now = _micro_time(self._clock.now())
        spec = dict(observed.lease.get("spec") or {})
        if observed.holder != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec |= {
            "holderIdentity": self._identity,
            # Whole seconds, up: the others wait rather too long.
            "leaseDurationSeconds": -int(-self._timing.lease_duration_s // 1),
            "renewTime": now,
        }
        return observed.lease | {"spec": spec}

    def _observe(self, lease: Raw) -> None:
        """Remember a Lease; the time only moves when its content did.

        The time is that of the answer, not of the question: the renewal that is
        seen may have been sent in between, and its sender counts from there.
        """
        old = self._observed
        if old is not None and old.lease.get("spec") == lease.get("spec"):
            self._observed = evolve(old, lease=lease)
        else:
            self._observed = _Observed(lease, self._clock.monotonic())

    def _set_leading(self, until_mono: float | None) -> None:
        with self._changed:
            if until_mono is not None and not self._is_leader_locked():
                self._term += 1
            self._leads_until_mono = until_mono
            self._changed.notify_all()

    def _is_leader_locked(self) -> bool:
        until = self._leads_until_mono
        return until is not None and self._clock.monotonic() < until

    def _holder(self) -> str:
        return self._observed.holder if self._observed else ""


def _micro_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
