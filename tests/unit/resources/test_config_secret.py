"""The config Secret, mounted as the kubelet does, is what a runner loads."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from controller.api.errors import InvalidSpec
from controller.api.passphrase import derive_passphrase
from controller.api.secrets import Secret
from controller.manifests import to_yaml
from controller.process.documents import read_documents
from controller.resources.desired import Desired
from runner import config
from tests.builders import a_class_manifest, a_location_manifest
from tests.servers.kubelet import mount
from tests.unit.resources.samples import (
    A_CLASS,
    SECRETS,
    SETTINGS,
    WITH_SECRETS,
    a_raw_backup,
    build,
    child_of,
    ref,
    template_of,
)


def files_of(built: Desired) -> dict[str, str]:
    data = child_of(built, "Secret", suffix="config").manifest["data"]
    return {name: base64.b64decode(text).decode() for name, text in data.items()}


def storage_of(built: Desired) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(files_of(built)["storageSpec.yaml"])[
        "backupLocations"
    ]
    return found


def mounted(built: Desired, folder: Path, tenant: Mapping[str, Mapping[str, str]]) -> Path:
    """The configuration's volume, as files."""
    secrets = {name: {k: v.encode() for k, v in data.items()} for name, data in tenant.items()}
    own = child_of(built, "Secret", suffix="config").manifest
    secrets[own["metadata"]["name"]] = {n: t.encode() for n, t in files_of(built).items()}
    (volume,) = [one for one in template_of(built)["spec"]["volumes"] if "projected" in one]
    mount(volume["projected"], secrets, folder)
    return folder


def test_a_runner_loads_what_is_mounted(tmp_path: Path) -> None:
    built = build(a_raw_backup(postgres=WITH_SECRETS), A_CLASS)

    loaded = config.load(mounted(built, tmp_path, {"shop-db": {"password": "open sesame"}}))

    assert loaded.warnings == ()
    assert loaded.cluster_id == SETTINGS.cluster_id
    postgres = loaded.backup.spec.postgres
    assert postgres is not None
    assert postgres.password is not None
    assert loaded.resolve(postgres.password) == Secret("open sesame")
    s3, nas = loaded.storage.backup_locations
    assert s3.storage_secret_access_key is not None
    assert loaded.resolve(s3.storage_secret_access_key) == Secret("the-secret-key")
    assert (nas.claim_name, nas.path) == ("backups", "shop")


def test_a_secret_that_comes_later_is_found_without_a_restart(tmp_path: Path) -> None:
    built = build(a_raw_backup(postgres=WITH_SECRETS), A_CLASS)
    before = config.load(mounted(built, tmp_path, {}))

    after = config.load(mounted(built, tmp_path, {"shop-db": {"password": "late"}}))

    assert before.fingerprint != after.fingerprint
    assert after.backup.spec.postgres is not None
    assert after.backup.spec.postgres.password is not None
    assert after.resolve(after.backup.spec.postgres.password) == Secret("late")


def test_the_object_is_as_its_author_wrote_it() -> None:
    """Fields that this build does not know are there for a newer runner."""
    raw = a_raw_backup(newerField={"a": 1}) | {"status": {"conditions": []}}
    raw["metadata"] |= {"managedFields": [{}], "annotations": {"last-applied": "canary"}}

    written = yaml.safe_load(files_of(build(raw, A_CLASS))["backup.yaml"])

    assert written["spec"] == raw["spec"]
    assert set(written) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(written["metadata"]) == {"name", "namespace", "uid", "generation"}


def test_a_runner_gets_its_object_s_own_passphrase_and_not_the_class_s() -> None:
    built = build(a_raw_backup(), A_CLASS)

    location = storage_of(built)[0]
    own = derive_passphrase(Secret("the class's passphrase"), namespace="db", name="shop")
    old = derive_passphrase(Secret("the class's old passphrase"), namespace="db", name="shop")
    assert location["encryptionPass"] == {"value": own.reveal()}
    assert location["previousEncryptionPasses"] == [{"value": old.reveal()}]
    assert "the class's" not in "".join(files_of(built).values())


def test_objects_of_one_class_have_different_passphrases() -> None:
    one, other = (
        storage_of(build(a_raw_backup(metadata={"name": name}), A_CLASS))[0]["encryptionPass"]
        for name in ("shop", "shop2")
    )

    assert one != other


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_text_is_an_error_with_its_path(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECRETS, "bucket/empty", text)
    location = a_location_manifest(encryptionPass=ref("bucket", "empty"))

    with pytest.raises(InvalidSpec) as refused:
        build(a_raw_backup(), a_class_manifest(backupLocations=[location]))

    assert str(refused.value) == (
        "DatabaseBackupStorageClass standard: spec.backupLocations[0].encryptionPass: "
        "the Secret's key bucket/empty is empty"
    )


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), _json, min_size=1))
@settings(max_examples=300, deadline=None)
def test_what_is_written_as_yaml_is_read_as_it_was(document: dict[str, Any]) -> None:
    assert read_documents(to_yaml(document).encode()) == [document]
