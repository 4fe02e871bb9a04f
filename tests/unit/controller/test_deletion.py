"""Whether an object that goes with its backups may go: decided from a few facts and the time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.conditions import Condition, ConditionStatus
from controller.api.v1 import (
    DatabaseBackupStorageClass,
    ObjectMeta,
    StorageClassSpec,
    StorageType,
)
from controller.deletion import Facts, Release, Wait, decide, retained
from controller.projections import project_backup
from tests.builders import a_location, a_secret
from tests.fakes.clock import START
from tests.unit.resources.samples import a_raw_backup

MINUTE = timedelta(minutes=1)
FACTS = Facts(
    deleted_at=START,
    report=None,
    is_namespace_ending=False,
    busy_until=None,
    timeout=timedelta(hours=2),
)
BUSY = evolve(FACTS, busy_until=START + timedelta(days=300))


def a_report(status: ConditionStatus, reason: str) -> Condition:
    return Condition(type="DataDeleted", status=status, reason=reason, message="s3: so it is")


class TestDeciding:
    @pytest.mark.parametrize("is_namespace_ending", [True, False])
    def test_what_is_deleted_may_go_at_once(self, is_namespace_ending: bool) -> None:
        facts = evolve(
            BUSY,
            report=a_report(ConditionStatus.TRUE, "Deleted"),
            is_namespace_ending=is_namespace_ending,
        )

        assert decide(facts, START) == Release(True, "s3: so it is")

    def test_what_has_to_stay_holds_nothing_up(self) -> None:
        facts = evolve(BUSY, report=a_report(ConditionStatus.FALSE, "DataRetained"))

        assert decide(facts, START) == Release(False, "s3: so it is")

    def test_in_a_namespace_that_ends_nothing_is_waited_for(self) -> None:
        decision = decide(evolve(BUSY, is_namespace_ending=True), START)

        assert decision == Release(
            False,
            "the namespace is being deleted, and its runner with it"
            " (its runner did not say anything)",
        )

    @pytest.mark.parametrize(
        ("minutes", "expected"),
        [(0, Wait(30)), (14.5, Wait(30)), (14.9, Wait(pytest.approx(6))), (-60, Wait(30))],
    )
    def test_a_runner_has_15_minutes(self, minutes: float, expected: Wait) -> None:
        report = a_report(ConditionStatus.FALSE, "StorageUnavailable")

        assert decide(FACTS, START + minutes * MINUTE) == expected
        assert decide(evolve(FACTS, report=report), START + minutes * MINUTE) == expected

    def test_after_15_minutes_it_goes_with_what_the_runner_said_last(self) -> None:
        report = a_report(ConditionStatus.FALSE, "StorageUnavailable")

        silent = decide(FACTS, START + 15 * MINUTE)
        failing = decide(evolve(FACTS, report=report), START + 15 * MINUTE)

        assert silent == Release(False, "the time for it is over (its runner did not say anything)")
        assert failing == Release(
            False, "the time for it is over (StorageUnavailable: s3: so it is)"
        )

    def test_a_runner_at_work_may_go_on_for_as_long_as_a_job_may_last(self) -> None:
        end = START + 15 * MINUTE + FACTS.timeout

        assert decide(BUSY, START + 15 * MINUTE) == Wait(30)
        assert decide(BUSY, end - MINUTE) == Wait(30)
        assert isinstance(decide(BUSY, end), Release)

    @given(
        status=st.sampled_from(ConditionStatus),
        reason=st.sampled_from(["Deleted", "Deleting", "RestoreRuns", "AccessDenied"]),
        is_busy=st.booleans(),
        is_ending=st.booleans(),
    )
    def test_whatever_there_is_it_ends(
        self, status: ConditionStatus, reason: str, is_busy: bool, is_ending: bool
    ) -> None:
        facts = evolve(
            BUSY if is_busy else FACTS,
            report=a_report(status, reason),
            is_namespace_ending=is_ending,
        )

        now, waits = START, 0
        while isinstance(decision := decide(facts, now), Wait):
            assert decision.look_again_s > 0
            now += timedelta(seconds=decision.look_again_s)
            waits += 1
        assert now <= START + 15 * MINUTE + facts.timeout
        assert decision.is_deleted == (status is ConditionStatus.TRUE)


LOCATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "s3": (
        {"storage_type": StorageType.S3, "storage_bucket": "bucket", "storage_prefix": "/p/q/"},
        "s3: s3://bucket/p/q/db/shop/",
    ),
    "minio": (
        {
            "storage_type": StorageType.MINIO,
            "storage_bucket": "bucket",
            "storage_endpoint": "minio.example.com:9000",
        },
        "minio: s3://bucket/db/shop/ at minio.example.com:9000",
    ),
    "gcs": (
        {"storage_type": StorageType.GCS, "storage_bucket": "bucket"},
        "gcs: gs://bucket/db/shop/",
    ),
    "folder": ({"path": "/backups"}, "folder: /backups/db/shop/"),
    "claim": (
        {"path": "/deep/", "claim_name": "nas"},
        "claim: /deep/db/shop/ of the claim nas",
    ),
}


class TestTelling:
    """What a person has to know of backups that stay."""

    @pytest.mark.parametrize("name", LOCATIONS)
    def test_where_they_are(self, name: str) -> None:
        fields, expected = LOCATIONS[name]
        keys = {"storage_access_key_id": a_secret(), "storage_secret_access_key": a_secret()}
        if name in {"s3", "minio"}:
            fields = fields | keys
        storage_class = DatabaseBackupStorageClass(
            metadata=ObjectMeta(name="standard"),
            spec=StorageClassSpec(backup_locations=(a_location(name=name, **fields),)),
        )

        said = retained(project_backup(a_raw_backup()), storage_class, "no answer")

        assert f"may still be in {expected}." in said
        assert said.endswith("Why: no answer")
        assert "hunter-two" not in said

    def test_where_they_are_when_the_class_is_gone(self) -> None:
        said = retained(project_backup(a_raw_backup()), None, "no answer")

        assert "the folder db/shop/ of each location of the class standard" in said
