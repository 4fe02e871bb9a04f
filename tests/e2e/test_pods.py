"""Pods that end while they work: killed, evicted, out of memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.tenant import CRAWL_BYTES_PER_S, PostgresTenant, a_class, a_location
from tests.integration.jobs.commands import eventually
from tests.servers import postgres_samples
from tests.servers.node import addresses
from tests.servers.proxy import TcpProxy


def test_a_pod_killed_in_a_backup_leaves_none_and_the_next_one_works(
    protected: PostgresTenant,
) -> None:
    tenant = protected

    with tenant.backup_under_way() as client:
        tenant.kill()
        client.wait(30)
    tenant.wire.bytes_per_s = None
    tenant.wait_for_restart()

    assert client.returncode != 0
    assert len(tenant.backups()) == 1
    tenant.exec("backup-now").must(0)
    assert len(tenant.backups()) == 2
    tenant.exec("runner", "verify", "--all").must(0)


def test_a_pod_killed_in_a_restore_leaves_the_database_as_it_was(protected: PostgresTenant) -> None:
    tenant = protected
    with tenant.server.connect(tenant.database) as connection:
        connection.execute("CREATE TABLE public.newer AS SELECT 1 AS a")
    before = postgres_samples.fingerprint(tenant.server, tenant.database)
    tenant.wire.bytes_per_s = CRAWL_BYTES_PER_S

    with tenant.starting_exec("restore", "--at", "now", "--replace", "--yes") as client:
        eventually(
            lambda: any(name.startswith("dbb_restore_") for name in _databases(tenant)),
            say=lambda: "the restore did not begin",
        )
        tenant.kill()
        client.wait(30)
    tenant.wire.bytes_per_s = None
    tenant.wait_for_restart()

    assert before == postgres_samples.fingerprint(tenant.server, tenant.database)
    tenant.exec("restore", "--at", "now", "--replace", "--yes").must(0)
    assert not [name for name in _databases(tenant) if name.startswith("dbb_restore_")]


def test_a_drained_node_waits_for_the_backup_that_runs(protected: PostgresTenant) -> None:
    tenant = protected
    selector = f"db-backup.nect.com/src-namespace={tenant.namespace}"
    drain = ("drain", addresses.NODE, "--delete-emptydir-data", f"--pod-selector={selector}")

    try:
        with tenant.backup_under_way() as client:
            tenant.kubectl.run(*drain, "--timeout=5s").must(1)
            assert client.poll() is None
            tenant.wire.bytes_per_s = None
            said, _ = client.communicate(timeout=90)
        tenant.kubectl.run(*drain, "--timeout=60s").must(0)
    finally:
        tenant.kubectl.run("uncordon", addresses.NODE).must(0)

    assert client.returncode == 0, said
    tenant.wait_for("Ready")
    assert len(tenant.backups()) == 2


def _databases(tenant: PostgresTenant) -> list[str]:
    with tenant.server.connect() as connection:
        return [name for (name,) in connection.execute("SELECT datname FROM pg_database")]


#: Less than an idle runner takes.
_TOO_LITTLE = {"requests": {"memory": "16Mi"}, "limits": {"memory": "24Mi"}}


@pytest.mark.parametrize(
    ("runner", "image", "reason"),
    [
        ({}, "localhost/there-is-none:1", "ErrImagePull"),
        ({"nodeSelector": {"no": "node"}}, "", "Unschedulable"),
        ({"resources": _TOO_LITTLE}, "", "OOMKilled"),
    ],
)
def test_a_pod_that_does_not_come_up_says_why_in_the_status_and_an_event(
    tenant: PostgresTenant, storage: TcpProxy, runner: dict[str, Any], image: str, reason: str
) -> None:
    if image:
        location = a_location(tenant.bucket, storage.port)
        tenant.kubectl.apply(a_class(tenant.storage_class, location, runner={"image": image}))
    tenant.create(runner=runner or None)

    eventually(
        lambda: tenant.condition("RunnerAvailable").get("reason") == reason,
        say=lambda: f"{reason} is not there: {tenant.status()}",
        timeout_s=30,
    )
    eventually(
        lambda: reason in {event["reason"] for event in tenant.events_of_the_object()},
        say=lambda: f"there is no such event: {tenant.events_of_the_object()}",
        timeout_s=10,
    )
    told = [one for one in tenant.events_of_the_object() if one["reason"] == reason]
    assert {one["type"] for one in told} == {"Warning"}
    assert all(tenant.pod()["metadata"]["name"] in one["message"] for one in told)
    assert tenant.condition("Ready")["status"] == "False"
