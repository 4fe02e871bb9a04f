"""What all children have in common, and what changes which of them."""

from __future__ import annotations

import base64
import re
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from controller.api import codec, v1
from controller.api.durations import parse_duration
from controller.api.errors import DependencyMissing, InvalidSpec, UnknownEngine
from controller.api.names import child_name
from controller.api.secrets import secret_values
from controller.resources.desired import Desired
from tests import strategies
from tests.builders import a_class_manifest, a_location_manifest
from tests.unit.resources.samples import (
    A_CLASS,
    ALLOWING,
    SETTINGS,
    UID,
    WITH_SECRETS,
    a_raw_backup,
    build,
    child_of,
    ref,
    template_of,
)

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
ORDER = [
    "Secret",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "Lease",
    "NetworkPolicy",
    "Deployment",
]


def test_the_secrets_among_the_children_cannot_be_referred_to() -> None:
    built = build(a_raw_backup(), A_CLASS, attrs.evolve(SETTINGS, pull_secret="registry"))
    names = [
        one.manifest["metadata"]["name"] for one in built.children if one.resource.kind == "Secret"
    ]

    assert len(names) == 2
    for name in names:
        with pytest.raises(InvalidSpec, match="makes for one runner alone"):
            build(a_raw_backup(postgres=WITH_SECRETS | {"pass": ref(name, "x")}), A_CLASS)


def a_raw(backup: v1.DatabaseBackup) -> dict[str, Any]:
    raw = codec.encode(backup, reveal_secrets=True)
    raw["metadata"]["uid"] = UID
    return raw


def manifests(built: Desired) -> list[dict[str, Any]]:
    return [child.manifest for child in built.children]


