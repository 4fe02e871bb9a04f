"""What a reconcile tells of a storage class."""

from __future__ import annotations

import pytest

from controller.api.errors import (
    ApiRefused,
    WaitingError,
)
from controller.api.keys import ObjectKey
from controller.kube.resource import DATABASE_BACKUP_STORAGE_CLASSES
from controller.reconcile_class import ClassReconciler
from tests.builders import a_class_manifest, a_location_manifest
from tests.unit.controller.a_reconciler import Bench
from tests.unit.resources.samples import a_raw_backup


def test_a_class_whose_status_is_not_taken_is_looked_at_again(bench: Bench) -> None:
    classes = ClassReconciler(bench.caches, bench.applier, namespace="system", clock=bench.clock)
    bench.server.fail_next("status", ApiRefused("a redirect"))

    with pytest.raises(WaitingError):
        classes(ObjectKey.of(bench.raw_class))


def test_a_class_counts_and_quotes_nobody_whom_it_refuses(bench: Bench) -> None:
    raw_class = a_class_manifest(
        allowedNamespaces=["friends"], backupLocations=[a_location_manifest(name="s3")]
    )
    key = ObjectKey.of(raw_class)
    classes = ClassReconciler(bench.caches, bench.applier, namespace="system", clock=bench.clock)
    bench.caches.classes.put(raw_class)
    for namespace in ("friends", "strangers"):
        raw = a_raw_backup(metadata={"namespace": namespace, "uid": namespace})
        said = {"name": "s3", "healthy": False, "message": f"by {namespace}"}
        bench.caches.backups.put(raw | {"status": {"locations": [said]}})

    classes(key)

    status = bench.server.statuses[DATABASE_BACKUP_STORAGE_CLASSES, key.name]
    assert status["usedBy"] == 1
    (told,) = status["locations"]
    assert (told["failing"], told["message"]) == (1, "by friends")


def test_a_class_is_not_written_for_a_strangers_condition_or_the_order_of_a_list(
    bench: Bench,
) -> None:
    locations = [
        a_location_manifest(name=name, storageBucket=name) for name in ("nas", "aws", "gcp")
    ]
    raw = a_class_manifest(backupLocations=locations)
    key = ObjectKey.of(raw)
    classes = ClassReconciler(bench.caches, bench.applier, namespace="system", clock=bench.clock)
    bench.caches.classes.put(raw)
    classes(key)
    status = bench.server.statuses[DATABASE_BACKUP_STORAGE_CLASSES, key.name]
    theirs = status["conditions"][0] | {"type": "Audited"}
    raw["status"] = status | {
        "conditions": [theirs, *status["conditions"]],
        "locations": status["locations"][::-1],
    }
    bench.caches.classes.put(raw)

    classes(key)

    assert bench.server.written("status", DATABASE_BACKUP_STORAGE_CLASSES) == 1
