"""The life of the chart's release: its images, an upgrade, its end and its return."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import Release
from tests.e2e.tenant import CONTROLLER, NAME, Tenant
from tests.integration.jobs.commands import eventually
from tests.servers.helm import RELEASE, Helm


@pytest.mark.short
def test_every_part_says_which_release_it_is(protected: Tenant, release: Release) -> None:
    within = ("--namespace", CONTROLLER, "exec", f"deploy/{CONTROLLER}", "--")

    told = protected.kubectl.run(*within, "controller", "version").must(0).out.strip()

    assert told == release.name
    assert protected.exec("runner", "--version").must(0).out.strip() == release.name
    assert protected.pod()["spec"]["containers"][0]["image"].endswith(f"-{release.name}")


def test_an_upgrade_interrupts_no_backup(
    protected: Tenant, install: Callable[..., None], release: Release, next_release: str
) -> None:
    tenant = protected
    pod = tenant.pod()["metadata"]["uid"]

    with tenant.backup_under_way() as client:
        install("--wait", "--set", f"image.tag={next_release}")
        eventually(
            lambda: tenant.condition("Ready").get("reason") == "ChangeHeldBack",
            say=lambda: f"nothing is held back: {tenant.status()}",
        )
        assert tenant.pod()["metadata"]["uid"] == pod
        tenant.wire.bytes_per_s = None
        said, _ = client.communicate(timeout=90)
    assert client.returncode == 0, said

    eventually(
        lambda: [
            one
            for one in tenant.pods()
            if one["spec"]["containers"][0]["image"].endswith(f"-{next_release}")
        ],
        say=lambda: "the runner was not replaced",
        timeout_s=90,
    )
    tenant.wait_for("Ready")
    assert len(tenant.backups()) == 2
    install("--wait")


def test_an_uninstalled_release_leaves_objects_runners_and_backups(
    protected: Tenant, install: Callable[..., None], release: Release, helm: Helm
) -> None:
    tenant = protected
    pod = tenant.pod()["metadata"]["uid"]
    removed = helm.run(
        *("uninstall", RELEASE, "--namespace", CONTROLLER, "--wait"),
        kubeconfig=release.node.kubeconfig,
    )
    assert removed.returncode == 0, removed.stderr

    assert tenant.kubectl.get("databasebackup", NAME, namespace=tenant.namespace)
    tenant.exec("backup-now").must(0)

    install("--wait")

    tenant.wait_for("Ready")
    assert tenant.pod()["metadata"]["uid"] == pod
    assert len(tenant.backups()) == 2


def test_an_object_that_was_deleted_finds_its_backups_when_it_comes_again(
    protected: Tenant,
) -> None:
    tenant = protected
    first = tenant.backups()
    within = ("--namespace", tenant.namespace)
    tenant.kubectl.run("delete", "databasebackup", NAME, *within).must(0)
    eventually(lambda: not tenant.pods(), say=lambda: "the runner stays", timeout_s=90)

    tenant.kubectl.apply(tenant.manifest())
    tenant.wait_for("Ready", timeout_s=90)

    assert set(first) <= set(tenant.backups())
