"""What a reconcile makes of an object that goes with its backups."""

from __future__ import annotations

import pytest

from controller.api.deletion import FINALIZER
from controller.api.errors import (
    ApiConflict,
    ApiUnavailable,
    BackupError,
    ObjectExists,
)
from controller.kube.resource import (
    DATABASE_BACKUPS,
    NAMESPACES,
)
from controller.worker import RequeueAfter
from tests.unit.controller.a_reconciler import KEY, NO, WIRE_TIME, Bench
from tests.unit.resources.samples import a_raw_backup


class TestDeleting:
    """An object that goes with its backups; what a real server makes of it is in integration."""

    @pytest.fixture
    def deleting(self, bench: Bench) -> Bench:
        """One that is being deleted, and whose config Secret has to be written."""
        bench.server.objects[NAMESPACES, "", KEY.namespace] = {"metadata": {}}
        self.delete(bench)
        return bench

    def delete(self, bench: Bench) -> None:
        raw = a_raw_backup(deletionPolicy="Delete")
        raw["metadata"] |= {
            "deletionTimestamp": bench.clock.now().strftime(WIRE_TIME),
            "finalizers": [FINALIZER],
            "resourceVersion": "1",
        }
        bench.server.objects[DATABASE_BACKUPS, KEY.namespace, KEY.name] = raw
        bench.caches.backups.put(raw)

    def was_let_go(self, bench: Bench) -> bool:
        return bench.server.written("patch", DATABASE_BACKUPS) == 1

    @pytest.mark.parametrize(
        "error",
        [*NO, ApiUnavailable("no answer"), ApiConflict("written since"), ObjectExists("theirs")],
        ids=lambda error: type(error).__name__,
    )
    def test_what_fails_in_keeping_its_runner_holds_nothing_up(
        self, deleting: Bench, error: BackupError
    ) -> None:
        for _ in range(5):
            deleting.server.fail_next("apply", error)
            assert deleting.reconcile(KEY) == RequeueAfter(30)
        assert deleting.ready()["reason"] == error.reason
        assert not self.was_let_go(deleting)
        deleting.clock.advance(15 * 60)

        assert deleting.reconcile(KEY) is None

        assert self.was_let_go(deleting)
        assert "DataRetained" in deleting.events()

    @pytest.mark.parametrize("verb", ["get", "patch"])
    def test_letting_it_go_is_tried_until_the_server_takes_it(
        self, deleting: Bench, verb: str
    ) -> None:
        deleting.clock.advance(15 * 60)
        deleting.server.fail_next(verb, ApiConflict("written since"))

        with pytest.raises(ApiConflict):
            deleting.reconcile(KEY)
        assert deleting.reconcile(KEY) is None

        assert self.was_let_go(deleting)
