"""What people see of the custom resources in kubectl, on a real server."""

from __future__ import annotations

import re

import pytest

from controller.api.v1 import GROUP, VERSION
from tests.builders import a_backup_manifest
from tests.integration.controller.world import wait_for
from tests.integration.kube import definitions
from tests.integration.kube.kubectl import kubectl
from tests.servers.kubernetes import KubernetesServer


@pytest.fixture(scope="module")
def server(kubernetes_server: KubernetesServer) -> KubernetesServer:
    definitions.install(kubernetes_server)
    wait_for(lambda: explains(kubernetes_server) >= set(definitions.PLURALS))
    wait_for(lambda: all(is_discovered(kubernetes_server, name) for name in ("dbb", "dbbsc")))
    return kubernetes_server


def is_discovered(server: KubernetesServer, short_name: str) -> bool:
    """Whether kubectl finds the kind; that is published apart, and later than it is served."""
    try:
        kubectl(server, "get", short_name, "--all-namespaces")
    except AssertionError:
        return False
    return True


def explains(server: KubernetesServer) -> set[str]:
    """The kinds that it can explain; published a moment after they are established."""
    where = f"apis/{GROUP}/{VERSION}"
    if where not in server.request("GET", "/openapi/v3").body["paths"]:
        return set()
    schemas = server.request("GET", f"/openapi/v3/{where}").body["components"]["schemas"]
    return {name.rpartition(".")[2] for name, one in schemas.items() if "description" in one}


def test_it_speaks_to_the_server(server: KubernetesServer, namespace: str) -> None:
    assert namespace in kubectl(server, "get", "ns", namespace)


def explained(server: KubernetesServer, path: str) -> str:
    """A description, without the line breaks that kubectl makes."""
    return re.sub(r"\s+", " ", kubectl(server, "explain", path))


def test_retention_is_explained_by_what_it_keeps(server: KubernetesServer) -> None:
    text = explained(server, "databasebackup.spec.retention")

    assert "FIELD: retention <Object>" in text
    assert "How long backups are kept: plain and grandfather-father-son rules." in text
    assert "Excludes `retentionConfig`." in text
    for field, meaning in {
        "keepDaily <integer>": "Keep the last backup of each of the newest n days that have one.",
        "keepWithin <string>": "Keep everything younger than this, such as 48h or 7d.",
        "minimumKeep <integer>": "Never keep fewer than this, whatever the rules say.",
    }.items():
        assert f"{field} {meaning}" in text


@pytest.mark.parametrize(
    "path",
    ["dbb", "dbb.spec", "dbb.status", "dbb.spec.postgres.pass", "dbbsc.spec.backupLocations"],
)
def test_every_field_that_is_listed_is_explained(server: KubernetesServer, path: str) -> None:
    text = kubectl(server, "explain", path)

    assert "DESCRIPTION:" in text
    assert "<empty>" not in text
    for line in text.partition("FIELDS:\n")[2].splitlines():
        assert "<no description>" not in line


def test_a_table_tells_what_people_ask(server: KubernetesServer, namespace: str) -> None:
    manifest = a_backup_manifest()
    answer = definitions.create(server, namespace, manifest, query="fieldValidation=Strict")
    name = answer.body["metadata"]["name"]

    header, row = kubectl(server, "get", "dbb", "-n", namespace).splitlines()

    assert re.split(r"\s{2,}", header.strip()) == [
        "NAME", "TYPE", "CLASS", "READY", "HEALTHY", "LAST BACKUP", "STORED", "AGE",
    ]  # fmt: skip
    assert row.split()[:3] == [name, "postgres", "standard"]
