"""Where the runner meets what differs between a cluster and a laptop.

Fencing and status reporting are protocols here, with an implementation that
needs no API server. Inside a cluster they are a Lease and the object's status.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path
from typing import Protocol

from controller.api.status import DatabaseBackupStatus
from runner.logging import kv
from runner.rundir import own_directory

log = logging.getLogger(__name__)


class Fence(Protocol):
    """Makes sure that one runner acts per DatabaseBackup."""

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until this runner may act; False if `stop` was set before."""
        ...

    def busy_until(self, deadline_s: float | None) -> None:
        """Say that a job runs for at most `deadline_s` more seconds, or that none does."""
        ...

    def release(self) -> None:
        """Let another runner act at once."""
        ...


class StatusSink(Protocol):
    """Takes what a person wants to know; never blocks, never raises."""

    def report(self, status: DatabaseBackupStatus) -> None: ...


class FileFence:
    """A lock on a file: one runner per configuration on this machine.

    The kernel releases it with the process, however that ends.
    """

    _POLL_S = 0.5

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, stop: threading.Event) -> bool:
        own_directory(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        told = False
        while not stop.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    log.warning(
                        "another runner holds the fence, waiting", extra=kv(path=str(self._path))
                    )
                    told = True
                stop.wait(self._POLL_S)
            else:
                self._descriptor = descriptor
                return True
        os.close(descriptor)
        return False

    def busy_until(self, deadline_s: float | None) -> None:
        """Nobody on a laptop asks."""

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class LastStatus:
    """Keeps the last status, for `runner status`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = DatabaseBackupStatus()

    def report(self, status: DatabaseBackupStatus) -> None:
        with self._lock:
            self._status = status

    @property
    def status(self) -> DatabaseBackupStatus:
        with self._lock:
            return self._status
