"""Every field with a wrong type, range or combination: what is said, and where.

Each case is one change to a valid manifest and the one problem it makes.
"""

from __future__ import annotations

from typing import Any

import pytest

from controller.api import codec, v1
from controller.api.errors import InvalidSpec
from tests.builders import a_backup_manifest

TEXT = "must be a string; put it in quotes"
BOOL = "must be true or false"
INT = "must be an integer"
OBJECT = "must be an object"
SECRET_OBJECT = "must be an object: the text as value, or name and key of a Secret as fromSecret"
DURATION = 'must be a duration such as "7d", "36h" or "1h30m"'
REQUIRED = "is required"
SECRET = "needs value or fromSecret"
CONTROL = "must be text of 1 to 253 characters without control characters"
DATABASE = "must be 1 to 63 characters without control characters"
DNS_NAME = "must be a DNS name: a-z, 0-9, - and ., each part of 1 to 63 characters"
DNS_LABEL = "must be a DNS label: up to 63 of a-z, 0-9 and -, not - at an end"
ZONE = 'must be a name of the IANA database, such as "Europe/Berlin"'
FORMAT = "must be a strftime format of 1 to 64 characters"
CRON_FIELDS = "must have 5 fields: minute hour day-of-month month day-of-week"
TOO_LONG = "must have at most 253 characters"


PG = {"database": "shop", "host": "shop-db", "user": "backup"}
REF = {"fromSecret": {"name": "s", "key": "k"}}


def pg(**fields: Any) -> dict[str, Any]:
    return {"postgres": {k: v for k, v in (PG | fields).items() if v is not None}}


