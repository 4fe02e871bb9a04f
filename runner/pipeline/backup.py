"""The writing side: an engine's streams into every location at once."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen

from controller.api.errors import Cancelled, LocationsFailed
from engines.interface import StreamName
from runner.crypto import age
from runner.outcome import StageTiming
from runner.pipeline.fanout import Destination, Lane, LaneStream, describe
from runner.pipeline.pipe import Pipe
from runner.pipeline.stages import (
    MAX_OBJECT_BYTES,
    Cutter,
    Part,
    Stopwatch,
    StoredObject,
    Transform,
)
from runner.repository.layout import STREAM_NAME

#: How far the quickest location may be ahead of the slowest, all streams together.
LAG_PARTS = 2
#: Chunks (of at most 1 MiB) between the engine's thread and the compressing one.
_QUEUED_CHUNKS = 4
#: How long an aborted upload may take to be taken back before the job goes on.
_ABORT_S = 20.0
_CANCEL_POLL_S = 0.2


@frozen(kw_only=True)
class BackupOptions:
    """How a backup is stored.

    Args:
        level: of zstd.
        identity: X25519, fresh for this backup; None when no location encrypts.
        part_size_bytes: of every upload; each storage must accept it.
        stall_s: a location that stores nothing for so long is dropped.
        parallel: streams at once, for sharing the buffer.
    """

    level: int = 1
    identity: age.Identity | None = None
    part_size_bytes: int = 8 * 1024**2
    max_object_bytes: int = MAX_OBJECT_BYTES
    stall_s: float = 300.0
    parallel: int = 1


@frozen(kw_only=True)
class StreamResult:
    """One finished stream: plain facts, and its objects by form (plain, encrypted)."""

    name: StreamName
    plain_bytes: int
    plain_sha256: str
    plain_objects: tuple[StoredObject, ...]
    sealed_objects: tuple[StoredObject, ...]


class _Feed:
    """One form of a stream (plain or encrypted) on its way to its locations."""

    def __init__(self, uploads: list[LaneStream], options: BackupOptions) -> None:
        self.uploads = uploads
        self.cutter = Cutter(
            self._emit,
            part_size_bytes=options.part_size_bytes,
            max_object_bytes=options.max_object_bytes,
        )

    def close(self) -> None:
        for upload in self.uploads:
            upload.close()

    def _emit(self, part: Part) -> None:
        for upload in self.uploads:
            upload.offer(part)


class BackupSink:
    """Takes the streams of one backup and feeds all locations from one read.

    Each location lives or fails for itself; the sink fails, and with it the
    engine's writes, when none is left or when it is aborted.

    Threads: `open` may be called from several threads, each stream is written
    by one. `_lock` guards `_streams` and `_cause`.
    """

    def __init__(self, destinations: Sequence[Destination], options: BackupOptions) -> None:
        self._options = options
        self.lanes = [Lane(target, stall_s=options.stall_s) for target in destinations]
        self._lock = threading.Lock()
        self._streams: dict[StreamName, StreamPipeline] = {}
        self._cause: BaseException | None = None

    def open(self, name: StreamName, /) -> StreamPipeline:
        if not STREAM_NAME.match(name):
            raise ValueError(f"not a stream name: {name!r}")
        stream = StreamPipeline(name, self, self._options)
        with self._lock:
            if name in self._streams:
                raise ValueError(f"stream {name!r} was opened before")
            self._streams[name] = stream
            cause = self._cause
        if cause is not None:
            stream.abort(cause)
        stream.start()
        return stream

    def finish(self, names: Sequence[StreamName]) -> tuple[StreamResult, ...]:
        """Wait until every stream is stored wherever its location still lives.

        Args:
            names: the streams that the engine says the backup consists of.
        Raises: LocationsFailed when no location holds the backup; the cause of an abort.
        """
        with self._lock:
            streams = dict(self._streams)
        if set(streams) != set(names):
            raise ValueError(f"the engine wrote {sorted(streams)} and names {sorted(names)}")
        results = tuple(streams[name].finish() for name in names)
        self.check()
        return results

    def failed_by_themselves(self) -> list[Lane]:
        """Lanes with an error of their own, not that of what ended all of them."""
        with self._lock:
            cause = self._cause
        return [lane for lane in self.lanes if lane.error not in (None, cause)]

    def abort(self, cause: BaseException) -> None:
        """End everything: writes raise `cause`, unfinished uploads are taken back."""
        with self._lock:
            if self._cause is None:
                self._cause = cause
            streams = list(self._streams.values())
        for lane in self.lanes:
            lane.fail(cause)
        for stream in streams:
            stream.void(cause)
        deadline = time.monotonic() + _ABORT_S
        for stream in streams:
            stream.join_aborted(deadline)

    @contextmanager
    def aborted_when_set(self, cancelled: threading.Event) -> Iterator[None]:
        """In the block, abort as soon as the job has to end: an engine may wait for us."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_CANCEL_POLL_S):
                if cancelled.is_set():
                    self.abort(Cancelled("the job was ended"))
                    return

        watcher = threading.Thread(target=watch, name="abort-on-cancel")
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def check(self) -> None:
        """Raise if there is no point in going on."""
        with self._lock:
            if self._cause is not None:
                raise self._cause
        if all(lane.error for lane in self.lanes):
            raise LocationsFailed(
                "every location failed: "
                + "; ".join(
                    f"{lane.destination.name}: {describe(lane.error)}"
                    for lane in self.lanes
                    if lane.error
                )
            )

    def timings(self) -> tuple[StageTiming, ...]:
        """How long each stage worked: the slowest one is the bottleneck."""
        with self._lock:
            streams = list(self._streams.values())
        watches = {
            "hash": [stream.hashing for stream in streams],
            "compress": [stream.transform.compressing for stream in streams],
            "encrypt": [stream.transform.encrypting for stream in streams],
        }
        stages = [
            StageTiming(
                stage=stage,
                seconds=sum(watch.seconds for watch in found),
                bytes=sum(watch.bytes for watch in found),
            )
            for stage, found in watches.items()
        ]
        return tuple(stages) + tuple(
            StageTiming(
                stage=f"upload {lane.destination.name}",
                seconds=lane.upload_s,
                bytes=lane.stored_bytes,
            )
            for lane in self.lanes
        )

    def plain_bytes(self) -> int:
        with self._lock:
            return sum(stream.plain_bytes for stream in self._streams.values())


