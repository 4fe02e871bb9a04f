"""Objects that were stored under the Go original's definitions, when ours are put over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.kube.resource import DATABASE_BACKUP_STORAGE_CLASSES, DATABASE_BACKUPS
from tests.integration.controller.go_original import KINDS, STATUS, GoOriginal
from tests.integration.controller.world import World
from tests.integration.kube import definitions
from tests.integration.kube.kubectl import kubectl
from tests.integration.kube.original_definitions import definitions as original_definitions
from tests.servers import kubernetes
from tests.servers.fixtures import given
from tests.servers.kubernetes import KubernetesServer

TEXT = {"value": "a-secret"}
REF = {"fromSecret": {"name": "shop-db", "key": "password"}}
COMMON = {
    "databaseVersion": "16",
    "backupCron": "0 3 * * *",
    "backupInterval": 2,
    "retentionConfig": {"%Y-%m": 32140800000000000, "%Y-w%V": 2678400000000000},
    "useSingleBackupTarget": True,
}
#: Every field of every engine.
ENGINES: dict[str, dict[str, Any]] = {
    "cockroach": {"cert": REF, "certCA": TEXT, "certCAFromCluster": True, "certKey": REF}
    | {"database": "shop", "host": "db", "port": 26257, "user": "root"},
    "mysql": {"database": "shop", "host": "db", "port": 3306, "user": REF, "pass": TEXT},
    "postgres": {"database": "shop", "host": "db", "port": 5432, "user": "u", "pass": REF},
}
VERSIONS = {"mysql": "8.4"}
LOCATION = {
    "storageType": "s3",
    "storageEndpoint": "minio.storage.svc:9000",
    "storageAccessKeyID": TEXT,
    "storageSecretAccessKey": {"fromSecret": {"name": "bucket", "key": "key"}},
    "storageBucket": "backups",
    "storageLocation": "us-east-1",
    "storageUseSSL": True,
    "storageInsecureSkipVerify": True,
    "encryptionPass": TEXT,
}


@pytest.fixture
def server() -> Iterator[KubernetesServer]:
    """One of its own: the definitions are the whole cluster's."""
    for running in given(kubernetes.running()):
        for one in original_definitions():
            running.create(definitions.PATH, one)
            definitions.wait_established(running, one["metadata"]["name"])
        yield running


@pytest.fixture
def world(server: KubernetesServer, tmp_path: Path) -> Iterator[World]:
    world = World(server, tmp_path)
    world.grant()
    world.create_secret(key="a-secret-key")
    location = {"spec": {"backupLocations": [LOCATION]}}
    world.create(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name, location)
    original = GoOriginal(world, world.system)
    for engine, section in ENGINES.items():
        spec = COMMON | {"databaseType": engine, "postgres": None, engine: section}
        spec["databaseVersion"] = VERSIONS.get(engine, "16")
        world.create_backup(engine, **spec)
        original.make_children(engine)
        original.write_into(engine)
    try:
        yield world
    finally:
        world.close()


def put_ours_over_them(world: World) -> None:
    """As docs/migration.md says."""
    kubectl(
        world.server,
        *["apply", "--server-side", "--force-conflicts", "-f"],
        str(definitions.FOLDER),
    )
    for file in definitions.FOLDER.glob("*.yaml"):
        (ours,) = yaml.safe_load(file.read_text())["spec"]["versions"]
        (stored,) = world.server.request("GET", f"{definitions.PATH}/{file.stem}").body["spec"][
            "versions"
        ]
        assert stored == ours  # nothing of the original's is left


def annotate(raw: dict[str, Any]) -> None:
    raw["metadata"]["annotations"] = {"by": "a person"}


def is_kept(before: Any, after: Any) -> bool:
    """Whether all of `before` is in `after`, which may have defaults of ours beside it."""
    if isinstance(before, dict):
        return all(key in after and is_kept(before[key], after[key]) for key in before)
    if isinstance(before, list):
        return len(before) == len(after) and all(map(is_kept, before, after))
    return bool(before == after)


def test_no_field_is_lost_whoever_writes(world: World) -> None:
    before = {engine: world.get(DATABASE_BACKUPS, engine) for engine in ENGINES}
    class_before = world.get(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name)
    assert before["postgres"]["status"] == STATUS

    put_ours_over_them(world)
    world.start()
    world.wait_for_children("postgres")
    world.set_available("postgres")
    world.wait_for_condition("Ready", "True", "RunnerAvailable", "postgres")
    # Its nodes look at every certificate, and there is no version 16 of it.
    world.wait_for_condition("Ready", "False", "InvalidSpec", "cockroach")
    world.wait_for_children("mysql")
    of_class = {"name": world.class_name, "resource": DATABASE_BACKUP_STORAGE_CLASSES}
    world.wait_for_condition("Ready", "True", "Usable", **of_class)
    for engine in ENGINES:
        world.change(DATABASE_BACKUPS, engine, annotate)

    for engine, was in before.items():
        now = world.get(DATABASE_BACKUPS, engine)
        assert is_kept(was["spec"], now["spec"])
        assert is_kept(ENGINES[engine], now["spec"][engine])
        assert now["status"]["hash"] == STATUS["hash"]
        conditions = {one["type"]: one for one in now["status"]["conditions"]}
        _, *stale = STATUS["conditions"]
        assert [conditions[one["type"]] for one in stale] == stale
    class_now = world.get(DATABASE_BACKUP_STORAGE_CLASSES, world.class_name)
    assert is_kept(class_before["spec"], class_now["spec"])


def test_an_object_that_has_to_be_changed_keeps_the_original_s_runner(world: World) -> None:
    original = GoOriginal(world, world.system)
    put_ours_over_them(world)
    world.start()
    world.wait_for_children("postgres")
    world.set_available("postgres")
    world.report_backup("postgres")

    original.wait_until_gone("postgres")

    world.wait_for_condition("Ready", "False", "InvalidSpec", "cockroach")
    world.wait_until_quiet()
    assert original.children("cockroach") == set(KINDS)
    # Until somebody deletes the object.
    world.delete(DATABASE_BACKUPS, "cockroach")
    original.wait_until_gone("cockroach")


def test_an_object_outside_of_our_bounds_is_told_what_to_change(world: World) -> None:
    """Its spec is refused by our schema from now on; its status and its end are not."""
    original = GoOriginal(world, world.system)
    retention = {f"%Y{'-' * number}": 1 for number in range(33)}
    spec = {"backupInterval": 100_000, "retentionConfig": retention}
    world.create_backup("odd", postgres=ENGINES["postgres"], **spec)
    original.make_children("odd")
    original.write_into("odd")
    put_ours_over_them(world)
    world.start()

    told = world.wait_for_condition("Ready", "False", "InvalidSpec", "odd")

    assert "spec.backupInterval: must be <= 87600;" in told["message"]
    assert "spec.retentionConfig: must have 1 to 32 entries" in told["message"]
    assert original.children("odd") == set(KINDS)
    world.delete(DATABASE_BACKUPS, "odd")
    original.wait_until_gone("odd")
    assert world.get(DATABASE_BACKUPS, "odd") is None
