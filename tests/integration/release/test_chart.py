"""A released chart: packaged and pushed as a release does it, installed by the README's command.

No kubelet is there: the test does what the hook's pod would, with the account that it would have.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.crd import crds
from release import chart
from tests.integration.chart.test_rendering import environment, only
from tests.integration.controller.world import wait_for
from tests.integration.kube import definitions
from tests.integration.release.installing import PAGES, ROOT, RunPod, documented, jobs_are_run
from tests.servers.helm import RELEASE, VARIABLE, Helm
from tests.servers.kubernetes import KubernetesServer
from tests.servers.registry import Registry

VERSION = "1.2.3-rc.1.g56789ab"


@pytest.fixture(scope="session")
def released(
    helm: Helm, local_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Registry:
    """The registry, with the chart of a release in it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "release.chart", "--version", VERSION),
            *("--image-repo", f"{local_registry.address}/db-backup-controller"),
            *("--folder", tmp_path_factory.mktemp("charts")),
            *("--push", f"{local_registry.address}/charts"),
        ],
        env=os.environ
        | {
            "HOME": str(helm.home),
            "SSL_CERT_FILE": str(local_registry.ca_file),
            VARIABLE: str(helm.program),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return local_registry


def test_the_version_is_that_of_chart_images_and_labels(helm: Helm, released: Registry) -> None:
    name = f"{released.address}/charts/{RELEASE}"
    assert VERSION in released.tags(f"charts/{RELEASE}")
    done = helm.run(
        *["template", RELEASE, f"oci://{name}", "--version", VERSION], ca_file=released.ca_file
    )
    assert done.returncode == 0, done.stderr
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]

    for one in manifests:
        assert one["metadata"]["labels"]["app.kubernetes.io/version"] == VERSION
        assert one["metadata"]["labels"]["helm.sh/chart"] == f"{RELEASE}-{VERSION}"
    image = f"{released.address}/db-backup-controller"
    for kind, its_name in (("Deployment", RELEASE), ("Job", f"{RELEASE}-crds")):
        (container,) = only(manifests, kind, its_name)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{image}:{VERSION}"
    assert environment(manifests)["IMAGE_PREFIX"] == image


@pytest.mark.parametrize(
    ("version", "image_repo", "words"),
    [
        ("1.2", "registry.example.com/a", "VERSION=1.2: such as 1.2.3"),
        ("", "registry.example.com/a", "VERSION=: such as 1.2.3"),
        ("1.2.3+g56789ab", "registry.example.com/a", "VERSION=1.2.3+g56789ab"),
        ("1.2.3", "https://registry.example.com/a", "/image/repo"),
        ("1.2.3", "registry.example.com/A", "/image/repo"),
        ("1.2.3", "", "IMAGE_PREFIX is empty"),
    ],
)
def test_what_nobody_could_install_is_not_packaged(
    helm: Helm, tmp_path: Path, version: str, image_repo: str, words: str
) -> None:
    with pytest.raises(chart.ChartRefused) as refused:
        chart.package(version, image_repo, tmp_path)

    assert words in refused.value.message
    assert list(tmp_path.iterdir()) == []


def run_here(server: KubernetesServer) -> RunPod:
    """Do what a pod of the controller's image does, as its account."""

    def run(namespace: str, pod: Mapping[str, Any]) -> tuple[int, str]:
        (container,) = pod["containers"]
        token = server.token_for(namespace, pod["serviceAccountName"])
        done = subprocess.run(
            [sys.executable, "-m", "controller.cli", *container["command"][1:]],
            env={"KUBECONFIG": str(server.kubeconfig(token=token))},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stderr

    return run


def test_the_command_of_the_readme_installs_it_and_again_upgrades_it(
    kubernetes_server: KubernetesServer, helm: Helm, released: Registry
) -> None:
    program, *arguments = documented(PAGES[0], released, VERSION)
    assert program == "helm"
    kubeconfig = kubernetes_server.kubeconfig()
    path = f"/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}"
    try:
        with jobs_are_run(kubernetes_server, run_here(kubernetes_server)) as said:
            for revision in (1, 2):
                done = helm.run(*arguments, kubeconfig=kubeconfig, ca_file=released.ca_file)

                assert done.returncode == 0, (done.stderr, said)
                assert f"REVISION: {revision}" in done.stdout
                assert len(said) == revision
        pod = kubernetes_server.request("GET", path).body["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == f"{released.address}/db-backup-controller:{VERSION}"
        for name in crds():
            definitions.wait_established(kubernetes_server, name)
        listed = helm.run("list", "--namespace", RELEASE, "--output", "yaml", kubeconfig=kubeconfig)
        (row,) = yaml.safe_load(listed.stdout)
        assert (row["chart"], row["app_version"]) == (f"{RELEASE}-{VERSION}", VERSION)
    finally:
        helm.run("uninstall", RELEASE, "--namespace", RELEASE, kubeconfig=kubeconfig)
    wait_for(lambda: kubernetes_server.request("GET", path).status == 404)


def test_both_pages_have_the_same_command(local_registry: Registry) -> None:
    assert len({tuple(documented(page, local_registry, VERSION)) for page in PAGES}) == 1
