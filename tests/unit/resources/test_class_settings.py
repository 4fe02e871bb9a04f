"""What a storage class says of its runners, beside the places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.api.errors import AccessDenied
from controller.api.passphrase import derive_passphrase
from controller.api.secrets import Secret
from runner import config
from tests.builders import a_class_manifest, a_location_manifest
from tests.unit.resources.samples import (
    A_CLASS,
    WITH_SECRETS,
    a_raw_backup,
    build,
    child_of,
    ref,
    template_of,
)
from tests.unit.resources.test_config_secret import files_of, mounted, storage_of

OWN = derive_passphrase(Secret("the class's passphrase"), namespace="db", name="shop").reveal()
OLD = derive_passphrase(Secret("the class's old passphrase"), namespace="db", name="shop").reveal()


def a_class(**spec: Any) -> dict[str, Any]:
    return A_CLASS | {"spec": A_CLASS["spec"] | spec}


def test_a_namespace_that_is_not_allowed_is_refused_with_the_cure() -> None:
    with pytest.raises(AccessDenied) as refused:
        build(a_raw_backup(), a_class(allowedNamespaces=["web", "db2"]))

    assert str(refused.value) == (
        "the storage class standard is not for namespace db: name another one, or have the "
        "namespace added to its spec.allowedNamespaces"
    )


@pytest.mark.parametrize("allowed", [["web", "db"], []])
def test_a_namespace_that_is_allowed_is_served(allowed: list[str]) -> None:
    assert build(a_raw_backup(), a_class(allowedNamespaces=allowed)).children


def test_annotations_are_those_of_the_service_account_alone() -> None:
    annotations = {"iam.gke.io/gcp-service-account": "backups@example.iam"}

    built = build(a_raw_backup(), a_class(serviceAccountAnnotations=annotations))

    with_it = [
        child.resource.kind
        for child in built.children
        if child.manifest["metadata"].get("annotations") == annotations
    ]
    assert with_it == ["ServiceAccount"]


def test_a_namespace_s_own_credentials_are_mounted_and_nothing_is_looked_up(
    tmp_path: Path,
) -> None:
    location = a_location_manifest(
        storageAccessKeyID=ref("ours", "id"),
        storageSecretAccessKey=ref("ours", "secret"),
        encryptionPass=ref("ours", "passphrase"),
        previousEncryptionPasses=[ref("ours", "old")],
    )
    scoped = a_class_manifest(credentialScope="Namespace", backupLocations=[location])
    tenant = {key: f"our {key}" for key in ("id", "secret", "passphrase", "old")}

    # `lookup` knows no Secret of that name: asking it would fail.
    built = build(a_raw_backup(postgres=WITH_SECRETS), scoped)
    loaded = config.load(mounted(built, tmp_path, {"ours": tenant}))

    (found,) = loaded.storage.backup_locations
    for value, text in (
        (found.storage_access_key_id, "our id"),
        (found.encryption_pass, "our passphrase"),
        (found.previous_encryption_passes[0], "our old"),
    ):
        assert value is not None
        assert loaded.resolve(value) == Secret(text)


def test_a_value_in_the_class_is_the_class_s_in_any_scope() -> None:
    location = a_location_manifest(encryptionPass={"value": "the class's passphrase"})

    for scope in ("Class", "Namespace"):
        built = build(
            a_raw_backup(), a_class_manifest(credentialScope=scope, backupLocations=[location])
        )
        assert storage_of(built)[0]["encryptionPass"] == {"value": OWN}


def test_a_shared_passphrase_is_for_reading_only() -> None:
    location = storage_of(build(a_raw_backup(), a_class(shareEncryptionPass=True)))[0]

    assert location["encryptionPass"] == {"value": OWN}
    assert location["previousEncryptionPasses"] == [
        {"value": OLD},
        {"value": "the class's passphrase"},
        {"value": "the class's old passphrase"},
    ]


def test_the_runner_is_told_only_what_is_its_own() -> None:
    full = a_class(
        minSuccessfulLocations=1,
        allowedNamespaces=["db"],
        shareEncryptionPass=True,
        serviceAccountAnnotations={"a": "b"},
    )

    text = files_of(build(a_raw_backup(), full))["storageSpec.yaml"]

    lines = [line for line in text.splitlines() if line and line[0] not in " -"]
    assert lines == ["backupLocations:", "minSuccessfulLocations: 1"]


def test_a_scope_rolls_the_pod_only_by_the_secrets_that_it_mounts() -> None:
    before, after = (
        build(a_raw_backup(), a_class(credentialScope=scope)) for scope in ("Class", "Namespace")
    )

    assert template_of(before) != template_of(after)
    assert child_of(before, "Role") == child_of(after, "Role")