# changed fields of the spec, path below spec, message
BACKUP_CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"databaseType": None}, "databaseType", REQUIRED),
    ({"databaseType": 5}, "databaseType", TEXT),
    ({"databaseType": "Post gres", "postgres": None}, "databaseType", DNS_LABEL),
    ({"backupStorageClass": None}, "backupStorageClass", REQUIRED),
    ({"backupStorageClass": ""}, "backupStorageClass", DNS_NAME),
    ({"backupStorageClass": "../x"}, "backupStorageClass", DNS_NAME),
    ({"backupStorageClass": "a" * 300}, "backupStorageClass", TOO_LONG),
    ({"databaseVersion": 16}, "databaseVersion", TEXT),
    ({"databaseVersion": 16.4}, "databaseVersion", TEXT),
    ({"databaseVersion": "16;rm"}, "databaseVersion", "must be a version such as 16 or 16.4"),
    ({"backupInterval": 0}, "backupInterval", "must be >= 1"),
    ({"backupInterval": -2}, "backupInterval", "must be >= 1"),
    ({"backupInterval": 87_601}, "backupInterval", "must be <= 87600"),
    ({"backupInterval": "6"}, "backupInterval", INT),
    ({"backupInterval": 6.0}, "backupInterval", INT),
    ({"backupInterval": True}, "backupInterval", INT),
    (
        {"backupInterval": None},
        "backupCron",
        "is required, or backupInterval, unless suspend is true",
    ),
    ({"backupCron": 5}, "backupCron", TEXT),
    ({"backupCron": "0 3 * *"}, "backupCron", CRON_FIELDS),
    ({"backupCron": "0 0 3 * * *"}, "backupCron", CRON_FIELDS),
    ({"backupCron": "61 * * * *"}, "backupCron", "is not a cron expression: Bad minute"),
    ({"backupCron": "0 25 * * *"}, "backupCron", "is not a cron expression: Bad hour"),
    ({"backupCron": "0 0 30 2 *"}, "backupCron", "is not a cron expression: Bad day-of-month"),
    ({"backupCron": "0 0 29 2 *\n"}, "backupCron", CONTROL),
    ({"timeZone": 1}, "timeZone", TEXT),
    ({"timeZone": "Europe/Atlantis"}, "timeZone", ZONE),
    ({"timeZone": "../../etc/passwd"}, "timeZone", ZONE),
    ({"timeZone": "/etc/localtime"}, "timeZone", ZONE),
    ({"timeZone": ""}, "timeZone", ZONE),
    ({"timeZone": "x" * 5000}, "timeZone", ZONE),
    ({"jitterSeconds": -1}, "jitterSeconds", "must be >= 0"),
    ({"jitterSeconds": 86_401}, "jitterSeconds", "must be <= 86400"),
    ({"jitterSeconds": "5m"}, "jitterSeconds", INT),
    ({"suspend": "false"}, "suspend", BOOL),
    ({"suspend": 0}, "suspend", BOOL),
    ({"startingDeadlineSeconds": -1}, "startingDeadlineSeconds", "must be >= 0"),
    ({"startingDeadlineSeconds": 31_622_401}, "startingDeadlineSeconds", "must be <= 31622400"),
    ({"startingDeadlineSeconds": "1h"}, "startingDeadlineSeconds", INT),
    ({"timeout": 3600}, "timeout", DURATION),
    ({"timeout": "3600"}, "timeout", DURATION),
    ({"timeout": "1 h"}, "timeout", DURATION),
    ({"timeout": "-1h"}, "timeout", DURATION),
    ({"timeout": ""}, "timeout", DURATION),
    ({"timeout": "0"}, "timeout", "must be >= 1s"),
    ({"timeout": "999ms"}, "timeout", "must be >= 1s"),
    ({"timeout": "367d"}, "timeout", "must be <= 8784h"),
    ({"timeout": "9" * 19 + "w"}, "timeout", "must lie between 0 and 292 years"),
    ({"timeout": "1h" * 40}, "timeout", DURATION),
    ({"stallTimeout": 600}, "stallTimeout", DURATION),
    ({"stallTimeout": "10"}, "stallTimeout", DURATION),
    ({"stallTimeout": "14s"}, "stallTimeout", "must be >= 15s"),
    ({"retention": []}, "retention", OBJECT),
    (
        {"retention": {}},
        "retention",
        "needs at least one of keepWithin, keepLast, keepHourly ... keepYearly",
    ),
    (
        {"retention": {"minimumKeep": 2}},
        "retention",
        "needs at least one of keepWithin, keepLast, keepHourly ... keepYearly",
    ),
    ({"retention": {"keepWithin": "30s"}}, "retention.keepWithin", "must be >= 1m"),
    ({"retention": {"keepWithin": 7}}, "retention.keepWithin", DURATION),
    ({"retention": {"keepWithin": "7 days"}}, "retention.keepWithin", DURATION),
    *[
        ({"retention": {field: value}}, f"retention.{field}", message)
        for field in (
            "keepLast",
            "keepHourly",
            "keepDaily",
            "keepWeekly",
            "keepMonthly",
            "keepYearly",
        )
        for value, message in ((0, "must be >= 1"), (100_001, "must be <= 100000"), ("7", INT))
    ],
    ({"retention": {"keepLast": 1, "minimumKeep": 0}}, "retention.minimumKeep", "must be >= 1"),
    ({"retention": {"keepLast": 1, "minimumKeep": "3"}}, "retention.minimumKeep", INT),
    (
        {"retention": {"keepLast": 1}, "retentionConfig": {"%Y": "7d"}},
        "retention",
        "cannot be combined with retentionConfig: remove one",
    ),
    (
        {"retention": {"keepLast": 1}, "useSingleBackupTarget": True},
        "retention",
        "cannot be combined with useSingleBackupTarget, which keeps the newest",
    ),
    ({"retentionConfig": []}, "retentionConfig", OBJECT),
    ({"retentionConfig": {}}, "retentionConfig", "must have 1 to 32 entries"),
    (
        {"retentionConfig": {f"%Y{n}": 1 for n in range(33)}},
        "retentionConfig",
        "must have 1 to 32 entries",
    ),
    ({"retentionConfig": {"%Y": "a year"}}, 'retentionConfig["%Y"]', DURATION),
    ({"retentionConfig": {"%Y": 1.5}}, 'retentionConfig["%Y"]', DURATION),
    ({"retentionConfig": {"%Y": True}}, 'retentionConfig["%Y"]', DURATION),
    ({"retentionConfig": {"%Y": None}}, 'retentionConfig["%Y"]', DURATION),
    (
        {"retentionConfig": {"%Y": -1}},
        'retentionConfig["%Y"]',
        "must lie between 0 and 292 years",
    ),
    (
        {"retentionConfig": {"%Y": 2**63}},
        'retentionConfig["%Y"]',
        "must lie between 0 and 292 years",
    ),
    (
        {"retentionConfig": {"%Y": "15251w"}},
        'retentionConfig["%Y"]',
        "must lie between 0 and 292 years",
    ),
    ({"retentionConfig": {"%Q": 1}}, 'retentionConfig["%Q"]', FORMAT),
    ({"retentionConfig": {"50%": 1}}, 'retentionConfig["50%"]', FORMAT),
    ({"retentionConfig": {"": 1}}, 'retentionConfig[""]', FORMAT),
    ({"useSingleBackupTarget": "yes"}, "useSingleBackupTarget", BOOL),
    ({"compression": 3}, "compression", OBJECT),
    ({"compression": {"level": 0}}, "compression.level", "must be >= 1"),
    ({"compression": {"level": 20}}, "compression.level", "must be <= 19"),
    ({"compression": {"level": "fast"}}, "compression.level", INT),
    ({"verification": {}}, "verification.every", REQUIRED),
    ({"verification": {"every": 7}}, "verification.every", DURATION),
    ({"verification": {"every": "5s"}}, "verification.every", "must be >= 1m"),
    ({"verification": {"every": "400d"}}, "verification.every", "must be <= 8784h"),
    ({"runner": {"parallelism": 0}}, "runner.parallelism", "must be >= 1"),
    ({"runner": {"parallelism": 33}}, "runner.parallelism", "must be <= 32"),
    ({"runner": {"parallelism": "2"}}, "runner.parallelism", INT),
    ({"runner": "fast"}, "runner", OBJECT),
    # engines
    ({"postgres": None}, "postgres", "is required for databaseType postgres"),
    ({"postgres": "shop"}, "postgres", OBJECT),
    (pg(database=None), "postgres.database", REQUIRED),
    (pg(database=""), "postgres.database", DATABASE),
    (pg(database="a\0b"), "postgres.database", DATABASE),
    (pg(database="x" * 64), "postgres.database", DATABASE),
    (pg(database=["a", "b"]), "postgres.database", TEXT),
    (pg(host=None), "postgres.host", REQUIRED),
    (pg(host=""), "postgres.host", CONTROL),
    (pg(host="a\nb"), "postgres.host", CONTROL),
    (pg(host=127.1), "postgres.host", TEXT),
    (pg(user=None), "postgres.user", REQUIRED),
    (pg(user={"value": "u"}), "postgres.user", TEXT),
    (pg(port=0), "postgres.port", "must be >= 1"),
    (pg(port=65_536), "postgres.port", "must be <= 65535"),
    (pg(port="5432"), "postgres.port", INT),
    (pg(**{"pass": "canary-secret"}), "postgres.pass", SECRET_OBJECT),
    (pg(**{"pass": {}}), "postgres.pass", SECRET),
    (pg(**{"pass": {"value": None}}), "postgres.pass", SECRET),
    (pg(**{"pass": {"value": 123}}), "postgres.pass.value", TEXT),
    (pg(**{"pass": {"value": ["canary-secret"]}}), "postgres.pass.value", TEXT),
    (pg(**{"pass": {"fromSecret": "a/b"}}), "postgres.pass.fromSecret", OBJECT),
    (pg(**{"pass": {"fromSecret": {"name": "a"}}}), "postgres.pass.fromSecret.key", REQUIRED),
    (pg(**{"pass": {"fromSecret": {"key": "a"}}}), "postgres.pass.fromSecret.name", REQUIRED),
    (
        pg(**{"pass": {"fromSecret": {"name": "..", "key": "k"}}}),
        "postgres.pass.fromSecret.name",
        DNS_NAME,
    ),
    (
        pg(**{"pass": {"fromSecret": {"name": "s", "key": "../k"}}}),
        "postgres.pass.fromSecret.key",
        "must be a Secret's key: letters, digits, -, _ and .",
    ),
    (
        pg(**{"pass": {"fromSecret": {"name": "s", "key": ".."}}}),
        "postgres.pass.fromSecret.key",
        "must be a Secret's key: letters, digits, -, _ and .",
    ),
    (
        pg(sslMode="verify"),
        "postgres.sslMode",
        "must be one of disable, allow, prefer, require, verify-ca, verify-full",
    ),
    (
        pg(sslMode=True),
        "postgres.sslMode",
        "must be one of disable, allow, prefer, require, verify-ca, verify-full",
    ),
    (pg(sslCert=REF), "postgres.sslKey", "goes together with sslCert: give both or neither"),
    (pg(sslKey=REF), "postgres.sslKey", "goes together with sslCert: give both or neither"),
    (
        pg(sslMode="disable", sslRootCert=REF),
        "postgres.sslRootCert",
        "has no effect with sslMode disable: remove it",
    ),
    (
        {"mysql": {"database": "a", "host": "b", "user": REF}},
        "mysql",
        "does not belong to databaseType postgres: remove it",
    ),
    ({"databaseType": "mysql", "postgres": None}, "mysql", "is required for databaseType mysql"),
    (
        {"databaseType": "cockroach"},
        None,
        (
            "spec.cockroach: is required for databaseType cockroach\n"
            "spec.postgres: does not belong to databaseType cockroach: remove it"
        ),
    ),
    ({"databaseType": "mysql", "postgres": None, "mysql": {}}, None, None),
    (
        {
            "databaseType": "mysql",
            "postgres": None,
            "mysql": {"database": "a", "host": "b", "user": "root"},
        },
        "mysql.user",
        SECRET_OBJECT,
    ),
    *(
        (
            {
                "databaseType": family,
                "postgres": None,
                family: {"database": "a", "host": "b", "user": REF, **fields},
            },
            f"{family}.{name}",
            message,
        )
        for family in ("mysql", "mariadb")
        for fields, name, message in (
            ({"sslKey": REF}, "sslKey", "goes together with sslCert: give both or neither"),
            (
                {"sslMode": "disabled", "sslCA": REF},
                "sslCA",
                "has no effect with sslMode disabled: remove it",
            ),
            (
                {"sslMode": "REQUIRED"},
                "sslMode",
                "must be one of disabled, preferred, required, "
                + ("verify-ca, " if family == "mysql" else "")
                + "verify-identity",
            ),
            (
                {"database": "a" * 65},
                "database",
                "must be 1 to 64 characters without control characters",
            ),
        )
    ),
    (
        {
            "databaseType": "cockroach",
            "postgres": None,
            "cockroach": {"database": "a", "host": "b", "certCAFromCluster": "true"},
        },
        "cockroach.certCAFromCluster",
        BOOL,
    ),
]


