"""When a runner may be replaced: not while a job runs, and a few at a time.

A change of the pod template ends the runner's pod. An upgrade changes all
templates at once, so that without this it would abort every backup of a
cluster, and start all of its runners in one moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from controller.api import codec
from controller.api.errors import InvalidSpec
from controller.api.keys import ObjectKey
from controller.api.lease import BUSY_UNTIL
from controller.process.clock import Clock

#: The runner's; its Lease says it itself.
_LEASE_S = 60.0
#: The runner ends a job at its deadline by its own clock, which may differ from ours by so much.
_CLOCKS_DIFFER = timedelta(minutes=10)
#: A rollout that takes longer does not hold up the others any more.
_PATIENCE_S = 600.0
#: Later than this a cache has seen a write.
_SEEN_AFTER_S = 5.0
_BUSY_LOOK_AGAIN_S = 30.0
_TURN_LOOK_AGAIN_S = 5.0
#: So often one of all that wait looks for a place; each look takes ten milliseconds of CPU.
_LOOK_EVERY_S = 0.2


@frozen
class HeldBack:
    """Why the pod template is not changed now, and when to look again."""

    why: str
    look_again_s: float


@frozen
class _Renewal:
    """A renewal of a Lease, and when it was seen here first."""

    renewed: datetime
    seen_mono: float


class BusyRunners:
    """Which runners have a job, by their Leases.

    A runner is taken for dead when its Lease was not renewed for as long as it
    lasts, as seen from here: the times in it are of another machine's clock.

    Threads: any, with different keys.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Single operations are atomic, and a key is one worker's at a time.
        self._renewals: dict[ObjectKey, _Renewal] = {}

    def busy_until(self, key: ObjectKey, lease: Mapping[str, Any] | None) -> datetime | None:
        """Until when the runner's job may last; None: it has none, or is dead."""
        until = _busy_until(lease)
        spec = (lease or {}).get("spec") or {}
        renewed = _time(spec.get("renewTime"))
        if until is None or renewed is None or until + _CLOCKS_DIFFER <= self._clock.now():
            self.forget(key)
            return None
        now_mono = self._clock.monotonic()
        known = self._renewals.get(key)
        if known is None or known.renewed != renewed:
            known = self._renewals[key] = _Renewal(renewed, now_mono)
        lasts_s = spec.get("leaseDurationSeconds") or _LEASE_S
        return None if now_mono - known.seen_mono >= lasts_s else until

    def forget(self, key: ObjectKey) -> None:
        self._renewals.pop(key, None)


def _busy_until(lease: Mapping[str, Any] | None) -> datetime | None:
    annotations = lease["metadata"].get("annotations") if lease else None
    return _time((annotations or {}).get(BUSY_UNTIL))


def _time(text: object) -> datetime | None:
    if text is None:
        return None
    try:
        return codec.decode(datetime, text)
    except InvalidSpec:
        return None


class Rollouts:
    """How many runners are being replaced.

    Args:
        max_rolling: so many at a time.
        is_complete: whether the Deployment of that object is as it should be again.
        seen_rolling: objects whose runner is seen to be replaced, be it by an
            earlier leader or by hand.

    Threads: any.
    """

    def __init__(
        self,
        *,
        max_rolling: int,
        is_complete: Callable[[ObjectKey], bool],
        seen_rolling: Callable[[], Iterable[ObjectKey]],
        clock: Clock,
    ) -> None:
        self._max_rolling = max_rolling
        self._is_complete = is_complete
        self._seen_rolling = seen_rolling
        self._clock = clock
        # Guards the two below. The two callables read a store under it, and take that lock alone.
        self._lock = threading.Lock()
        # Objects whose runner this replica replaces, with the time it began: no cache may have
        # seen it yet.
        self._rolling: dict[ObjectKey, float] = {}
        # Who waits for a place, with the time at which it looks again.
        self._waiting: dict[ObjectKey, float] = {}

    def hold_back(
        self, key: ObjectKey, *, busy_until: Callable[[], datetime | None], is_up: bool
    ) -> HeldBack | None:
        """Take a place for the runner of `key`, or say why its change has to wait.

        Args:
            busy_until: asks the server, so only for whom there is a place.
        """
        # The change of one that is down may be its cure, and takes no runner down that was up. That
        # its pod is not ready says nothing of a job: one that runs renews the Lease.
        if is_up and not self._has_place(key):
            return self._wait_for_place(key)
        if until := busy_until():
            return HeldBack(
                f"a change of the runner waits for its job, which ends by {until:%Y-%m-%dT%H:%MZ}",
                _BUSY_LOOK_AGAIN_S,
            )
        if is_up and not self.begin(key):
            return self._wait_for_place(key)
        return None

    def begin(self, key: ObjectKey) -> bool:
        """Take a place for the runner of `key`; False: all are taken."""
        with self._lock:
            if not self._is_free_for(key):
                return False
            now_mono = self._rolling[key] = self._clock.monotonic()
            # Not those that wait no more, either, such as what was deleted.
            self._waiting = {
                other: due_mono
                for other, due_mono in self._waiting.items()
                if other != key and now_mono <= due_mono + _PATIENCE_S
            }
            return True

    def _has_place(self, key: ObjectKey) -> bool:
        with self._lock:
            return self._is_free_for(key)

    def _is_free_for(self, key: ObjectKey) -> bool:
        """With the lock held."""
        now_mono = self._clock.monotonic()
        self._rolling = {
            other: since_mono
            for other, since_mono in self._rolling.items()
            if not self._is_over(other, now_mono - since_mono)
        }
        taken = self._rolling.keys() | set(self._seen_rolling())
        return key in taken or len(taken) < self._max_rolling

    def _wait_for_place(self, key: ObjectKey) -> HeldBack:
        """The more wait, the later each looks again: a place that is free is found as soon."""
        now_mono = self._clock.monotonic()
        with self._lock:
            look_again_s = max(_TURN_LOOK_AGAIN_S, _LOOK_EVERY_S * len(self._waiting))
            self._waiting[key] = now_mono + look_again_s
        return HeldBack("a change of the runner waits until other runners are back", look_again_s)

    def _is_over(self, key: ObjectKey, rolling_for_s: float) -> bool:
        # Just after the write the cache still shows the Deployment from before it.
        has_seen = rolling_for_s > _SEEN_AFTER_S
        return rolling_for_s > _PATIENCE_S or (has_seen and self._is_complete(key))