class StreamPipeline:
    """One stream: hashed where it is written, compressed and encrypted in a thread of its own."""

    def __init__(self, name: StreamName, sink: BackupSink, options: BackupOptions) -> None:
        self.name = name
        self.plain_bytes = 0
        self.hashing = Stopwatch()
        self._sink = sink
        self._sha256 = hashlib.sha256()
        self._pipe: Pipe[bytes] = Pipe(_QUEUED_CHUNKS)
        self._error: BaseException | None = None
        lag = max(1, LAG_PARTS // options.parallel)
        self._plain = self._feed(options, lag, encrypted=False)
        self._sealed = self._feed(options, lag, encrypted=True)
        self.transform = Transform(
            plain=self._plain.cutter if self._plain else None,
            sealed=self._sealed.cutter if self._sealed else None,
            level=options.level,
            public_key=options.identity.public_bytes() if options.identity else None,
        )
        self._thread = threading.Thread(target=self._run, name=f"transform-{name}", daemon=True)

    def _feed(self, options: BackupOptions, lag: int, *, encrypted: bool) -> _Feed | None:
        lanes = [lane for lane in self._sink.lanes if lane.destination.encrypted == encrypted]
        if not lanes:
            return None
        return _Feed([lane.open(self.name, lag_parts=lag) for lane in lanes], options)

    def start(self) -> None:
        self._thread.start()

    def write(self, data: bytes | memoryview, /) -> int:
        chunk = bytes(data)
        self._pipe.put(chunk)
        with self.hashing.working(len(chunk)):
            self._sha256.update(chunk)
        self.plain_bytes += len(chunk)
        return len(chunk)

    def close(self) -> None:
        self._pipe.close()

    def abort(self, cause: BaseException, /) -> None:
        """A void stream is a void backup."""
        self._sink.abort(cause)

    def void(self, cause: BaseException) -> None:
        self._pipe.abort(cause)

    def finish(self) -> StreamResult:
        self._thread.join()
        for feed in self._feeds():
            for upload in feed.uploads:
                upload.join()
        if self._error is not None:
            raise self._error
        return StreamResult(
            name=self.name,
            plain_bytes=self.plain_bytes,
            plain_sha256=self._sha256.hexdigest(),
            plain_objects=tuple(self._plain.cutter.objects) if self._plain else (),
            sealed_objects=tuple(self._sealed.cutter.objects) if self._sealed else (),
        )

    def join_aborted(self, deadline_mono: float) -> None:
        for feed in self._feeds():
            for upload in feed.uploads:
                upload.join_aborted(max(0.0, deadline_mono - time.monotonic()))

    def _feeds(self) -> list[_Feed]:
        return [feed for feed in (self._plain, self._sealed) if feed]

    def _run(self) -> None:
        try:
            while (chunk := self._pipe.get()) is not None:
                self.transform.feed(chunk)
                self._sink.check()
            self.transform.finish()
            for feed in self._feeds():
                feed.close()
        except BaseException as error:  # noqa: BLE001 - thread top: handed to whoever writes or finishes
            self._error = error
            self._pipe.abort(error)
            for feed in self._feeds():
                for upload in feed.uploads:
                    upload.abort(error)
