"""Both custom resources on a real API server, from the files that people apply."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from tests.servers.kubernetes import Answer, KubernetesServer

FOLDER = Path(__file__).parents[3] / "deploy" / "crds"
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLURALS = {
    "DatabaseBackup": "databasebackups",
    "DatabaseBackupStorageClass": "databasebackupstorageclasses",
}
_TIMEOUT_S = 60.0


def install(server: KubernetesServer) -> dict[str, dict[str, Any]]:
    """Create what is not there and wait until it is served: name -> conditions by type."""
    found = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        answer = server.request("POST", PATH, yaml.safe_load(file.read_text()))
        assert answer.status in {201, 409}, answer.body
        found[file.stem] = wait_established(server, file.stem)
    return found


def wait_established(server: KubernetesServer, name: str) -> dict[str, Any]:
    """Wait until it is served; say what its conditions are, by type."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        body = server.request("GET", f"{PATH}/{name}").body
        conditions = {one["type"]: one for one in (body["status"].get("conditions") or ())}
        if conditions.get("Established", {}).get("status") == "True":
            return conditions
        assert time.monotonic() < deadline, conditions
        time.sleep(0.1)


def create(
    server: KubernetesServer,
    namespace: str,
    manifest: dict[str, Any],
    *,
    query: str = "dryRun=All&fieldValidation=Strict",
) -> Answer:
    """Create an object of one of both kinds, under a name of its own.

    By default only ask whether it would be taken.
    """
    plural = PLURALS[manifest["kind"]]
    where = f"/namespaces/{namespace}" if plural == "databasebackups" else ""
    metadata = {"generateName": manifest["metadata"]["name"] + "-"}
    return server.request(
        "POST",
        f"/apis/backup.nect.com/v1{where}/{plural}?{query}",
        manifest | {"metadata": metadata},
    )
