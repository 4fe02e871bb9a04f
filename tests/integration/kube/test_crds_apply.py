"""`controller crds --apply`: from nothing, over an earlier release, over the Go original."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from controller.api.crd import crds
from tests.builders import a_backup_manifest
from tests.integration.kube import definitions
from tests.integration.kube.original_definitions import definitions as original_definitions
from tests.servers import kubernetes
from tests.servers.fixtures import given
from tests.servers.kubernetes import KubernetesServer

ACCOUNT = ("default", "crds")
#: All that the account may do: it is neither to list nor to delete, and no other definition.
RULE = {
    "apiGroups": ["apiextensions.k8s.io"],
    "resources": ["customresourcedefinitions"],
    "resourceNames": sorted(crds()),
    "verbs": ["get", "create", "patch"],
}


@pytest.fixture(scope="module")
def own_server() -> Iterator[KubernetesServer]:
    """One of its own: the definitions are the whole cluster's, and they go here."""
    for running in given(kubernetes.running()):
        running.token_for(*ACCOUNT)
        running.allow(None, ACCOUNT, [RULE])
        yield running


@pytest.fixture
def server(own_server: KubernetesServer) -> Iterator[KubernetesServer]:
    """Without definitions."""
    yield own_server
    for crd in own_server.request("GET", definitions.PATH).body["items"]:
        path = f"{definitions.PATH}/{crd['metadata']['name']}"
        own_server.request("DELETE", path)
        deadline = time.monotonic() + 60
        while (answer := own_server.request("GET", path)).status != 404:
            # The server says in its conditions what holds it.
            assert time.monotonic() < deadline, f"{path} does not go: {answer.body}"
            time.sleep(0.1)


def apply(
    server: KubernetesServer, account: tuple[str, str] = ACCOUNT
) -> subprocess.CompletedProcess[str]:
    kubeconfig = server.kubeconfig(token=server.token_for(*account))
    command = [sys.executable, "-m", "controller.cli", "crds", "--apply"]
    return subprocess.run(
        [*command, "--kubeconfig", str(kubeconfig)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def versions(server: KubernetesServer) -> dict[str, str]:
    """The stored definitions' resource versions, once they are known to be ours."""
    found = {}
    for name, crd in crds().items():
        stored = server.request("GET", f"{definitions.PATH}/{name}").body
        assert stored["spec"]["versions"] == crd["spec"]["versions"]
        assert stored["spec"]["names"] == crd["spec"]["names"]
        found[name] = stored["metadata"]["resourceVersion"]
    return found


def test_objects_can_be_made_as_soon_as_it_returns(server: KubernetesServer) -> None:
    done = apply(server)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name}: applied and served" for name in crds()]
    answer = definitions.create(server, "default", a_backup_manifest())
    assert answer.status == 201, answer.body


def test_a_second_time_writes_nothing(server: KubernetesServer) -> None:
    apply(server)
    before = versions(server)

    assert apply(server).returncode == 0

    assert versions(server) == before


def test_the_go_originals_are_taken_over_with_all_their_objects(server: KubernetesServer) -> None:
    for original in original_definitions():
        name = original["metadata"]["name"]
        server.create(f"{definitions.PATH}?fieldManager=helm", original)
        definitions.wait_established(server, name)
    postgres = {"database": "shop", "host": "db", "port": 5432, "user": "u"}
    manifest = a_backup_manifest(postgres=postgres | {"pass": {"value": "a-secret"}})
    stored = definitions.create(server, "default", manifest, query="")
    assert stored.status == 201, stored.body
    made = stored.body
    path = f"/apis/backup.nect.com/v1/namespaces/default/databasebackups/{made['metadata']['name']}"

    done = apply(server)

    assert (done.returncode, done.stderr) == (0, "")
    assert versions(server)
    kept = server.request("GET", path).body
    assert kept["metadata"]["uid"] == made["metadata"]["uid"]
    assert kept["spec"]["backupInterval"] == made["spec"]["backupInterval"]
    assert kept["spec"]["postgres"].items() >= made["spec"]["postgres"].items()


def test_names_that_are_anothers_are_told_at_once(server: KubernetesServer) -> None:
    other = copy.deepcopy(crds()["databasebackups.backup.nect.com"])
    other["metadata"]["name"] = "others.backup.nect.com"
    other["spec"]["names"] |= {"plural": "others", "singular": "other", "shortNames": []}
    server.create(definitions.PATH, other)
    definitions.wait_established(server, "others.backup.nect.com")

    done = apply(server)

    assert done.returncode == 78
    assert "databasebackups.backup.nect.com: another definition has its names" in done.stderr


def test_a_missing_right_is_named(server: KubernetesServer) -> None:
    done = apply(server, ("default", "nobody"))

    assert done.returncode == 78
    assert "'patch' on 'customresourcedefinitions.apiextensions.k8s.io'" in done.stderr