@pytest.mark.parametrize(("change", "path", "message"), BACKUP_CASES)
def test_backup_is_refused(change: dict[str, Any], path: str | None, message: str | None) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.DatabaseBackup, a_backup_manifest(**change))

    expected = f"spec.{path}: {message}" if path is not None else message
    if expected is not None:
        assert expected == str(refused.value)
    assert "canary-secret" not in str(refused.value)


OBJECT_CASES: list[tuple[dict[str, Any], str]] = [
    ({"apiVersion": "v1"}, "apiVersion: must be backup.nect.com/v1"),
    ({"kind": "Pod"}, "kind: must be DatabaseBackup"),
    ({"kind": ["Pod"]}, "kind: must be DatabaseBackup"),
    ({"metadata": None}, "metadata: is required"),
    ({"metadata": {"name": "a"}}, "metadata.namespace: is required"),
    ({"metadata": {"namespace": "a"}}, "metadata.name: is required"),
    ({"metadata": {"name": "../a", "namespace": "b"}}, f"metadata.name: {DNS_NAME}"),
    ({"metadata": {"name": "a", "namespace": "b/c"}}, f"metadata.namespace: {DNS_LABEL}"),
    (
        {"metadata": {"name": "a", "namespace": "b", "labels": {"x": 1}}},
        f"metadata.labels.x: {TEXT}",
    ),
    ({"spec": None}, "spec: is required"),
    ({"spec": "x"}, "spec: must be an object"),
    ({"status": {"storedBackups": "1"}}, "status.storedBackups: must be an integer"),
    (
        {"status": {"nextBackupAt": "2024-01-01T00:00:00"}},
        "status.nextBackupAt: must be a time with an offset, such as 2006-01-02T15:04:05Z",
    ),
    (
        {"status": {"nextBackupAt": "2024-02-31T00:00:00Z"}},
        "status.nextBackupAt: must be a time with an offset, such as 2006-01-02T15:04:05Z",
    ),
    (
        {"status": {"conditions": [{"type": "Ready", "status": True}]}},
        "status.conditions[0].status: must be one of True, False, Unknown",
    ),
]


