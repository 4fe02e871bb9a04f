"""The chart on a real API server. No kubelet is there, so tests run what its pods would, with the
accounts and the environment that the chart gives them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from controller.api.crd import crds
from tests.integration.chart.test_rendering import NAMES, environment, only, values_of
from tests.integration.controller.world import World
from tests.integration.kube import definitions
from tests.integration.kube.kubectl import kubectl
from tests.servers.helm import CHART, RELEASE, Helm
from tests.servers.kubernetes import KubernetesServer
from tests.servers.prometheus_operator import GROUP


@pytest.fixture
def monitoring(
    kubernetes_server: KubernetesServer, monitoring_crds: list[dict[str, Any]]
) -> Iterator[None]:
    """The kinds of the Prometheus operator are served."""
    for crd in monitoring_crds:
        kubernetes_server.create(definitions.PATH, crd)
    wait_for_monitoring(kubernetes_server, {crd["metadata"]["name"] for crd in monitoring_crds})
    yield
    for crd in monitoring_crds:
        kubernetes_server.request("DELETE", f"{definitions.PATH}/{crd['metadata']['name']}")
    wait_for_monitoring(kubernetes_server, set())


def wait_for_monitoring(server: KubernetesServer, names: set[str]) -> None:
    """Until discovery names these resources of the group and no others."""
    deadline = time.monotonic() + 60
    while True:
        told = kubectl(server, "api-resources", f"--api-group={GROUP}", "--output=name")
        if set(told.split()) == names:
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


@pytest.mark.usefixtures("monitoring")
def test_every_manifest_is_taken_strictly(
    kubernetes_server: KubernetesServer, helm: Helm, namespace: str, tmp_path: Path
) -> None:
    """Also by those who apply what `helm template` gives them by other means."""
    for case in NAMES:
        file = tmp_path / f"{case}.yaml"
        file.write_text(helm.template(*values_of(case), namespace=namespace))
        rendered = helm.manifests(*values_of(case), namespace=namespace)

        told = kubectl(
            kubernetes_server,
            *["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(file)],
        )

        assert len(told.splitlines()) == len(rendered)
        assert all("(server dry run)" in line for line in told.splitlines())

    done = helm.run(
        *["install", RELEASE, CHART, "--namespace", namespace, "--dry-run=server"],
        *values_of("everything"),
        kubeconfig=kubernetes_server.kubeconfig(namespace=namespace),
    )
    assert done.returncode == 0, done.stderr


def a_pod(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the controller manager would make of a Deployment or Job."""
    template = manifest["spec"]["template"]
    metadata = template["metadata"] | {"generateName": "pod-"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_its_pods_are_admitted_where_only_restricted_ones_are(
    kubernetes_server: KubernetesServer, helm: Helm, restricted: str
) -> None:
    manifests = helm.manifests(*values_of("everything"), namespace=restricted)
    path = f"/api/v1/namespaces/{restricted}/pods?dryRun=All&fieldValidation=Strict"

    for kind, name in (("Deployment", RELEASE), ("Job", f"{RELEASE}-crds")):
        pod = a_pod(only(manifests, kind, name))
        account = only(manifests, "ServiceAccount", pod["spec"]["serviceAccountName"])
        kubernetes_server.create(f"/api/v1/namespaces/{restricted}/serviceaccounts", account)

        answer = kubernetes_server.request("POST", path, pod)

        assert answer.status == 201, answer.body
        # The namespace does look.
        pod["spec"] = pod["spec"] | {"hostNetwork": True}
        assert kubernetes_server.request("POST", path, pod).status == 403


def test_monitors_are_refused_where_nobody_serves_them(
    kubernetes_server: KubernetesServer, helm: Helm, namespace: str
) -> None:
    for value in ("enableServiceMonitor", "alertmanager.enableRules"):
        done = helm.run(
            *["install", RELEASE, CHART, "--namespace", namespace, "--dry-run=server"],
            *[*values_of("default"), f"--set={value}=true"],
            kubeconfig=kubernetes_server.kubeconfig(namespace=namespace),
        )

        assert done.returncode == 1
        assert f"{value}: this cluster does not serve the kind" in done.stderr


def test_a_release_comes_grows_and_goes_and_the_definitions_stay(
    kubernetes_server: KubernetesServer, helm: Helm, restricted: str
) -> None:
    definitions.install(kubernetes_server)
    kubeconfig = kubernetes_server.kubeconfig(namespace=restricted)
    where = ["--namespace", restricted]
    path = f"/apis/apps/v1/namespaces/{restricted}/deployments/{RELEASE}"

    def upgrade(case: str) -> str:
        done = helm.run(
            *["upgrade", "--install", RELEASE, CHART, "--no-hooks", *where, *values_of(case)],
            kubeconfig=kubeconfig,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        notes = upgrade("default").partition("NOTES:\n")[2]
        assert len(notes.splitlines()) == 3
        assert restricted in notes
        assert kubernetes_server.request("GET", path).body["spec"]["replicas"] == 1
        upgrade("two-replicas")
        assert kubernetes_server.request("GET", path).body["spec"]["replicas"] == 2
    finally:
        # What is the cluster's has the same name in every release of it.
        done = helm.run("uninstall", RELEASE, "--no-hooks", *where, kubeconfig=kubeconfig)

    assert done.returncode == 0, done.stderr
    assert kubernetes_server.request("GET", path).status == 404
    for name in crds():
        assert kubernetes_server.request("GET", f"{definitions.PATH}/{name}").status == 200


def test_its_pods_can_do_their_work_with_what_it_gives_them(
    kubernetes_server: KubernetesServer, helm: Helm, tmp_path: Path
) -> None:
    world = World(kubernetes_server, tmp_path)
    file = tmp_path / "rendered.yaml"
    file.write_text(helm.template(*values_of("default"), namespace=world.system))
    manifests = helm.manifests(*values_of("default"), namespace=world.system)
    kubectl(kubernetes_server, "apply", "-f", str(file))
    try:
        token = kubernetes_server.token_for(world.system, f"{RELEASE}-crds")
        (hook,) = a_pod(only(manifests, "Job", f"{RELEASE}-crds"))["spec"]["containers"]
        done = subprocess.run(
            [sys.executable, "-m", "controller.cli", *hook["command"][1:]],
            env={"KUBECONFIG": str(kubernetes_server.kubeconfig(token=token))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        world.create_secret(key="a-secret-key")
        world.create_class()
        controller = world.start(**environment(manifests))
        controller.wait_until_leading()
        world.create_backup()
        world.wait_for_children("shop")

        assert controller.get("/readyz")[0] == 200
        denied = [
            one
            for one in kubernetes_server.audit_entries()
            if one.user == world.user and one.code == 403
        ]
        assert denied == []
    finally:
        world.close()
        kubectl(kubernetes_server, "delete", "--wait=false", "-f", str(file))
