"""Where backups are stored: the locations of a DatabaseBackupStorageClass, as values."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import Factory, evolve, field, frozen

from controller.api import location_rules
from controller.api.bounds import (
    DNS_LABEL,
    DNS_NAME,
    PATH_STEP,
    QUALIFIED_NAME,
    All,
    Between,
    Each,
    Keys,
    Length,
    Matches,
    wire,
)
from controller.api.pods import RunnerDefaults
from controller.api.rules import Checked
from controller.api.secrets import SecretValue

_MAX_LOCATIONS = 16


def _read_only(mapping: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(mapping))


def _without_outer_slashes(text: str) -> str:
    return text.strip("/")


class StorageType(enum.Enum):
    """Which adapter of runner.storage serves a location."""

    S3 = "s3"
    MINIO = "minio"
    GCS = "gcs"
    FILESYSTEM = "filesystem"


class CredentialScope(enum.Enum):
    """In which namespace the Secrets of a class are looked up."""

    CLASS = "Class"
    NAMESPACE = "Namespace"


@frozen(kw_only=True)
class BackupLocation(Checked):
    """One place where backups are stored.

    Secrets are looked up in the controller's namespace, unless the class's
    `credentialScope` says otherwise. A field that does not belong to the
    `storageType` is refused.

    Args:
        storage_type: kind of the store.
        storage_endpoint: for s3, minio, gcs: host[:port] without a scheme. Left
            out: the provider's own, always over TLS. Required for minio.
        storage_access_key_id: for s3, minio: goes together with
            `storageSecretAccessKey`. Both left out: the SDK's own search, such
            as a workload identity.
        storage_secret_access_key: for s3, minio: the key's secret half.
        storage_bucket: for s3, minio, gcs: required. It is never created.
        storage_location: for s3, minio: region.
        storage_use_ssl: for s3, minio, gcs: TLS to `storageEndpoint`.
        storage_insecure_skip_verify: for s3, minio, gcs: TLS without looking at the
            certificate. Anybody in between reads along.
        storage_prefix: put before every key; a slash at its ends is dropped.
        force_path_style: for s3, minio: bucket in the path instead of the host
            name. Left out: for every endpoint that is not Amazon's (s3), the
            SDK's choice (minio).
        gcs_credentials: for gcs: a service account's JSON key; without it the workload identity.
        ca_bundle: for s3, minio, gcs: PEM certificates to trust instead of the system's.
        claim_name: for filesystem: a PersistentVolumeClaim with `path` as a folder on it.
        path: for filesystem: a folder; absolute without `claimName`. It has to exist.
        encryption_pass: passphrase; without one, and without
            `encryptionRecipients`, backups are NOT encrypted. Never empty.
        previous_encryption_passes: tried when reading.
        encryption_recipients: age public keys instead of a passphrase: the
            runner can then not read its own backups.
        name: how people, metrics and the status call it. Left out: a readable
            part and a hash of the place, so that moving the entry in the list
            changes nothing.
    """

    RULES = (
        location_rules.storage_has_its_fields,
        location_rules.storage_has_no_others_fields,
        location_rules.access_key_is_whole,
        location_rules.path_is_absolute_without_claim,
        location_rules.passphrase_or_recipients,
        location_rules.passphrases_are_not_empty,
    )

    storage_type: StorageType
    storage_endpoint: str = field(
        default="",
        validator=Matches(
            r"([A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?",
            "host or host:port, without a scheme or path",
            optional=True,
        ),
    )
    storage_access_key_id: SecretValue | None = None
    storage_secret_access_key: SecretValue | None = None
    storage_bucket: str = field(
        default="",
        validator=Matches(
            r"[A-Za-z0-9][-A-Za-z0-9._]{1,220}[A-Za-z0-9]",
            "a bucket's name: 3 to 222 of letters, digits, -, _ and .",
            optional=True,
        ),
    )
    storage_location: str = field(
        default="", validator=Matches(r"[-A-Za-z0-9_]{1,64}", "a region's name", optional=True)
    )
    storage_use_ssl: bool = False
    storage_insecure_skip_verify: bool = False
    storage_prefix: str = field(
        default="",
        converter=_without_outer_slashes,
        validator=Matches(
            rf"{PATH_STEP}(/{PATH_STEP})*",
            "names separated by single slashes, none of them . or ..",
            optional=True,
            longest=512,
        ),
        # The converter has not taken the slashes away yet.
        metadata=wire(
            Matches(
                rf"/?{PATH_STEP}(/{PATH_STEP})*/?",
                "names separated by single slashes, none of them . or ..",
                optional=True,
                longest=512,
            )
        ),
    )
    force_path_style: bool | None = None
    gcs_credentials: SecretValue | None = None
    ca_bundle: SecretValue | None = None
    claim_name: str = field(default="", validator=evolve(DNS_NAME, optional=True))
    path: str = field(
        default="",
        validator=Matches(
            rf"/?({PATH_STEP}(/{PATH_STEP})*/?)?",
            "a folder's path without . or .. or empty names",
            optional=True,
            longest=1024,
        ),
    )
    encryption_pass: SecretValue | None = None
    previous_encryption_passes: tuple[SecretValue, ...] = field(
        default=(), converter=tuple, validator=Length(0, 16)
    )
    encryption_recipients: tuple[str, ...] = field(
        default=(),
        converter=tuple,
        validator=All(
            (
                Length(0, 16),
                Each(
                    Matches(
                        r"age1[02-9ac-hj-np-z]{58}",
                        "an age public key: age1 and 58 characters",
                    )
                ),
            )
        ),
    )
    name: str = field(validator=DNS_LABEL)

    @name.default
    def _name_of_place(self) -> str:
        words = self.storage_bucket or self.claim_name or self.path
        readable = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[-40:].strip("-")
        digest = hashlib.sha256("\0".join(self.place).encode()).hexdigest()[:8]
        return f"{readable or 'location'}-{digest}"

    @property
    def place(self) -> tuple[str, ...]:
        """Where the bytes are: two locations of one place would overwrite each other."""
        return (
            self.storage_endpoint,
            self.storage_bucket,
            self.claim_name,
            self.path.rstrip("/"),
            self.storage_prefix,
        )


@frozen(kw_only=True)
class StorageClassSpec(Checked):
    """The places, and how many of them a backup needs.

    Args:
        backup_locations: every backup is written to each of these, from one dump.
        min_successful_locations: a backup job succeeds when so many locations
            hold the backup; left out: all of them. Those that did take it keep
            it either way.
        allowed_namespaces: whose DatabaseBackups may use this class; left out: all.
        credential_scope: Class: Secrets are in the controller's namespace and one
            set of credentials serves all. Namespace: they are looked up in the
            namespace of each DatabaseBackup, which brings its own; a passphrase
            from there is used as it is.
        share_encryption_pass: runners get the class's own passphrases, too, for
            reading only. Whoever gets into one of them can then read the backups
            of all.
        service_account_annotations: annotations of the runners' ServiceAccounts,
            such as those of a workload identity.
    """

    RULES = (location_rules.locations_differ, location_rules.enough_locations_for_success)

    backup_locations: tuple[BackupLocation, ...] = field(
        converter=tuple, validator=Length(1, _MAX_LOCATIONS)
    )
    min_successful_locations: int | None = field(default=None, validator=Between(1, _MAX_LOCATIONS))
    allowed_namespaces: tuple[str, ...] = field(
        default=(), converter=tuple, validator=All((Length(0, 1000), Each(DNS_LABEL)))
    )
    credential_scope: CredentialScope = CredentialScope.CLASS
    share_encryption_pass: bool = False
    runner: RunnerDefaults = Factory(RunnerDefaults)
    service_account_annotations: Mapping[str, str] = field(
        factory=dict,
        converter=_read_only,
        validator=All((Length(0, 32), Keys(QUALIFIED_NAME))),
    )

    def allows(self, namespace: str) -> bool:
        """Whether DatabaseBackups of that namespace may use this class."""
        return not self.allowed_namespaces or namespace in self.allowed_namespaces

    @property
    def required_locations(self) -> int:
        return self.min_successful_locations or len(self.backup_locations)
