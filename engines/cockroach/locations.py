"""How the cluster reaches a location: which ones it can, and the URI that says so."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote, quote_plus, urlencode

from attrs import frozen

from controller.api.errors import Problem
from controller.api.locations import BackupLocation, StorageType
from controller.api.secrets import Secret, SecretValue
from engines.cockroach.versions import NAMES_HOST_AFTER_BUCKET, Version
from engines.external_store import Collection

_S3 = (StorageType.S3, StorageType.MINIO)


_NO_FOLDER = (
    "the cluster's nodes write the backups by themselves and cannot reach a folder of the runner; "
    "use s3, minio or gcs"
)
_NO_RECIPIENTS = "the cluster encrypts with a passphrase; use encryptionPass"
_VERIFIES = (
    "nodes always look at the certificate; let them trust its authority with "
    "SET CLUSTER SETTING cloudstorage.http.custom_ca = '...'"
)
_GOOGLE_ALONE = "a gs:// URI cannot name another endpoint than Google's"
_ALL_OR_NONE = (
    "some are encrypted and some are not. The cluster writes one and the others get copies: give "
    "all of them the same encryptionPass, or none"
)


def problems_of(locations: Sequence[BackupLocation]) -> Iterator[Problem]:
    """What a class has that a cluster cannot be told."""
    for number, location in enumerate(locations):
        for field, message in _problems_of(location):
            path = f"backupLocations[{number}].{field}"
            yield Problem(path, f"not for cockroach: {message}")
    if len({bool(location.encryption_pass) for location in locations}) > 1:
        yield Problem("backupLocations", f"not for cockroach: {_ALL_OR_NONE}")


def _problems_of(location: BackupLocation) -> Iterator[tuple[str, str]]:
    if location.storage_type is StorageType.FILESYSTEM:
        yield "storageType", _NO_FOLDER
    if location.encryption_recipients:
        yield "encryptionRecipients", _NO_RECIPIENTS
    if location.storage_insecure_skip_verify:
        yield "storageInsecureSkipVerify", _VERIFIES
    if location.storage_type is StorageType.GCS and location.storage_endpoint:
        yield "storageEndpoint", _GOOGLE_ALONE


def problems_with(locations: Sequence[BackupLocation], version: Version) -> Iterator[Problem]:
    """What a class has that a cluster of this version in particular cannot be told."""
    for said in NAMES_HOST_AFTER_BUCKET.told(version):
        for number, location in enumerate(locations):
            if location.storage_endpoint and location.force_path_style is not False:
                yield Problem(
                    f"backupLocations[{number}].forcePathStyle",
                    f"{said}, or set it to false if the store answers to that name",
                )


def needs_external_io(locations: Sequence[BackupLocation]) -> bool:
    """Whether a user without the role admin needs EXTERNALIOIMPLICITACCESS to use them."""
    return any(
        location.storage_endpoint
        or not (location.storage_access_key_id or location.gcs_credentials)
        for location in locations
    )


@frozen
class Uri:
    """A collection's URI, and what in it must not be shown, also as it stands there."""

    text: Secret
    secrets: tuple[Secret, ...]


def place_of(location: BackupLocation, folder: str) -> str:
    """A folder's URI without its query, as it stands in the description of a job, too."""
    scheme = "s3" if location.storage_type in _S3 else "gs"
    return f"{scheme}://{location.storage_bucket}/{quote(folder)}"


def uri_of(
    collection: Collection, version: Version, resolve: Callable[[SecretValue], Secret]
) -> Uri:
    """Say where a collection lies, with the credentials for it.

    Raises: DependencyMissing, from `resolve`.
    """
    location = collection.location
    public, secret = (_s3 if location.storage_type in _S3 else _gcs)(location, version, resolve)
    query = urlencode({**public, **{name: value.reveal() for name, value in secret.items()}})
    place = place_of(location, collection.folder).rstrip("/")
    texts = tuple(secret.values())
    quoted = tuple(Secret(quote_plus(value.reveal())) for value in texts)
    return Uri(Secret(f"{place}?{query}"), texts + quoted)


def _s3(
    location: BackupLocation, version: Version, resolve: Callable[[SecretValue], Secret]
) -> tuple[dict[str, str], dict[str, Secret]]:
    public: dict[str, str] = {}
    secret: dict[str, Secret] = {}
    if location.storage_access_key_id and location.storage_secret_access_key:
        secret["AWS_ACCESS_KEY_ID"] = resolve(location.storage_access_key_id)
        secret["AWS_SECRET_ACCESS_KEY"] = resolve(location.storage_secret_access_key)
    else:
        public["AUTH"] = "implicit"
    if location.storage_endpoint:
        scheme = "https" if location.storage_use_ssl else "http"
        public["AWS_ENDPOINT"] = f"{scheme}://{location.storage_endpoint}"
        if version.knows_path_style and location.force_path_style is not False:
            public["AWS_USE_PATH_STYLE"] = "true"
    # Where it is left out the nodes ask the bucket for it, which not every store answers.
    if location.storage_location or location.storage_endpoint:
        public["AWS_REGION"] = location.storage_location or "us-east-1"
    return public, secret


def _gcs(
    location: BackupLocation, _version: Version, resolve: Callable[[SecretValue], Secret]
) -> tuple[dict[str, str], dict[str, Secret]]:
    if not location.gcs_credentials:
        return {"AUTH": "implicit"}, {}
    key = resolve(location.gcs_credentials).reveal()
    return {"AUTH": "specified"}, {"CREDENTIALS": Secret(base64.b64encode(key.encode()).decode())}
