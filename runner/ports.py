"""Where the runner meets what differs between a cluster and a laptop.

Fencing, status reporting and the order to delete everything are protocols here,
with an implementation that needs no API server. Inside a cluster they are a
Lease, the object's status and its deletion.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from controller.api.errors import BusyError
from controller.api.status import DatabaseBackupStatus
from controller.process.logging import kv
from runner.rundir import own_directory

log = logging.getLogger(__name__)


class Overtaken(BusyError):
    """Another runner was seen to act: this one has to end."""


#: Told, in a thread of the fence, that another runner was seen to act, and which one.
OnLost = Callable[[Overtaken], None]
#: `Fence.confirm`.
Confirm = Callable[[], bool]


class Fence(Protocol):
    """Makes sure that one runner acts per DatabaseBackup."""

    def acquire(self, stop: threading.Event, on_lost: OnLost) -> bool:
        """Wait until this runner may act; False if `stop` was set before.

        Args:
            on_lost: called at most once, before `release`. Nothing may be done
                any more from then on.
        """
        ...

    def confirm(self) -> bool:
        """Make sure that this runner still acts; asks, for a few seconds, if that may have changed.

        A process that stood still for longer than it may be silent learns here
        that another one took over, before it does anything.

        Returns: False if nobody answered. Who was not seen to have lost goes on
            with what harms nobody, such as a job.
        Raises: Overtaken.
        """
        ...

    def busy_until(self, deadline_s: float | None) -> None:
        """Say that a job runs for at most `deadline_s` more seconds, or that none does."""
        ...

    def release(self) -> None:
        """Let another runner act at once."""
        ...


class StatusSink(Protocol):
    """Takes what a person wants to know."""

    def start(self) -> DatabaseBackupStatus:
        """Begin, the fence held; returns what a former runner reported, as far as that is known."""
        ...

    def report(self, status: DatabaseBackupStatus) -> None:
        """Take the newest status, whole; never blocks, never raises. From any thread."""
        ...

    def stop(self, *, flush: bool) -> None:
        """End, the fence still held.

        Args:
            flush: try once more to hand on what was reported last.
        """
        ...


class DeletionOrder(Protocol):
    """Knows whether the object is being deleted, and what is stored with it."""

    def is_given(self) -> bool:
        """Whether it is so now; cheap while nobody deletes anything. Never raises."""
        ...


class NeverDeleted:
    """Without a cluster there is no object that somebody could delete."""

    def is_given(self) -> bool:
        return False


class FileFence:
    """A lock on a file: one runner, or one command, per configuration on this machine.

    The kernel releases it with the process, however that ends. The file's text
    says who holds it, for those who wait.

    Args:
        holder: who we are, as others read it: "a runner".
    """

    _POLL_S = 0.5
    _MAX_HOLDER_BYTES = 200

    def __init__(self, path: Path, holder: str = "a runner") -> None:
        self._path = path
        self._text = f"{holder} (process {os.getpid()})"
        self._descriptor: int | None = None

    def acquire(self, stop: threading.Event, on_lost: OnLost | None = None) -> bool:
        """Wait for the lock, which nobody can take away."""
        del on_lost
        told = False
        while not stop.is_set():
            if self.try_acquire():
                return True
            if not told:
                log.warning(
                    "another one holds the fence, waiting",
                    extra=kv(path=str(self._path), holder=self.holder()),
                )
                told = True
            stop.wait(self._POLL_S)
        return False

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it."""
        own_directory(self._path.parent)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, self._text.encode(), 0)
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """Who holds the lock; of use only after it was refused."""
        with self._path.open("rb") as file:
            text = file.read(self._MAX_HOLDER_BYTES).decode(errors="replace")
        return text or "another command"  # it has just begun

    def confirm(self) -> bool:
        """The kernel keeps the lock for as long as this process is there."""
        return True

    def busy_until(self, deadline_s: float | None) -> None:
        """Nobody on a laptop asks."""

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class BothFences:
    """One within the other: `outer` keeps out other pods, `inner` the commands of this one."""

    def __init__(self, outer: Fence, inner: Fence) -> None:
        self._outer = outer
        self._inner = inner

    def acquire(self, stop: threading.Event, on_lost: OnLost) -> bool:
        if not self._outer.acquire(stop, on_lost):
            return False
        if self._inner.acquire(stop, on_lost):
            return True
        self._outer.release()
        return False

    def confirm(self) -> bool:
        return self._outer.confirm() and self._inner.confirm()

    def busy_until(self, deadline_s: float | None) -> None:
        self._outer.busy_until(deadline_s)
        self._inner.busy_until(deadline_s)

    def release(self) -> None:
        self._inner.release()
        self._outer.release()


class LastStatus:
    """Keeps the last status, for `runner status`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = DatabaseBackupStatus()

    def start(self) -> DatabaseBackupStatus:
        """Nothing is left of a former runner, but what the locations remember."""
        return DatabaseBackupStatus()

    def stop(self, *, flush: bool) -> None:
        """Nothing waits to be handed on."""

    def report(self, status: DatabaseBackupStatus) -> None:
        with self._lock:
            self._status = status

    @property
    def status(self) -> DatabaseBackupStatus:
        with self._lock:
            return self._status
