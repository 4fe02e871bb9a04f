"""The Secret with a runner's configuration: what runner.config reads, as files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import evolve

from controller.api import codec
from controller.api.errors import InvalidSpec, Problem
from controller.api.secrets import Secret, SecretRef, SecretValue
from controller.api.v1 import (
    BackupLocation,
    CredentialScope,
    DatabaseBackup,
    DatabaseBackupStorageClass,
    StorageClassSpec,
)
from controller.api.wire import wire_name
from controller.kube.resource import SECRETS
from controller.manifests import to_yaml
from controller.resources.labels import Child, Manifest, child
from controller.resources.passphrases import ClassKeys

ROLE = "config"
BACKUP_FILE = "backup.yaml"
STORAGE_FILE = "storageSpec.yaml"
CLUSTER_FILE = "cluster"

Lookup = Callable[[SecretRef], Secret]
#: No labels and no annotations: whoever changes one would have a Secret written.
_KEPT_METADATA = ("name", "namespace", "uid", "generation")
#: Fields of a class that are this side's to act upon.
_OF_NO_RUNNER = (
    "allowedNamespaces",
    "credentialScope",
    "runner",
    "serviceAccountAnnotations",
    "shareEncryptionPass",
)


def config_secret(
    backup: DatabaseBackup, raw_backup: Mapping[str, Any], storage: Manifest, *, cluster_id: str
) -> Child:
    """Build the Secret.

    Args:
        storage: from `resolved_storage`.
    """
    files = {
        BACKUP_FILE: to_yaml(_as_written(raw_backup)),
        CLUSTER_FILE: cluster_id + "\n",
        STORAGE_FILE: to_yaml(storage),
    }
    data = {name: encoded(text) for name, text in files.items()}
    return child(SECRETS, backup, role=ROLE, type="Opaque", data=data)


def encoded(text: str) -> str:
    """Write a text as `data` of a Secret."""
    return base64.b64encode(text.encode()).decode()


def _as_written(raw: Mapping[str, Any]) -> Manifest:
    """The object as its author wrote it: a newer field is a newer runner's to read."""
    metadata = {key: raw["metadata"][key] for key in _KEPT_METADATA if raw["metadata"].get(key)}
    identity = {key: raw[key] for key in ("apiVersion", "kind") if key in raw}
    return identity | {"metadata": metadata, "spec": raw["spec"]}


def resolved_storage(
    backup: DatabaseBackup,
    storage_class: DatabaseBackupStorageClass,
    lookup: Lookup,
    keys: ClassKeys,
) -> Manifest:
    """Fill the class's secret values in, and make its passphrases the object's own.

    With `credentialScope: Namespace` references stay: they are the tenant's,
    for the runner to read.

    Raises:
        InvalidSpec: a text is empty; from `lookup`: DependencyMissing.
    """
    spec = storage_class.spec
    resolver = _Resolver(backup, spec, lookup, keys)
    # Told to who looks at the object: say that this is about another one.
    path = f"{storage_class.KIND} {storage_class.metadata.name}: spec.backupLocations"
    locations = [
        codec.encode(_resolved(location, f"{path}[{index}]", resolver), reveal_secrets=True)
        for index, location in enumerate(spec.backup_locations)
    ]
    storage = {key: value for key, value in codec.encode(spec).items() if key not in _OF_NO_RUNNER}
    return storage | {"backupLocations": locations}


@attrs.frozen
class _Resolver:
    """Finds texts for one object."""

    backup: DatabaseBackup
    storage: StorageClassSpec
    lookup: Lookup
    keys: ClassKeys

    def resolved(self, value: SecretValue, path: str) -> SecretValue:
        return value if self._is_tenants(value) else SecretValue(value=self._text(value, path))

    def passphrase(self, value: SecretValue, path: str) -> SecretValue:
        """Derive the object's own passphrase from the class's; a tenant's own stays as it is."""
        if self._is_tenants(value):
            return value
        metadata = self.backup.metadata
        own = self.keys.derive(
            self._text(value, path), namespace=metadata.namespace, name=metadata.name
        )
        return SecretValue(value=own)

    def _is_tenants(self, value: SecretValue) -> bool:
        return self.storage.credential_scope is CredentialScope.NAMESPACE and not value.value

    def _text(self, value: SecretValue, path: str) -> Secret:
        """Find the text; as in the runner's files, one newline at its end is dropped."""
        if value.value is not None:
            found, what = value.value, "the value"
        elif value.from_secret is not None:
            found = Secret(self.lookup(value.from_secret).reveal().removesuffix("\n"))
            what = f"the Secret's key {value.from_secret}"
        else:
            raise InvalidSpec([Problem(path, "needs value or fromSecret")])
        if not found:
            raise InvalidSpec([Problem(path, f"{what} is empty")])
        return found


def _resolved(location: BackupLocation, path: str, resolver: _Resolver) -> BackupLocation:
    changes: dict[str, Any] = {}
    for attribute in attrs.fields(BackupLocation):
        value = getattr(location, attribute.name)
        if isinstance(value, SecretValue) and attribute.name != "encryption_pass":
            at = f"{path}.{wire_name(attribute.name)}"
            changes[attribute.name] = resolver.resolved(value, at)
    return evolve(location, **changes, **_own_passphrases(location, path, resolver))


def _own_passphrases(location: BackupLocation, path: str, resolver: _Resolver) -> dict[str, Any]:
    current, at = location.encryption_pass, f"{path}.encryptionPass"
    old = [
        (value, f"{path}.previousEncryptionPasses[{index}]")
        for index, value in enumerate(location.previous_encryption_passes)
    ]
    previous = [resolver.passphrase(*one) for one in old]
    if resolver.storage.share_encryption_pass:
        shared = [(current, at), *old] if current is not None else old
        previous += [
            one for one in (resolver.resolved(*one) for one in shared) if one not in previous
        ]
    return {
        "encryption_pass": None if current is None else resolver.passphrase(current, at),
        "previous_encryption_passes": tuple(previous),
    }
