"""What of an object a reconcile sees, and which changes are none."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from controller.api.errors import DependencyMissing, InvalidSpec
from controller.api.keys import ObjectKey
from controller.api.secrets import Secret
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass
from controller.projections import (
    project_backup,
    project_child,
    project_class,
    project_secret,
    rolling_of,
    secrets_of,
)
from tests.builders import (
    a_backup_manifest,
    a_class_manifest,
    a_location_manifest,
    nested,
)

AT = "2026-11-23T10:00:00Z"


def a_raw_backup(**spec: Any) -> dict[str, Any]:
    raw = a_backup_manifest(**spec)
    raw["metadata"] |= {"uid": "1", "generation": 3, "resourceVersion": "7"}
    return raw


def a_deployment(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "a",
            "namespace": "db",
            "uid": "2",
            "generation": 2,
            "resourceVersion": "7",
            "ownerReferences": [{"kind": "DatabaseBackup", "name": "shop", "uid": "1"}],
            "managedFields": [
                {
                    "manager": "db-backup-controller",
                    "operation": "Apply",
                    "time": AT,
                    "fieldsV1": {"f:spec": {}},
                },
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}},
            ],
        },
        "spec": {"replicas": 1},
        "status": status,
    }


class TestBackups:
    @pytest.mark.parametrize("levels", [33, 255, 1000])
    def test_one_that_is_nested_deeper_than_anybody_follows_is_told(self, levels: int) -> None:
        seen = project_backup(a_raw_backup(runner={"affinity": nested(levels)}))

        assert isinstance(seen.backup, InvalidSpec)
        assert "spec.runner.affinity: is nested deeper" in str(seen.backup)
        assert seen.raw()["spec"]["backupInterval"] == 6

    def test_a_backup_is_decoded_and_its_spec_kept_as_it_was(self) -> None:
        seen = project_backup(a_raw_backup(aNewerField=1))

        assert seen.key == ObjectKey("db", "shop")
        assert isinstance(seen.backup, DatabaseBackup)
        assert seen.backup.metadata.uid == "1"
        assert seen.class_name == "standard"
        assert seen.raw()["spec"]["aNewerField"] == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"metadata": {"annotations": {"a": "b"}}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"resourceVersion": "8"}},
            {"status": {"storedBackups": 3}},
            {"status": {"conditions": [{"type": "BackupHealthy", "status": "True"}]}},
            {"status": {"nextBackupAt": AT}},
        ],
    )
    def test_what_no_reconcile_asks_for_is_no_change(self, change: dict[str, Any]) -> None:
        raw = a_raw_backup()
        other = copy.deepcopy(raw)
        for key, value in change.items():
            other[key] = other.get(key, {}) | value

        assert project_backup(raw) == project_backup(other)

    @pytest.mark.parametrize(
        "change",
        [
            {"spec": {"suspend": True}},
            {"metadata": {"deletionTimestamp": AT}},
            {"metadata": {"finalizers": ["db-backup.nect.com/finalizer"]}},
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"status": {"conditions": [{"type": "DataDeleted", "status": "False"}]}},
            {"status": {"locations": [{"name": "s3", "healthy": True}]}},
            {"status": {"lastBackup": {"id": "the first"}}},
            {
                "status": {
                    "conditions": [{"type": "BackupHealthy", "status": "True"}],
                    "nextBackupAt": AT,
                }
            },
        ],
    )
    def test_what_a_reconcile_asks_for_is_a_change(self, change: dict[str, Any]) -> None:
        raw = a_raw_backup()
        other = copy.deepcopy(raw)
        for key, value in change.items():
            other[key] = other.get(key, {}) | value

        assert project_backup(raw) != project_backup(other)

    def test_a_later_backup_is_no_change(self) -> None:
        first, later = (
            a_raw_backup() | {"status": {"lastBackup": {"id": name}}} for name in ("1", "2")
        )

        assert project_backup(first) == project_backup(later)

    def test_a_bad_spec_is_a_value_that_says_what_is_wrong(self) -> None:
        seen = project_backup(a_raw_backup(backupInterval=-1))

        assert isinstance(seen.backup, InvalidSpec)
        assert "spec.backupInterval" in str(seen.backup)

    def test_what_a_bad_object_asks_for_at_its_end_is_known(self) -> None:
        seen = project_backup(a_raw_backup(backupInterval=-1, deletionPolicy="Delete"))

        assert isinstance(seen.backup, InvalidSpec)
        assert seen.deletes_data

    @pytest.mark.parametrize("spec", [None, [], "text", {"backupStorageClass": 7}])
    def test_whatever_a_server_lets_in_is_a_value(self, spec: object) -> None:
        raw = a_raw_backup() | {"spec": spec, "status": {"conditions": "none", "locations": [1]}}

        seen = project_backup(raw)

        assert isinstance(seen.backup, InvalidSpec)
        assert seen.class_name == ""

    def test_the_go_originals_conditions_are_passed_over(self) -> None:
        conditions = [
            {"type": "db-backup.nect.com/secretExists", "status": "True"},
            {"type": "Ready", "status": "True", "reason": "all good", "lastTransitionTime": AT},
        ]
        seen = project_backup(a_raw_backup() | {"status": {"conditions": conditions, "hash": "1"}})

        assert [one.type for one in seen.status.conditions] == ["Ready"]

    def test_no_secret_is_printed(self) -> None:
        postgres = {
            "database": "shop",
            "host": "h",
            "user": "u",
            "pass": {"value": "hunter2"},
        }
        assert "hunter2" not in repr(project_backup(a_raw_backup(postgres=postgres)))


class TestClasses:
    def test_a_class_names_its_secrets(self) -> None:
        location = a_location_manifest(
            storageAccessKeyID={"fromSecret": {"name": "s3", "key": "id"}},
            encryptionPass={"fromSecret": {"name": "age", "key": "pass"}},
        )
        seen = project_class(a_class_manifest(backupLocations=[location]))

        assert isinstance(seen.storage_class, DatabaseBackupStorageClass)
        assert secrets_of(seen) == {"s3", "age"}
        assert seen.key == ObjectKey("", "standard")

    def test_a_bad_class_is_a_value_without_secrets(self) -> None:
        seen = project_class(a_class_manifest(backupLocations=[]))

        assert isinstance(seen.storage_class, InvalidSpec)
        assert secrets_of(seen) == frozenset()

    def test_what_is_its_tenants_to_have_is_not_looked_for(self) -> None:
        reference = {"fromSecret": {"name": "s3", "key": "id"}}
        location = a_location_manifest(storageAccessKeyID=reference)
        raw = a_class_manifest(backupLocations=[location], credentialScope="Namespace")

        assert secrets_of(project_class(raw)) == frozenset()

    def test_a_reference_beside_a_value_is_not_looked_for(self) -> None:
        both = {"value": "x", "fromSecret": {"name": "s3", "key": "id"}}
        raw = a_class_manifest(backupLocations=[a_location_manifest(storageAccessKeyID=both)])

        assert secrets_of(project_class(raw)) == frozenset()


class TestSecrets:
    def test_texts_are_decoded_and_not_printed(self) -> None:
        data = {"a": base64.b64encode("grün".encode()).decode(), "b": "/w==", "c": "%"}
        seen = project_secret({"metadata": {"name": "s3", "namespace": "system"}, "data": data})

        assert seen.text("a") == Secret("grün")
        for key, told in (("b", "no text"), ("c", "no text"), ("d", "has no key d")):
            with pytest.raises(DependencyMissing, match=f"Secret system/s3.*{told}"):
                seen.text(key)
        assert "grün" not in repr(seen)


class TestChildren:
    def test_a_childs_owner_is_kept(self) -> None:
        assert project_child(a_deployment()).owners == (("1", "shop"),)

    def test_a_heartbeat_is_no_change(self) -> None:
        progressing = {"type": "Progressing", "status": "True", "lastUpdateTime": AT}
        raw, other = (
            a_deployment(observedGeneration=2, conditions=[dict(progressing)]) for _ in range(2)
        )
        other["metadata"]["resourceVersion"] = "8"
        other["metadata"]["managedFields"][0]["time"] = "2026-11-23T11:00:00Z"
        other["metadata"]["managedFields"][1]["fieldsV1"] = {"f:status": {"f:replicas": {}}}
        other["status"]["conditions"][0]["lastUpdateTime"] = "2026-11-23T11:00:00Z"

        assert project_child(raw) == project_child(other)

    def test_a_lost_field_is_a_change(self) -> None:
        other = a_deployment()
        other["metadata"]["managedFields"][0]["fieldsV1"] = {}

        assert project_child(a_deployment()) != project_child(other)

    @pytest.mark.parametrize(
        ("status", "is_available", "is_complete"),
        [
            ({}, False, False),
            ({"replicas": 1, "updatedReplicas": 1, "observedGeneration": 2}, False, False),
            (
                {
                    "replicas": 1,
                    "updatedReplicas": 1,
                    "observedGeneration": 2,
                    "conditions": [{"type": "Available", "status": "True"}],
                },
                True,
                True,
            ),
            (
                {
                    "replicas": 1,
                    "updatedReplicas": 1,
                    "observedGeneration": 1,
                    "conditions": [{"type": "Available", "status": "True"}],
                },
                True,
                False,
            ),
            (
                {
                    "replicas": 1,
                    "updatedReplicas": 0,
                    "observedGeneration": 2,
                    "conditions": [{"type": "Available", "status": "True"}],
                },
                True,
                False,
            ),
        ],
    )
    def test_a_rollout_is_read_from_the_status(
        self, status: dict[str, Any], is_available: bool, is_complete: bool
    ) -> None:
        rollout = project_child(a_deployment(**status)).rollout

        assert rollout is not None
        assert (rollout.is_available, rollout.is_complete) == (is_available, is_complete)

    @pytest.mark.parametrize(
        ("observed", "progressing", "is_rolling"),
        [
            (0, {}, False),  # new
            (1, {}, True),  # changed just now
            (2, {"status": "True", "reason": "ReplicaSetUpdated"}, True),
            (2, {"status": "True", "reason": "NewReplicaSetAvailable"}, False),  # failed since
            (2, {"status": "False", "reason": "ProgressDeadlineExceeded"}, False),
        ],
    )
    def test_a_runner_that_is_being_replaced_is_seen(
        self, observed: int, progressing: dict[str, Any], is_rolling: bool
    ) -> None:
        conditions = [{"type": "Progressing"} | progressing]
        seen = project_child(a_deployment(observedGeneration=observed, conditions=conditions))

        assert seen.rollout is not None
        assert seen.rollout.is_rolling == is_rolling
        assert rolling_of(seen) == ((True,) if is_rolling else ())

    def test_why_a_pod_does_not_come_is_kept(self) -> None:
        conditions = [
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": "exceeded quota",
            },
        ]
        rollout = project_child(a_deployment(conditions=conditions)).rollout

        assert rollout is not None
        assert (rollout.reason, rollout.message) == ("FailedCreate", "exceeded quota")
