"""One backup's share of one location: its queues, its uploads, its fate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from attrs import frozen

from controller.api.errors import BackupError, ChecksumMismatch, StorageUnavailable
from runner.pipeline.pipe import Pipe
from runner.pipeline.stages import Part
from runner.repository.layout import object_name
from runner.storage.base import Storage, Upload


@frozen(kw_only=True)
class Destination:
    """A location as a backup sees it.

    Args:
        data_prefix: key prefix of this backup's objects, ends with a slash.
        encrypted: it gets the encrypted bytes, else the merely compressed ones.
    """

    name: str
    storage: Storage
    data_prefix: str
    encrypted: bool


class Lane:
    """One location during one backup: it lives until its first error.

    A lane that fails takes nothing more and stops nothing: the others go on.
    `stored_bytes` counts confirmed parts; its growth is the lane's sign of life.

    Threads: `_lock` guards the fields below it; nothing is called under it.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        stall_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.destination = destination
        self._stall_s = stall_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stored_bytes = 0
        self._upload_s = 0.0
        self._alive_mono = monotonic()
        self._uploads: list[LaneStream] = []

    @property
    def error(self) -> BaseException | None:
        with self._lock:
            return self._error

    @property
    def stored_bytes(self) -> int:
        with self._lock:
            return self._stored_bytes

    @property
    def upload_s(self) -> float:
        """Seconds at work in the storage, all streams together."""
        with self._lock:
            return self._upload_s

    def open(self, stream: str, *, lag_parts: int) -> LaneStream:
        """Start a thread that uploads `stream`; it takes up to `lag_parts` ahead."""
        upload = LaneStream(self, stream, lag_parts)
        with self._lock:
            self._uploads.append(upload)
            error = self._error
        if error is not None:
            upload.abort(error)
        upload.start()
        return upload

    def confirm(self, count_bytes: int, work_s: float = 0.0) -> None:
        with self._lock:
            self._stored_bytes += count_bytes
            self._upload_s += work_s
            self._alive_mono = self._monotonic()

    def fail(self, error: BaseException) -> None:
        """The first error is the lane's fate; it ends every stream's upload here."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            uploads = list(self._uploads)
        for upload in uploads:
            upload.abort(error)

    def now_mono(self) -> float:
        return self._monotonic()

    def left_s(self, since_mono: float) -> float:
        """Seconds that may pass without progress; 0 and less means stalled.

        Args:
            since_mono: when the caller began to wait. What passed before does
                not count: a lane with nothing to do is not stalled.
        """
        with self._lock:
            alive_mono = max(self._alive_mono, since_mono)
        return alive_mono + self._stall_s - self._monotonic()

    def fail_stalled(self) -> None:
        self.fail(StorageUnavailable(f"no part was stored for {self._stall_s:.0f} s"))


class LaneStream:
    """One stream on its way to one location: a bounded queue and a thread behind it."""

    def __init__(self, lane: Lane, stream: str, lag_parts: int) -> None:
        self._lane = lane
        self._stream = stream
        self._pipe: Pipe[Part] = Pipe(lag_parts)
        # A daemon: blocked in the socket of a dead store, it must not keep the job from ending.
        self._thread = threading.Thread(
            target=self._run, name=f"upload-{lane.destination.name}-{stream}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def offer(self, part: Part) -> None:
        """Queue `part`; waits while the location lags, drops the location when it stalls.

        Never raises: what happens here is the lane's own fate.
        """
        since_mono = self._lane.now_mono()
        try:
            while not self._pipe.put(part, timeout_s=max(self._lane.left_s(since_mono), 0.0)):
                if self._lane.left_s(since_mono) <= 0:
                    self._lane.fail_stalled()
        except BaseException as error:  # noqa: BLE001 - the cause of the abort, kept as the fate
            self._lane.fail(error)

    def close(self) -> None:
        self._pipe.close()

    def abort(self, cause: BaseException) -> None:
        self._pipe.abort(cause)

    def join(self) -> None:
        """Wait until everything is stored, or the lane failed."""
        since_mono = self._lane.now_mono()
        while self._thread.is_alive():
            self._thread.join(max(self._lane.left_s(since_mono), 0.01))
            if self._thread.is_alive() and self._lane.left_s(since_mono) <= 0:
                self._lane.fail_stalled()
                return

    def join_aborted(self, timeout_s: float) -> None:
        """Give the thread a while to take back what it began."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        upload: Upload | None = None
        try:
            while (part := self._pipe.get()) is not None:
                if upload is None:
                    upload = self._begin(part.object_number)
                started_mono = self._lane.now_mono()
                upload.put_part(part.number, part.data)
                self._lane.confirm(len(part.data), self._lane.now_mono() - started_mono)
                if part.last:
                    self._complete(upload, part)
                    upload = None
        except BaseException as error:  # noqa: BLE001 - thread top: the error is the lane's fate
            self._lane.fail(error)
        finally:
            # Also after a stall: the call that hung may have come back at last.
            if upload is not None:
                upload.abort()

    def _begin(self, number: int) -> Upload:
        destination = self._lane.destination
        key = destination.data_prefix + object_name(self._stream, number)
        return destination.storage.create_upload(key)

    def _complete(self, upload: Upload, part: Part) -> None:
        info = upload.complete()
        self._lane.confirm(0)
        if info.size_bytes != part.total_bytes:
            raise ChecksumMismatch(
                f"{info.key} has {info.size_bytes} bytes in the store, {part.total_bytes} were sent"
            )


def describe(error: BaseException) -> str:
    """One line for people; a defect shows its type too."""
    return str(error) if isinstance(error, BackupError) else f"{type(error).__name__}: {error}"
