"""What a runner's pod mounts of its own namespace: by name, and never read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from controller.api.secrets import SecretRef, secret_values
from controller.api.v1 import CredentialScope, DatabaseBackup, StorageClassSpec


@frozen(kw_only=True)
class Tenant:
    """Names of what the pod refers to; in order, each once.

    Args:
        secret_keys: Secret -> those of its keys that are referred to.
        claims: PersistentVolumeClaims of locations.
    """

    secret_keys: Mapping[str, tuple[str, ...]]
    claims: tuple[str, ...]


def tenant_of(backup: DatabaseBackup, storage: StorageClassSpec) -> Tenant:
    """Collect what object and class refer to in the object's namespace."""
    referring: list[object] = [backup.spec]
    if storage.credential_scope is CredentialScope.NAMESPACE:
        referring += storage.backup_locations
    return Tenant(
        secret_keys=_by_secret(
            value.from_secret
            for one in referring
            for value in secret_values(one)
            if value.from_secret
        ),
        claims=tuple(
            sorted({one.claim_name for one in storage.backup_locations if one.claim_name})
        ),
    )


def _by_secret(references: Iterable[SecretRef]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for reference in references:
        found.setdefault(reference.name, set()).add(reference.key)
    return {name: tuple(sorted(keys)) for name, keys in sorted(found.items())}
