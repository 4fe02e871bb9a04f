"""Manifests to values and back: the Go original's meaning, round trips, unknown fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from attrs import Factory, field, frozen, validators
from hypothesis import given

from controller.api import codec, v1
from controller.api.conditions import ConditionStatus
from controller.api.errors import InvalidSpec
from controller.api.secrets import Secret, SecretRef, SecretValue
from tests import strategies
from tests.builders import a_backup, a_backup_manifest, a_location_manifest, a_postgres

GO_POSTGRES = """
apiVersion: backup.nect.com/v1
kind: DatabaseBackup
metadata:
  name: shop
  namespace: team-a
  uid: 9c3e
  generation: 4
  resourceVersion: "81"
  finalizers: [db-backup.nect.com/finalizer]
spec:
  databaseType: postgres
  databaseVersion: "15"
  backupStorageClass: default
  backupInterval: 2
  retentionConfig:
    "%Y-%m": 32140800000000000
    "%Y-w%V": 2678400000000000
  postgres:
    database: shop
    host: shop-db.team-a.svc
    port: 5432
    user: backup
    pass:
      fromSecret: {name: shop-db, key: password}
status:
  hash: sha256:ab
  conditions:
    - type: Ready
      status: "True"
      reason: runnerReady
      message: ""
      lastTransitionTime: "2024-08-01T10:00:00Z"
    - type: db-backup.nect.com/secretExists
      status: "True"
      reason: ensureSecret
      lastTransitionTime: null
"""

GO_COCKROACH = """
metadata: {name: events, namespace: team-b}
spec:
  databaseType: cockroach
  backupStorageClass: default
  backupCron: "15 3 * * *"
  backupInterval: 4
  useSingleBackupTarget: true
  cockroach:
    database: events
    host: crdb-public
    port: 26257
    user: root
    cert: {fromSecret: {name: crdb-client, key: tls.crt}}
    certKey: {fromSecret: {name: crdb-client, key: tls.key}}
    certCA: {value: "-----BEGIN CERTIFICATE-----"}
    certCAFromCluster: true
"""

GO_MYSQL = """
metadata: {name: blog, namespace: team-c}
spec:
  databaseType: mysql
  backupStorageClass: default
  backupInterval: 24
  mysql:
    database: wordpress
    host: mysql
    port: 3306
    user: {value: root}
    pass: {value: winner, fromSecret: {name: ignored, key: ignored}}
"""

GO_CLASS = """
apiVersion: backup.nect.com/v1
kind: DatabaseBackupStorageClass
metadata: {name: default}
spec:
  backupLocations:
    - storageType: s3
      storageEndpoint: s3.eu-central-1.amazonaws.com
      storageAccessKeyID: {fromSecret: {name: s3, key: id}}
      storageSecretAccessKey: {fromSecret: {name: s3, key: secret}}
      storageBucket: backups
      storageLocation: eu-central-1
      storageUseSSL: true
      storageInsecureSkipVerify: false
      encryptionPass: {value: "", fromSecret: {name: s3, key: pass}}