@given(backup=strategies.backups)
@settings(deadline=None)
def test_children_have_valid_names_labels_and_one_owner(backup: v1.DatabaseBackup) -> None:
    built = build(a_raw(backup), a_class_manifest(runner=ALLOWING))

    namespace, name = backup.metadata.namespace, backup.metadata.name
    assert built.name == child_name(namespace, name)
    assert [one["kind"] for one in manifests(built)] == ORDER
    for manifest in manifests(built):
        metadata = manifest["metadata"]
        assert NAME.fullmatch(metadata["name"])
        assert metadata["namespace"] == namespace
        assert all(LABEL.fullmatch(value) for value in metadata["labels"].values())
        assert metadata["ownerReferences"] == [
            {
                "apiVersion": "backup.nect.com/v1",
                "kind": "DatabaseBackup",
                "name": name,
                "uid": UID,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    assert {one["metadata"]["name"] for one in manifests(built)[1:]} == {built.name}


@given(backup=strategies.backups)
@settings(deadline=None)
def test_the_same_values_give_the_same_manifests(backup: v1.DatabaseBackup) -> None:
    raw = a_raw(backup)
    again = dict(reversed(raw.items())) | {"spec": dict(reversed(raw["spec"].items()))}

    one, other = build(raw, A_CLASS), build(again, A_CLASS)

    # The configuration keeps the order of the object as it was written.
    assert manifests(one)[1:] == manifests(other)[1:]
    assert build(raw, A_CLASS) == one


#: A change of the object -> nothing of it is in the pod template.
_changes = st.fixed_dictionaries(
    {},
    optional={
        "backupInterval": st.integers(1, 100),
        "backupCron": st.sampled_from(["0 3 * * *", "@daily"]),
        "timeZone": st.sampled_from(["UTC", "Europe/Berlin"]),
        "suspend": st.booleans(),
        "jitterSeconds": st.integers(0, 100),
        "timeout": st.sampled_from(["1h", "7d"]),
        "retention": st.fixed_dictionaries({"keepLast": st.integers(1, 9)}),
        "compression": st.fixed_dictionaries({"level": st.integers(1, 19)}),
        "verification": st.just({"every": "7d"}),
    },
)


@given(
    change=_changes,
    labels=st.dictionaries(strategies.words, strategies.words),
    annotations=st.dictionaries(strategies.words, strategies.words),
    generation=st.integers(1, 100),
    storage=strategies.storage_class_specs().filter(
        lambda spec: not any(value.from_secret for value in secret_values(spec))
    ),
)
@settings(deadline=None)
def test_schedule_retention_storage_and_labels_never_change_the_deployment(
    change: dict[str, Any],
    labels: dict[str, str],
    annotations: dict[str, str],
    generation: int,
    storage: v1.StorageClassSpec,
) -> None:
    metadata = {"labels": labels, "annotations": annotations, "generation": generation}
    # Passphrases are stretched for 0.2 s each: that they do not matter is said below.
    locations = [
        attrs.evolve(one, encryption_pass=None, previous_encryption_passes=())
        for one in storage.backup_locations
    ]
    raw_class = a_class_manifest(
        backupLocations=[codec.encode(one, reveal_secrets=True) for one in locations]
    )

    before = build(a_raw_backup(), a_class_manifest())
    after = build(a_raw_backup(metadata=metadata, **change), raw_class)

    assert child_of(after, "Deployment") == child_of(before, "Deployment")


def test_another_passphrase_changes_the_configuration_alone() -> None:
    def with_pass(text: str) -> dict[str, Any]:
        location = a_location_manifest(encryptionPass={"value": text})
        return a_class_manifest(backupLocations=[location])

    before, after = (build(a_raw_backup(), with_pass(text)) for text in ("one", "two"))

    assert manifests(before)[0] != manifests(after)[0]
    assert manifests(before)[1:] == manifests(after)[1:]


def test_labels_and_annotations_of_the_object_change_nothing_at_all() -> None:
    metadata = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "resourceVersion": "7"}

    assert build(a_raw_backup(metadata=metadata), A_CLASS) == build(a_raw_backup(), A_CLASS)


@given(backup=strategies.backups)
@settings(deadline=None)
def test_what_the_object_refers_to_is_mounted_and_nothing_else(backup: v1.DatabaseBackup) -> None:
    built = build(a_raw(backup), A_CLASS)

    (config,) = [
        volume["projected"]
        for volume in template_of(built)["spec"]["volumes"]
        if "projected" in volume
    ]
    own, *tenants = [source["secret"] for source in config["sources"]]
    assert own == {"name": child_of(built, "Secret").manifest["metadata"]["name"]}
    assert all(secret["optional"] for secret in tenants)
    mounted = [
        (item["path"], f"{secret['name']}/{item['key']}")
        for secret in tenants
        for item in secret["items"]
    ]
    wanted = {str(one.from_secret) for one in secret_values(backup.spec) if one.from_secret}
    assert sorted(mounted) == sorted((f"secrets/{one}", one) for one in wanted)
    assert config["defaultMode"] == 0o440


def test_the_pod_is_one_that_the_restricted_standard_takes() -> None:
    spec = template_of(build(a_raw_backup(), A_CLASS))["spec"]

    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0


def test_a_job_has_its_grace_before_the_pod_is_killed() -> None:
    spec = template_of(build(a_raw_backup(), A_CLASS))["spec"]

    env = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    grace = parse_duration(env["SHUTDOWN_GRACE"]).total_seconds()
    # What a job that has to end takes back, and the last report.
    assert spec["terminationGracePeriodSeconds"] >= grace + 60


def test_an_engine_that_there_is_not_ends_it() -> None:
    raw = a_raw_backup(databaseType="oracle", postgres=None)

    with pytest.raises(UnknownEngine, match="oracle"):
        build(raw, A_CLASS)


def test_a_version_that_the_engine_does_not_know_ends_it() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.databaseVersion: must be a major of"):
        build(a_raw_backup(databaseVersion="9.6"), A_CLASS)


def test_a_secret_of_the_class_that_is_not_there_is_waited_for() -> None:
    location = a_location_manifest(caBundle=ref("ca", "ca.crt"), storageUseSSL=True)

    with pytest.raises(DependencyMissing, match=r"ca/ca\.crt"):
        build(a_raw_backup(), a_class_manifest(backupLocations=[location]))


def test_an_engine_never_sees_a_secret_of_the_object() -> None:
    """They are the tenant's: nothing asks for them here, and no manifest but the config has one."""
    inline = WITH_SECRETS | {"pass": {"value": "canary-password"}}

    built = build(a_raw_backup(postgres=inline), A_CLASS)

    assert "canary-password" not in str(manifests(built)[1:])


def test_a_pull_secret_is_a_child_and_is_used() -> None:
    settings_ = attrs.evolve(SETTINGS, pull_secret="registry")

    built = build(a_raw_backup(), A_CLASS, settings_)

    kinds = [one["kind"] for one in manifests(built)]
    assert kinds == ["Secret", *ORDER]
    secret = manifests(built)[1]
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert base64.b64decode(secret["data"][".dockerconfigjson"]) == b'{"auths": {}}'
    used = template_of(built)["spec"]["imagePullSecrets"]
    assert used == [{"name": secret["metadata"]["name"]}]


def test_a_pull_secret_that_is_missing_is_told_as_the_installation_s() -> None:
    settings_ = attrs.evolve(SETTINGS, pull_secret="nowhere")

    with pytest.raises(DependencyMissing, match=r"registry of all runners: .*nowhere"):
        build(a_raw_backup(), A_CLASS, settings_)
