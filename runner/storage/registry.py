"""Which adapter serves which storage type, and what is wrapped around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from controller.api.places import claim_folder
from controller.api.v1 import BackupLocation, StorageType
from runner.storage.base import Storage
from runner.storage.connection import Resolve, Timeouts, resolve_connection
from runner.storage.filesystem import FilesystemStorage
from runner.storage.gcs import GcsStorage
from runner.storage.metered import Meter, Metered
from runner.storage.minio import MinioStorage
from runner.storage.retrying import Retrying, RetryPolicy
from runner.storage.s3 import S3Storage

_Factory = Callable[[BackupLocation, Resolve, Timeouts], Storage]


def _open_filesystem(location: BackupLocation, _resolve: Resolve, _timeouts: Timeouts) -> Storage:
    root = Path(location.path)
    if location.claim_name:
        # A path on the volume, with and without a slash at its start.
        root = Path(claim_folder(location.claim_name)) / location.path.strip("/")
    return FilesystemStorage(location.name, root)


def _open_s3(location: BackupLocation, resolve: Resolve, timeouts: Timeouts) -> Storage:
    return S3Storage(resolve_connection(location, resolve, timeouts))


def _open_minio(location: BackupLocation, resolve: Resolve, timeouts: Timeouts) -> Storage:
    return MinioStorage(resolve_connection(location, resolve, timeouts))


def _open_gcs(location: BackupLocation, resolve: Resolve, timeouts: Timeouts) -> Storage:
    return GcsStorage(resolve_connection(location, resolve, timeouts))


_FACTORIES: Mapping[StorageType, _Factory] = {
    StorageType.FILESYSTEM: _open_filesystem,
    StorageType.GCS: _open_gcs,
    StorageType.MINIO: _open_minio,
    StorageType.S3: _open_s3,
}


def storage_types() -> tuple[StorageType, ...]:
    """What `open_storage` can open."""
    return tuple(_FACTORIES)


def open_storage(
    location: BackupLocation,
    resolve: Resolve,
    *,
    stop: threading.Event | None = None,
    meter: Meter | None = None,
    policy: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
) -> Storage:
    """Open a location: the adapter of its type, metered, with retries around it.

    Nothing is sent yet: a location that is down fails with its first call.

    Args:
        resolve: finds the text of a secret value; asked once, here.
        stop: ends waits between tries.
        meter: is told of each call.
    Raises:
        InvalidSpec: the location's settings contradict each other.
        AccessDenied: no credentials given and none found.
        DependencyMissing: from `resolve`.
    """
    storage = _FACTORIES[location.storage_type](location, resolve, timeouts or Timeouts())
    if meter is not None:
        storage = Metered(storage, meter)
    return Retrying(storage, policy=policy or RetryPolicy(), stop=stop or threading.Event())