@pytest.mark.parametrize(("change", "message"), OBJECT_CASES)
def test_object_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.DatabaseBackup, a_backup_manifest() | change)

    assert message == str(refused.value)


def test_all_problems_come_at_once_with_rules_over_what_could_be_decoded() -> None:
    manifest = a_backup_manifest(
        backupInterval=None,
        timeZone="Nowhere",
        timeout=3,
        retention={"keepDaily": 0, "keepWeekly": "x"},
        postgres={"database": "", "port": 0, "user": "u", "sslCert": REF},
        jitterSeconds=-1,
    )
    del manifest["metadata"]["namespace"]

    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.DatabaseBackup, manifest)

    assert {
        f"spec.postgres.database: {DATABASE}",
        "spec.postgres.host: is required",
        "spec.postgres.port: must be >= 1",
        "spec.postgres.sslKey: goes together with sslCert: give both or neither",
        f"spec.timeout: {DURATION}",
        "spec.retention.keepDaily: must be >= 1",
        f"spec.retention.keepWeekly: {INT}",
        "spec.jitterSeconds: must be >= 0",
        "spec.backupCron: is required, or backupInterval, unless suspend is true",
        f"spec.timeZone: {ZONE}",
        "metadata.namespace: is required",
    } == {str(problem) for problem in refused.value.problems}


def test_a_rule_is_silent_when_its_own_field_is_wrong() -> None:
    manifest = a_backup_manifest(backupInterval="6")

    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.DatabaseBackup, manifest)

    assert [problem.path for problem in refused.value.problems] == ["spec.backupInterval"]


def test_values_made_in_code_keep_the_same_bounds_and_rules() -> None:
    with pytest.raises(InvalidSpec, match="keepDaily: must be >= 1"):
        v1.Retention(keep_daily=0)
    with pytest.raises(InvalidSpec, match="storageBucket: is required"):
        v1.BackupLocation(storage_type=v1.StorageType.S3)
