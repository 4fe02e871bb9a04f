"""What people try it out with: the targets of the Makefile, one after the other."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from testenv.deploy import NAMESPACE, TESTENV_CHART
from tests.e2e.conftest import Release, Uninstall
from tests.e2e.kubectl import Kubectl
from tests.e2e.tenant import CONTROLLER
from tests.servers import postgres_samples, registry as registries
from tests.servers.fixtures import given
from tests.servers.helm import Helm
from tests.servers.node import addresses
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import TcpProxy

_REPOSITORY = Path(__file__).parents[2]
#: What a person may have set, and what a target does is this test's to say.
_VARIABLES = ("ANY_CONTEXT", "IMAGES", "LOCAL_IMAGE", "TESTENV_DATABASE", "TESTENV_HUGEDATA")

#: Runs a target with variables, and says what it said first and what it named to run next.
Make = Callable[..., tuple[str, str]]


@pytest.fixture
def make(release: Release, uninstall: Uninstall, helm: Helm) -> Iterator[Make]:
    """On a node without the release; what the targets made is gone afterwards."""
    environment = {key: text for key, text in os.environ.items() if key not in _VARIABLES}
    environment["KUBECONFIG"] = str(release.node.kubeconfig)

    def run(target: str, *variables: str) -> tuple[str, str]:
        done = subprocess.run(
            ["make", "--no-print-directory", target, *variables],
            cwd=_REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        first, *_, last = done.stdout.splitlines()
        found = re.fullmatch(r"next: (.+)", last)
        assert found, done.stdout
        return first, found[1]

    uninstall()
    yield run
    helm.run(
        *("uninstall", NAMESPACE, "--namespace", NAMESPACE, "--ignore-not-found"),
        kubeconfig=release.node.kubeconfig,
    )
    release.kubectl.run("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")


def the_database(kubectl: Kubectl, programs: PostgresServer) -> PostgresServer:
    """That of the test environment, by its Service.

    Args:
        programs: of the same major.
    """
    service = kubectl.get("service", "postgres", namespace=NAMESPACE)
    values = yaml.safe_load((TESTENV_CHART / "values.yaml").read_text())["postgres"]
    assert values["version"] == str(programs.major)
    host = service["spec"]["clusterIP"]
    return evolve(programs, host=host, port=5432, password=values["password"])


def test_the_targets_in_a_row_bring_a_dropped_database_back_row_by_row(
    make: Make, release: Release, postgres17: PostgresServer
) -> None:
    # All of them would take longer, and change nothing of what follows.
    says, following = make("deploy-local", "IMAGES=postgres:17")
    assert says == "builds the images and installs the chart into the context test"
    assert following == "make deploy-testenv"

    says, following = make("deploy-testenv")
    assert says.endswith(f"into the namespace {NAMESPACE} of the context test")
    assert following == "make force-local-backup"
    server = the_database(release.kubectl, postgres17)
    before = postgres_samples.fingerprint(server, "shop")
    assert before["public.sale"][0] == 20_000

    says, following = make("force-local-backup")
    assert says == "backs up the test database of the context test"
    assert following == "make force-local-dbdelete, then make force-local-restore"

    says, following = make("force-local-dbdelete")
    assert says == "DROPS the test database of the context test"
    assert following == "make force-local-restore"
    assert "shop" not in databases(server)

    says, following = make("force-local-restore")
    assert says == "restores the test database of the context test"
    assert before == postgres_samples.fingerprint(server, "shop")
    program, *arguments = shlex.split(following)
    assert program == "kubectl"
    assert "shop" in release.kubectl.run(*arguments).must(0).out


def test_a_cluster_pulls_the_images_from_the_registry_that_is_named(
    make: Make, release: Release
) -> None:
    for registry in given(registries.running(addresses.HOST)):
        port = int(registry.address.rpartition(":")[2])
        with TcpProxy(port, listen_host=addresses.HOST) as proxy:
            release.node.files.trust(registry.address, registry.ca_file, reached_at=proxy.endpoint)
            prefix = f"{registry.address}/team/db-backup-controller"

            make("deploy-local", "IMAGES=postgres:17", f"LOCAL_IMAGE={prefix}")

            pods = release.kubectl.list("pods", "--namespace", CONTROLLER)
            (name,) = {one["image"] for pod in pods for one in pod["spec"]["containers"]}
            tag = name.removeprefix(f"{prefix}:")
            assert registry.tags("team/db-backup-controller") == [tag]
            assert registry.tags("team/db-backup-controller-postgres") == [f"17-{tag}"]


def databases(server: PostgresServer) -> list[str]:
    with server.connect() as connection:
        return [name for (name,) in connection.execute("SELECT datname FROM pg_database")]