"""


def ref(name: str, key: str) -> SecretValue:
    return SecretValue(from_secret=SecretRef(name=name, key=key))


def test_postgres_manifest_of_the_go_original_means_the_same() -> None:
    backup = codec.decode(v1.DatabaseBackup, yaml.safe_load(GO_POSTGRES))

    assert v1.ObjectMeta(name="shop", namespace="team-a", uid="9c3e", generation=4) == (
        backup.metadata
    )
    assert (
        v1.DatabaseBackupSpec(
            database_type="postgres",
            database_version="15",
            backup_storage_class="default",
            backup_interval_hours=2,
            retention_config={
                "%Y-%m": timedelta(days=12 * 31),
                "%Y-w%V": timedelta(days=31),
            },
            postgres=v1.PostgresSpec(
                database="shop",
                host="shop-db.team-a.svc",
                port=5432,
                user="backup",
                password=ref("shop-db", "password"),
            ),
        )
        == backup.spec
    )
    assert backup.status.hash == "sha256:ab"
    assert [c.reason for c in backup.status.conditions] == ["runnerReady", "ensureSecret"]
    assert ConditionStatus.TRUE is backup.status.conditions[0].status
    assert list(codec.unknown_fields(v1.DatabaseBackup, yaml.safe_load(GO_POSTGRES))) == []


def test_cockroach_manifest_of_the_go_original_means_the_same() -> None:
    spec = codec.decode(v1.DatabaseBackup, yaml.safe_load(GO_COCKROACH)).spec

    assert spec.backup_cron == "15 3 * * *"
    assert spec.backup_interval_hours == 4
    assert spec.use_single_backup_target
    assert (
        v1.CockroachSpec(
            database="events",
            host="crdb-public",
            user="root",
            cert=ref("crdb-client", "tls.crt"),
            cert_key=ref("crdb-client", "tls.key"),
            cert_ca=SecretValue(value=Secret("-----BEGIN CERTIFICATE-----")),
            cert_ca_from_cluster=True,
        )
        == spec.cockroach
    )


def test_mysql_manifest_of_the_go_original_means_the_same_and_the_value_wins() -> None:
    spec = codec.decode(v1.DatabaseBackup, yaml.safe_load(GO_MYSQL)).spec

    assert spec.mysql is not None
    assert spec.mysql.password is not None
    assert Secret("root") == spec.mysql.user.value
    assert Secret("winner") == spec.mysql.password.value


def test_class_manifest_of_the_go_original_means_the_same() -> None:
    storage_class = codec.decode(v1.DatabaseBackupStorageClass, yaml.safe_load(GO_CLASS))

    assert (
        v1.BackupLocation(
            storage_type=v1.StorageType.S3,
            storage_endpoint="s3.eu-central-1.amazonaws.com",
            storage_access_key_id=ref("s3", "id"),
            storage_secret_access_key=ref("s3", "secret"),
            storage_bucket="backups",
            storage_location="eu-central-1",
            storage_use_ssl=True,
            encryption_pass=ref("s3", "pass"),
        ),
    ) == storage_class.spec.backup_locations


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (604_800_000_000_000, timedelta(days=7)),
        ("7d", timedelta(days=7)),
        ("36h", timedelta(hours=36)),
        ("8928h0m0s", timedelta(days=372)),
        ("2w", timedelta(days=14)),
        (0, timedelta(0)),
    ],
)
def test_retention_config_takes_nanoseconds_and_durations(written: Any, meant: timedelta) -> None:
    spec = codec.decode(v1.DatabaseBackup, a_backup_manifest(retentionConfig={"%Y": written})).spec

    assert {"%Y": meant} == spec.retention_config


def test_null_is_absent_and_defaults_are_those_of_the_documentation() -> None:
    spec = codec.decode(
        v1.DatabaseBackup, a_backup_manifest() | {"status": None, "spec": _spec_of_nulls()}
    ).spec

    assert timedelta(hours=24) == spec.timeout
    assert timedelta(minutes=10) == spec.stall_timeout
    assert spec.starting_deadline_seconds == 86400
    assert spec.runner.parallelism == 1
    assert spec.compression.level == 1
    assert spec.time_zone == "UTC"
    assert (
        spec.jitter_seconds,
        spec.suspend,
        spec.retention,
        spec.retention_config,
    ) == (0, False, None, None)
    assert v1.Retention(keep_last=1).minimum_keep == 3


def _spec_of_nulls() -> dict[str, Any]:
    optional = "timeout stallTimeout startingDeadlineSeconds runner compression timeZone retention"
    return a_backup_manifest()["spec"] | dict.fromkeys(optional.split())


@pytest.mark.parametrize("key", ["%Y", "a.b", 'quote"', "new\nline"])
def test_read_only_mappings_refuse_a_write(key: str) -> None:
    backup = a_backup(retention_config={"%Y": timedelta(days=1)})

    with pytest.raises(TypeError):
        backup.spec.retention_config[key] = timedelta(0)


@given(strategies.backups)
def test_backup_survives_the_way_out_and_in(backup: v1.DatabaseBackup) -> None:
    wire = codec.encode(backup, reveal_secrets=True)

    assert backup == codec.decode(v1.DatabaseBackup, wire)
    assert list(codec.unknown_fields(v1.DatabaseBackup, wire)) == []


@given(strategies.storage_class_specs())
def test_class_survives_the_way_out_and_in(spec: v1.StorageClassSpec) -> None:
    wire = codec.encode(spec, reveal_secrets=True)

    assert spec == codec.decode(v1.StorageClassSpec, wire)


def test_encoding_leaves_defaults_out_and_hides_secrets() -> None:
    backup = a_backup(postgres=a_postgres(password=SecretValue(value=Secret("canary"))))

    assert codec.encode(backup) == {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackup",
        "metadata": {"name": "shop", "namespace": "db"},
        "spec": {
            "databaseType": "postgres",
            "backupStorageClass": "standard",
            "backupInterval": 6,
            "postgres": {
                "database": "shop",
                "host": "shop-db",
                "user": "backup",
                "pass": {"value": "<redacted>"},
            },
        },
    }
    assert (
        (codec.encode(backup, reveal_secrets=True)["spec"]["postgres"]["pass"]["value"]) == "canary"
    )


def test_default_name_of_a_location_depends_on_its_place_alone() -> None:
    first = a_location_manifest()
    second = a_location_manifest(storageBucket="other", storagePrefix="/cluster-1/")

    names = _names([first, second])

    # Names are kept in statuses and typed by people: they never change.
    assert names == ["backups-955d236f", "other-94c076d7"]
    assert names[::-1] == _names([second, first])
    assert names == _names(
        [first | {"storageAccessKeyID": {"value": "rotated"}, "storageUseSSL": True}, second]
    )
    assert names[1:] == _names([second | {"storagePrefix": "cluster-1"}])


def _names(locations: list[dict[str, Any]]) -> list[str]:
    spec = codec.decode(v1.StorageClassSpec, {"backupLocations": locations})
    return [location.name for location in spec.backup_locations]


def test_unknown_fields_are_named_with_what_may_have_been_meant() -> None:
    manifest = a_backup_manifest(backupIntervall=3, retention={"keepLast": 1, "keepdaily": 7})
    manifest["spec"]["postgres"]["passwrd"] = {"value": "canary"}
    manifest["extra.key"] = 1

    found = list(map(str, codec.unknown_fields(v1.DatabaseBackup, manifest)))

    assert {
        "spec.backupIntervall: unknown field, ignored; did you mean backupInterval?",
        "spec.retention.keepdaily: unknown field, ignored; did you mean keepDaily?",
        "spec.postgres.passwrd: unknown field, ignored; did you mean pass?",
        '["extra.key"]: unknown field, ignored',
    } == set(found)
    assert manifest["spec"]["postgres"] != {}
    codec.decode(v1.DatabaseBackup, manifest)


def test_unknown_fields_are_found_in_lists_and_the_search_bears_any_type() -> None:
    spec = {"backupLocations": [a_location_manifest(), a_location_manifest(bucket=1), "x", None]}

    assert [
        problem.path for problem in codec.unknown_fields(v1.StorageClassSpec, spec, path="spec")
    ] == ["spec.backupLocations[1].bucket"]
    for raw in (None, 1, [], {1: 2}, {"backupLocations": 3}):
        list(codec.unknown_fields(v1.StorageClassSpec, raw))


def test_times_are_utc_and_need_an_offset() -> None:
    status = codec.decode(
        v1.DatabaseBackupStatus, {"nextBackupAt": "2024-07-01T10:00:00.250+02:00"}
    )

    assert datetime(2024, 7, 1, 8, 0, 0, 250_000, UTC) == status.next_backup_at
    assert codec.encode(status) == {"nextBackupAt": "2024-07-01T08:00:00.250000Z"}


@frozen(kw_only=True)
class Elsewhere:
    """A type of another package, with attrs' own validators, which quote the value."""

    ratio: float = 0.0
    name: str = field(default="", validator=validators.max_len(4))
    counts: Mapping[str, int] = Factory(dict)

    def __attrs_post_init__(self) -> None:
        if self.ratio < 0:
            raise ValueError(f"canary {self.ratio}")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"name": "canary"}, "name: is not valid"),
        ({"ratio": "1"}, "ratio: must be a number"),
        ({"ratio": -1}, "is not valid"),
        ({"counts": {"a": "canary"}}, "counts.a: must be an integer"),
        ({"counts": {1: 1}}, 'counts["1"]: must be a string; put it in quotes'),
    ],
)
def test_types_of_other_packages_decode_without_quoting_values(raw: Any, message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(Elsewhere, raw)

    assert message == str(refused.value)
    assert Elsewhere(ratio=2.0, counts={"a": 1}) == codec.decode(
        Elsewhere, {"ratio": 2, "counts": {"a": 1}}
    )
