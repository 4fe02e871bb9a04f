"""A location of the API becomes a storage, and what cannot work says why before it starts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import InvalidSpec, ObjectNotFound
from controller.api.secrets import Secret, SecretRef, SecretValue
from controller.api.v1 import BackupLocation, StorageType
from runner.storage.connection import CaFile, Timeouts, resolve_connection
from runner.storage.registry import open_storage, storage_types
from tests.servers.tls import Authority

SECRETS = {"access": "AKIA", "secret": "s3cret-canary", "ca": Authority().certificate_pem}


def resolve(value: SecretValue) -> Secret:
    if value.value is not None:
        return value.value
    assert value.from_secret
    return Secret(SECRETS[value.from_secret.key])


def _ref(key: str) -> SecretValue:
    return SecretValue(from_secret=SecretRef(name="bucket", key=key))


def a_location(storage_type: StorageType = StorageType.S3, **settings: Any) -> BackupLocation:
    fields: dict[str, Any] = {"name": "far", "storage_type": storage_type}
    if storage_type is not StorageType.FILESYSTEM:
        fields |= {"storage_endpoint": "127.0.0.1:1", "storage_bucket": "backups"}
    if storage_type in {StorageType.S3, StorageType.MINIO}:
        fields["storage_access_key_id"] = _ref("access")
        fields["storage_secret_access_key"] = _ref("secret")
    return BackupLocation(**fields | settings)


def test_every_storage_type_of_the_api_can_be_opened() -> None:
    assert set(storage_types()) == set(StorageType)


@pytest.mark.parametrize("storage_type", StorageType)
def test_opening_sends_nothing(storage_type: StorageType, tmp_path: Path) -> None:
    is_folder = storage_type is StorageType.FILESYSTEM
    location = a_location(storage_type, **({"path": str(tmp_path)} if is_folder else {}))

    with contextlib.closing(open_storage(location, resolve)) as storage:
        properties = storage.properties

    assert properties.part_size_bytes == 8 * 1024 * 1024
    # An object is at most 64 GiB.
    assert properties.part_size_bytes * properties.max_parts >= 64 * 1024**3


@pytest.mark.parametrize("path", ["team-a", "/team-a/"])
def test_a_folder_on_a_claim_is_where_the_controller_mounts_it(path: str) -> None:
    location = a_location(StorageType.FILESYSTEM, claim_name="backups", path=path)

    with pytest.raises(ObjectNotFound, match=r"/var/lib/db-backup/claims/backups/team-a\b"):
        next(iter(open_storage(location, resolve).list("")))


@pytest.mark.parametrize("storage_type", [StorageType.S3, StorageType.MINIO, StorageType.GCS])
def test_a_ca_bundle_without_certificates_is_refused(storage_type: StorageType) -> None:
    location = a_location(
        storage_type,
        storage_use_ssl=True,
        ca_bundle=SecretValue(value=Secret("not a certificate")),
    )

    with pytest.raises(InvalidSpec, match="caBundle"):
        open_storage(location, resolve)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"storage_endpoint": "host:9000"}, "http://host:9000"),
        ({"storage_endpoint": "host", "storage_use_ssl": True}, "https://host"),
        ({"storage_endpoint": ""}, ""),
    ],
)
def test_the_url_of_an_endpoint(settings: dict[str, Any], url: str) -> None:
    connection = resolve_connection(a_location(**settings), resolve, Timeouts())

    assert connection.url == url
    assert connection.secure == (not url.startswith("http:"))


def test_secrets_do_not_print() -> None:
    connection = resolve_connection(a_location(ca_bundle=_ref("ca")), resolve, Timeouts())

    assert connection.secret_key
    assert connection.secret_key.reveal() == "s3cret-canary"
    assert "canary" not in repr(connection)


def test_a_ca_file_is_there_until_it_is_closed() -> None:
    file = CaFile("far", SECRETS["ca"])
    path = Path(file.path)
    assert path.read_text() == SECRETS["ca"]
    assert path.read_text() == SECRETS["ca"]

    file.close()
    file.close()

    assert not path.exists()


def test_sdks_are_loaded_by_their_own_locations_only(tmp_path: Path) -> None:
    """Each costs tens of megabytes: an idle runner with a directory has none."""
    program = f"""
import sys
from controller.api.v1 import BackupLocation, StorageType
from runner.storage.registry import open_storage
location = BackupLocation(storage_type=StorageType.FILESYSTEM, name="d", path={str(tmp_path)!r})
open_storage(location, lambda value: None).put("k", b"x")
heavy = {{"boto3", "botocore", "minio", "google", "requests", "urllib3", "cryptography"}}
sys.exit(f"loaded: {{heavy & set(sys.modules)}}" if heavy & set(sys.modules) else 0)
"""
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
