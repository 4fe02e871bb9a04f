"""What a reconcile passes over: an object of which nothing changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from controller import reconcile
from controller.api.errors import (
    AccessDenied,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.v1 import DatabaseBackup
from controller.kube.resource import (
    DEPLOYMENTS,
    LEASES,
    SECRETS,
)
from controller.resources.desired import Desired, desired
from tests.builders import a_class_manifest
from tests.unit.controller.a_reconciler import KEY, RUNNER, Bench


class TestSettled:
    """An object of which nothing changed since a reconcile that left nothing to do."""

    @pytest.fixture(autouse=True)
    def built(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[ObjectKey]:
        """Which objects' children were built."""
        bench.reconcile(KEY)
        built: list[ObjectKey] = []

        def build(backup: DatabaseBackup, *args: Any, **options: Any) -> Desired:
            built.append(ObjectKey(backup.metadata.namespace, backup.metadata.name))
            return desired(backup, *args, **options)

        monkeypatch.setattr(reconcile, "build_desired", build)
        return built

    def test_a_resync_builds_nothing(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.catch_up()

        assert bench.reconcile(KEY) is None

        assert built == []

    def test_what_changes_is_seen_though_no_handler_told_of_it(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        for number, change in enumerate(
            (
                lambda: bench.give(jitterSeconds=1),
                lambda: bench.caches.classes.put(a_class_manifest(minSuccessfulLocations=1)),
                lambda: bench.set_rollout(is_available=False),
                lambda: bench.caches.children[DEPLOYMENTS].remove(
                    bench.server.objects[DEPLOYMENTS, KEY.namespace, RUNNER]
                ),
            ),
            1,
        ):
            change()
            bench.reconcile(KEY)
            assert len(built) == number

    def test_what_no_cache_shows_is_looked_at_once_a_day(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        bench.clock.advance(86_400)
        del bench.server.objects[LEASES, KEY.namespace, RUNNER]

        bench.reconcile(KEY)

        assert built == [KEY]
        assert (LEASES, KEY.namespace, RUNNER) in bench.server.objects

    def test_what_another_leader_may_have_written_is_looked_at(
        self, bench: Bench, built: list[ObjectKey]
    ) -> None:
        """One of an earlier release, that led between two terms of this one."""
        config = (SECRETS, KEY.namespace, child_name(KEY.namespace, KEY.name, "config"))
        before = copy.deepcopy(bench.server.objects[config])
        bench.server.objects[config]["data"] = {"backup.yaml": "of another release"}
        bench.reconcile(KEY)
        assert built == []
        bench.term += 1

        bench.reconcile(KEY)

        assert bench.server.objects[config]["data"] == before["data"]
        bench.reconcile(KEY)
        assert built == [KEY]

    def test_a_cause_is_heard(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.reconcile.cause(KEY)

        bench.reconcile(KEY)

        assert built == [KEY]

    def test_a_failure_settles_nothing(self, bench: Bench, built: list[ObjectKey]) -> None:
        bench.give(jitterSeconds=1)

        for _ in range(2):
            bench.server.fail_next("apply", AccessDenied("may not"))
            with pytest.raises(WaitingError):
                bench.reconcile(KEY)

        assert built == [KEY, KEY]
