"""When a runner may be replaced: not while a job runs, and a few at a time.

A change of the pod template ends the runner's pod. An upgrade changes all
templates at once, so that without this it would abort every backup of a
cluster, and start all of its runners in one moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from controller.api import codec
from controller.api.errors import InvalidSpec
from controller.api.keys import ObjectKey
from controller.process.clock import Clock

#: Written by the runner with each renewal while a job runs: until when at most.
BUSY_UNTIL = "db-backup.nect.com/busy-until"
#: As long as the runner's Lease; a runner that did not renew for so long is dead.
_FRESH = timedelta(seconds=60)
#: A rollout that takes longer does not hold up the others any more.
_PATIENCE_S = 600.0
#: Later than this a cache has seen a write.
_SEEN_AFTER_S = 5.0


def busy_until(lease: Mapping[str, Any] | None, now: datetime) -> datetime | None:
    """Until when the runner's job may last; None: it has none, or is dead."""
    if lease is None:
        return None
    annotations = lease["metadata"].get("annotations") or {}
    until = _time(annotations.get(BUSY_UNTIL))
    renewed = _time((lease.get("spec") or {}).get("renewTime"))
    if until is None or renewed is None or until <= now or renewed + _FRESH <= now:
        return None
    return until


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

    Threads: any.
    """

    def __init__(
        self, *, max_rolling: int, is_complete: Callable[[ObjectKey], bool], clock: Clock
    ) -> None:
        self._max_rolling = max_rolling
        self._is_complete = is_complete
        self._clock = clock
        # Guards the one below. `is_complete` reads a store under it, and takes that lock alone.
        self._lock = threading.Lock()
        # Objects whose runner is being replaced, with the time it began.
        self._rolling: dict[ObjectKey, float] = {}

    def begin(self, key: ObjectKey) -> bool:
        """Take a place for the runner of `key`; False: all are taken."""
        now_mono = self._clock.monotonic()
        with self._lock:
            self._rolling = {
                other: since_mono
                for other, since_mono in self._rolling.items()
                if not self._is_over(other, now_mono - since_mono)
            }
            if key not in self._rolling and len(self._rolling) >= self._max_rolling:
                return False
            self._rolling[key] = now_mono
            return True

    def _is_over(self, key: ObjectKey, rolling_for_s: float) -> bool:
        # Just after the write the cache still shows the Deployment from before it.
        has_seen = rolling_for_s > _SEEN_AFTER_S
        return rolling_for_s > _PATIENCE_S or (has_seen and self._is_complete(key))
