"""What people and alerts read: conditions by what was found out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controller.api.conditions import ConditionStatus, get_condition
from controller.api.errors import (
    AccessDenied,
    ApiConflict,
    DependencyMissing,
    InvalidSpec,
    Problem,
    UnknownEngine,
)
from controller.api.keys import ObjectKey
from controller.api.status import DatabaseBackupStatus, LocationStatus, StorageClassStatus
from controller.projections import Rollout
from controller.status import (
    Found,
    applied_backup_status,
    applied_class_status,
    backup_status,
    class_status,
    gather,
)
from tests.fakes.clock import START

UP = Rollout(is_available=True, is_complete=True)
DOWN = Rollout(is_available=False, is_complete=False)


def a_status(
    previous: DatabaseBackupStatus | None = None, *, later_s: float = 0, **found: Any
) -> DatabaseBackupStatus:
    given = {"runner": "backup-db-shop", "rollout": UP} | found
    return backup_status(
        previous or DatabaseBackupStatus(),
        Found(**given),
        generation=4,
        now=START + timedelta(seconds=later_s),
    )


def ready(status: Any) -> tuple[str, str, str]:
    condition = get_condition(status.conditions, "Ready")
    assert condition is not None
    return condition.status.value, condition.reason, condition.message


class TestBackups:
    def test_a_runner_that_is_up_is_ready(self) -> None:
        status = a_status()

        assert ready(status)[:2] == ("True", "RunnerAvailable")
        runner = get_condition(status.conditions, "RunnerAvailable")
        assert runner is not None
        assert runner.status is ConditionStatus.TRUE
        assert "kubectl exec deploy/backup-db-shop" in runner.message
        assert status.runner == "backup-db-shop"
        assert status.observed_generation == 4
        assert {one.observed_generation for one in status.conditions} == {4}

    def test_a_runner_that_is_not_up_is_not_ready_and_says_where_to_look(self) -> None:
        rollout = Rollout(
            is_available=False, is_complete=False, reason="FailedCreate", message="exceeded quota"
        )
        status = a_status(rollout=rollout)

        assert ready(status)[:2] == ("False", "RunnerNotAvailable")
        assert "exceeded quota" in ready(status)[2]
        assert "kubectl describe deployment backup-db-shop" in ready(status)[2]

    def test_without_a_deployment_no_runner_is_named(self) -> None:
        status = a_status(rollout=None, error=DependencyMissing("no class"))

        assert status.runner == ""
        assert ready(status) == ("False", "DependencyMissing", "no class")

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (
                InvalidSpec([Problem("spec.a", "x"), Problem("spec.b", "y")]),
                ("False", "InvalidSpec", "spec.a: x; spec.b: y"),
            ),
            (UnknownEngine("no mysql"), ("False", "UnknownEngine", "no mysql")),
            (AccessDenied("no"), ("False", "AccessDenied", "no")),
            (ApiConflict("again"), ("Unknown", "ApiConflict", "again")),
        ],
    )
    def test_an_error_is_told_by_its_kind(
        self, error: Exception, expected: tuple[str, str, str]
    ) -> None:
        assert ready(a_status(error=error)) == expected

    def test_a_running_runner_is_available_whatever_is_wrong_with_the_object(self) -> None:
        status = a_status(error=InvalidSpec("spec.a: x"))

        runner = get_condition(status.conditions, "RunnerAvailable")
        assert runner is not None
        assert runner.status is ConditionStatus.TRUE

    def test_a_defect_tells_its_kind_and_no_content(self) -> None:
        status, reason, message = ready(a_status(error=KeyError("hunter2")))

        assert (status, reason) == ("Unknown", "InternalError")
        assert "KeyError" in message
        assert "hunter2" not in message

    def test_a_change_that_is_held_back_is_told(self) -> None:
        assert ready(a_status(held_back="a job runs")) == ("True", "ChangeHeldBack", "a job runs")

    def test_a_runner_that_is_not_the_desired_one_yet_is_up_and_not_ready(self) -> None:
        status = a_status(rollout=Rollout(is_available=True, is_complete=False))

        assert ready(status)[:2] == ("False", "RunnerReplacing")
        assert "kubectl rollout status deployment backup-db-shop" in ready(status)[2]
        runner = get_condition(status.conditions, "RunnerAvailable")
        assert runner is not None
        assert runner.status is ConditionStatus.TRUE

    def test_the_same_finding_is_the_same_status(self) -> None:
        status = a_status()

        assert a_status(status, later_s=100) == status

    def test_the_time_moves_with_the_status_alone(self) -> None:
        status = a_status()
        same = a_status(status, held_back="a job runs", later_s=100)
        other = a_status(status, rollout=DOWN, later_s=100)

        assert get_condition(same.conditions, "Ready").last_transition_time == START
        assert get_condition(other.conditions, "Ready").last_transition_time == START + timedelta(
            seconds=100
        )

    def test_what_is_applied_is_the_controllers_part_of_that_very_object(self) -> None:
        raw = applied_backup_status(ObjectKey("db", "shop"), "1", a_status())

        assert raw["metadata"] == {"namespace": "db", "name": "shop", "uid": "1"}
        assert set(raw["status"]) == {"conditions", "observedGeneration", "runner"}
        assert raw["status"]["conditions"][0] == {
            "type": "Ready",
            "status": "True",
            "reason": "RunnerAvailable",
            "message": "the runner is as desired",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
            "observedGeneration": 4,
        }


class TestClasses:
    def test_a_usable_class_is_ready(self) -> None:
        status = class_status(
            StorageClassStatus(), error=None, used_by=3, locations=(), generation=2, now=START
        )

        assert ready(status)[:2] == ("True", "Usable")
        assert (status.used_by, status.observed_generation) == (3, 2)

    def test_a_missing_secret_is_told(self) -> None:
        status = class_status(
            StorageClassStatus(),
            error=DependencyMissing("no Secret"),
            used_by=0,
            locations=(),
            generation=2,
            now=START,
        )

        assert ready(status) == ("False", "DependencyMissing", "no Secret")

    def test_a_class_is_in_no_namespace(self) -> None:
        raw = applied_class_status(ObjectKey("", "standard"), "1", StorageClassStatus(used_by=1))

        assert raw["metadata"] == {"name": "standard", "uid": "1"}
        assert raw["kind"] == "DatabaseBackupStorageClass"


class TestGathering:
    def test_runners_are_counted_by_location(self) -> None:
        reports = [
            (LocationStatus(name="a", healthy=True), LocationStatus(name="b", healthy=True)),
            (
                LocationStatus(name="a", healthy=True),
                LocationStatus(name="b", healthy=False, message="z"),
            ),
            (
                LocationStatus(name="b", healthy=False, message="y"),
                LocationStatus(name="gone", healthy=True),
            ),
        ]

        first, second = gather(["a", "b"], reports)

        assert (first.name, first.healthy, first.failing, first.message) == ("a", 2, 0, "")
        assert (second.name, second.healthy, second.failing, second.message) == ("b", 1, 2, "y")
        assert gather(["a", "b"], reversed(reports)) == (first, second)

    def test_a_location_that_nobody_reported_is_there_with_zeros(self) -> None:
        (only,) = gather(["a"], [])

        assert (only.healthy, only.failing, only.message) == (0, 0, "")
