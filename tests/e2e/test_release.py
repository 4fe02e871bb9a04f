"""The life of the chart's release: its images, an upgrade, its end and its return."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

from release import images
from tests.e2e.conftest import ENGINE_IMAGE, Release, Uninstall
from tests.e2e.tenant import CONTROLLER, NAME, Tenant
from tests.integration.jobs.commands import eventually
from tests.integration.release.installing import PAGES, documented, publish
from tests.servers import engine, registry as registries
from tests.servers.fixtures import given
from tests.servers.helm import VARIABLE, Helm
from tests.servers.node import addresses
from tests.servers.node.machine import Machine
from tests.servers.proxy import TcpProxy
from tests.servers.registry import Registry


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
    protected: Tenant, install: Callable[..., None], uninstall: Uninstall
) -> None:
    tenant = protected
    pod = tenant.pod()["metadata"]["uid"]
    uninstall()

    assert tenant.kubectl.get("databasebackup", NAME, namespace=tenant.namespace)
    tenant.exec("backup-now").must(0)

    install("--wait")

    tenant.wait_for("Ready")
    assert tenant.pod()["metadata"]["uid"] == pod
    assert len(tenant.backups()) == 2


@pytest.fixture
def published(node: Machine, release: Release, helm: Helm) -> Iterator[Registry]:
    """A registry that the node reaches, with what hosted CI publishes of this commit."""
    for registry in given(registries.running(addresses.HOST)):
        for container_engine in given(engine.running()):
            publish(
                "push-images",
                registry,
                release.name,
                BASE_IMAGE=container_engine.sources(images.NEWEST_SUITE).base_image,
                BUILD_OPTIONS=shlex.join(container_engine.build_options),
                IMAGES=f"{images.CONTROLLER} {ENGINE_IMAGE}",
            )
        port = int(registry.address.rpartition(":")[2])
        with TcpProxy(port, listen_host=addresses.HOST) as proxy:
            reached = evolve(registry, address=proxy.endpoint)
            node.files.trust(reached.address, registry.ca_file)
            trust = {"SSL_CERT_FILE": str(registry.ca_file), VARIABLE: str(helm.program)}
            publish("push-chart", reached, release.name, **trust)
            yield reached


def test_the_command_of_the_readme_installs_a_controller_and_runners_from_a_registry(
    tenant: Tenant, uninstall: Uninstall, published: Registry, release: Release, helm: Helm
) -> None:
    uninstall()
    _, *arguments = documented(PAGES[0], published, release.name)

    done = helm.run(*arguments, kubeconfig=release.node.kubeconfig, ca_file=published.ca_file)

    assert done.returncode == 0, done.stderr
    rollout = ("rollout", "status", f"deploy/{CONTROLLER}", "--timeout=60s")
    tenant.kubectl.run("--namespace", CONTROLLER, *rollout).must(0)
    (controller,) = tenant.kubectl.list("pods", "--namespace", CONTROLLER)
    (container,) = controller["spec"]["containers"]
    image = f"{published.address}/db-backup-controller"
    assert container["image"] == f"{image}:{release.name}"
    tenant.create()
    tenant.wait_for("Ready")
    (container,) = tenant.pod()["spec"]["containers"]
    assert container["image"] == f"{image}-{ENGINE_IMAGE}-{release.name}"


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
