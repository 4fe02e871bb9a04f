"""A backup: one dump into every location, proven, then committed by its manifests."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial

from attrs import evolve

from controller.api.errors import (
    BackupError,
    PreflightFailed,
)
from controller.api.version import version
from controller.process.logging import kv
from engines.external_store import ExternalStore
from engines.interface import BackupFacts, Progress, Purpose
from runner.crypto import age
from runner.jobs.begun import note_begun
from runner.jobs.environment import JobEnvironment, JobFailure, moves_streams
from runner.jobs.fates import Fates
from runner.jobs.inspect import inspect
from runner.jobs.prune import candidates
from runner.jobs.stored import StoredBackup
from runner.locations import Location, Locations
from runner.outcome import JobOutcome, StageTiming
from runner.pipeline.backup import BackupOptions, BackupSink, StreamResult
from runner.pipeline.fanout import Destination, Lane
from runner.repository.layout import BackupId, new_backup_id, object_name
from runner.repository.manifest import (
    STREAMS_VERSION,
    Manifest,
    ManifestObject,
    ManifestStream,
    Owner,
)
from runner.retention.policy import BirthLabel, labels_at_birth, policy_of

log = logging.getLogger(__name__)

#: How long taking back a failed backup may hold up its outcome.
_DISCARD_S = 20.0


def run_backup(job: JobEnvironment) -> JobOutcome:
    """Back up once.

    Raises: JobFailure of LocationsFailed when fewer locations hold the backup
        than the class asks for - those that do keep it; what the engine raises.
    """
    started_at = job.clock.now()
    cluster_id = job.cluster_id()
    engine = job.engine()
    job.events.stage("preflight")
    problems = engine.preflight(job.context, purpose=Purpose.BACKUP)
    if problems:
        raise PreflightFailed(problems)
    with job.locations() as locations:
        if isinstance(engine, ExternalStore):
            return StoredBackup(job, engine, locations, started_at, cluster_id).run()
        create = moves_streams(engine).create_backup
        return _Backup(job, locations, started_at, cluster_id).run(create)


class _Backup:
    """The steps of one backup, in their order."""

    def __init__(
        self, job: JobEnvironment, locations: Locations, started_at: datetime, cluster_id: str
    ) -> None:
        self._job = job
        self._locations = locations
        self._started_at = started_at
        self._cluster_id = cluster_id
        self._id: BackupId = new_backup_id(started_at)
        self._fates = Fates(job, locations, started_at)

    def run(self, create_backup: Callable[..., BackupFacts]) -> JobOutcome:
        held = [
            (location, tuple(candidates(listing)))
            for location, listing in self._fates.check(self._cluster_id)
        ]
        ready = [location for location, _ in held]
        if not ready:
            raise self._incomplete(())
        note_begun(self._job.context.scratch, self._id)
        self._job.events.started("backup", backupId=self._id)
        encrypts = any(location.keyring.encrypts for location in ready)
        identity = age.Identity.generate() if encrypts else None
        dump_mono = time.monotonic()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="derive-keys") as deriving:
            digest = deriving.submit(self._job.config.digest)
            wrapping = _wrap(deriving, ready, identity)
            facts, streams, sink = self._dump(create_backup, ready, identity)
        dumped_s = time.monotonic() - dump_mono
        self._note(sink.lanes)
        self._job.events.stage("commit")
        self._discard([one for one in ready if one.name in self._fates.errors])
        key_files = self._key_files(wrapping)
        written = self._fates.left(ready)
        labels = labels_at_birth(
            self._started_at,
            [there for location, there in held if location in written],
            policy_of(self._job.config.backup.spec),
        )
        record = self._record(facts, labels, digest.result())
        answers = self._job.ask(
            "commit",
            written,
            lambda location: self._commit(location, key_files.get(location.name), record, streams),
        )
        committed = []
        for location in written:
            answer = answers[location.name]
            if isinstance(answer, BackupError):
                # Its data stays for the sweep: a manifest that was sent may still arrive.
                self._fates.fail(location.name, answer, "commit")
            else:
                self._fates.stored_bytes[location.name] = answer
                committed.append(location)
        whole = StageTiming(stage="dump", seconds=dumped_s, bytes=_plain_bytes(streams))
        if self._fates.are_enough:
            self._fates.prune(committed, self._cluster_id)
        inspect(self._job, self._locations)
        if not self._fates.are_enough:
            raise self._incomplete(streams)
        return self._fates.outcome(self._id, _plain_bytes(streams), stages=(whole, *sink.timings()))

    # -- steps ----------------------------------------------------------------

    def _dump(
        self,
        create_backup: Callable[..., BackupFacts],
        ready: Sequence[Location],
        identity: age.Identity | None,
    ) -> tuple[BackupFacts, tuple[StreamResult, ...], BackupSink]:
        spec = self._job.config.backup.spec
        sink = BackupSink(
            [
                Destination(
                    name=location.name,
                    storage=location.storage,
                    data_prefix=location.layout.backup_data(self._id),
                    encrypted=location.keyring.encrypts,
                )
                for location in ready
            ],
            BackupOptions(
                level=spec.compression.level,
                identity=identity,
                part_size_bytes=max(one.storage.properties.part_size_bytes for one in ready),
                stall_s=spec.stall_timeout.total_seconds() / 2,
                parallel=spec.runner.parallelism,
            ),
        )
        self._job.events.count(
            lambda: {
                "plainBytes": sink.plain_bytes(),
                **{lane.destination.name: lane.stored_bytes for lane in sink.lanes},
            }
        )
        try:
            with sink.aborted_when_set(self._job.context.cancelled):
                facts = create_backup(sink, self._job.context, parallel=spec.runner.parallelism)
                self._job.context.report(Progress(stage="upload", done=0))
                return facts, sink.finish(facts.streams), sink
        except BaseException as error:
            # An engine that fails in a stream has ended all lanes, and is no location's fault.
            nowhere = len(sink.failed_by_themselves()) == len(sink.lanes)
            if nowhere and not self._job.context.cancelled.is_set():
                self._note(sink.lanes)
            sink.abort(error)
            self._discard(ready)
            if not self._fates.left(ready):
                raise self._incomplete(()) from error
            raise

    def _key_files(self, wrapping: Mapping[str, Future[bytes]]) -> dict[str, bytes]:
        """Each encrypted location's key file; one that cannot be made is its location's fate."""
        key_files = {}
        for name, wrapped in wrapping.items():
            if name in self._fates.errors:
                continue
            try:
                key_files[name] = wrapped.result()
            except BackupError as error:
                self._fates.fail(name, error, "key")
        return key_files

    def _record(
        self, facts: BackupFacts, labels: tuple[BirthLabel, ...] | None, config_digest: str
    ) -> Callable[..., Manifest]:
        """The manifest but for what differs from location to location."""
        metadata = self._job.config.backup.metadata
        return partial(
            Manifest,
            format_version=STREAMS_VERSION,
            id=self._id,
            owner=Owner(namespace=metadata.namespace, name=metadata.name),
            cluster_id=self._cluster_id,
            runner_version=version(),
            config_digest=config_digest,
            started_at=self._started_at,
            finished_at=self._job.clock.now(),
            facts=facts,
            compression="zstd",
            labels=labels,
        )

    def _commit(
        self,
        location: Location,
        key_file: bytes | None,
        record: Callable[..., Manifest],
        streams: Sequence[StreamResult],
    ) -> int:
        """Make the backup exist in one location; returns its stored bytes."""
        encryption = location.keyring.encryption()
        if key_file is not None:
            location.storage.put_new(location.layout.key_file(self._id), key_file)
            encryption = evolve(encryption, key_sha256=hashlib.sha256(key_file).hexdigest())
        manifest = record(
            streams=tuple(
                _manifest_stream(stream, sealed=key_file is not None) for stream in streams
            ),
            encryption=encryption,
        )
        manifest.check()
        location.catalogue.commit(manifest)
        return manifest.stored_bytes

    def _discard(self, locations: Sequence[Location]) -> None:
        """Take back what locations have of a failed backup; the sweep gets what is left.

        In threads, because the usual reason is a location that does not answer.
        """
        threads = [
            threading.Thread(target=self._discard_one, args=(location,), daemon=True)
            for location in locations
        ]
        for thread in threads:
            thread.start()
        deadline_mono = time.monotonic() + min(_DISCARD_S, self._job.answer_s)
        for thread in threads:
            thread.join(max(0.0, deadline_mono - time.monotonic()))

    def _discard_one(self, location: Location) -> None:
        """Each step for itself: without the right to list uploads, data can still be deleted."""
        folder = location.layout.backup_data(self._id)
        for step in (
            lambda: location.storage.abort_stale_uploads(folder),
            lambda: location.catalogue.discard(self._id),
        ):
            try:
                step()
            except BackupError as error:
                log.warning(
                    "partial backup not deleted",
                    extra=kv(location=location.name, backup_id=self._id, error=str(error)),
                )
                self._job.events.warning(
                    f"location {location.name}: not all of {self._id} could be taken back: {error}"
                )

    # -- fates ----------------------------------------------------------------

    def _note(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            if lane.error is not None:
                self._fates.fail(lane.destination.name, lane.error, "upload")

    def _incomplete(self, streams: Sequence[StreamResult]) -> JobFailure:
        return self._fates.incomplete(self._id, _plain_bytes(streams))


def _plain_bytes(streams: Sequence[StreamResult]) -> int:
    return sum(stream.plain_bytes for stream in streams)


def _wrap(
    deriving: ThreadPoolExecutor, ready: Sequence[Location], identity: age.Identity | None
) -> dict[str, Future[bytes]]:
    """Make the key files while the dump starts: deriving a key takes a core 0.1 s.

    One after the other, as each takes 32 MiB; and first of all, while the
    pipeline's buffers are still empty.
    """
    if identity is None:
        return {}
    return {
        location.name: deriving.submit(location.keyring.wrap, identity)
        for location in ready
        if location.keyring.encrypts
    }


def _manifest_stream(stream: StreamResult, *, sealed: bool) -> ManifestStream:
    objects = stream.sealed_objects if sealed else stream.plain_objects
    return ManifestStream(
        name=stream.name,
        plain_bytes=stream.plain_bytes,
        plain_sha256=stream.plain_sha256,
        objects=tuple(
            ManifestObject(
                name=object_name(stream.name, stored.number),
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            )
            for stored in objects
        ),
    )
