"""A released chart: packaged and pushed as a release does it, installed by the README's command.

No kubelet is there: the test does what the hook's pod would, with the account that it would have.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api.crd import crds
from release import chart
from tests.integration.chart.test_rendering import environment, only
from tests.integration.controller.world import wait_for
from tests.integration.kube import definitions
from tests.servers.helm import RELEASE, VARIABLE, Helm
from tests.servers.kubernetes import KubernetesServer
from tests.servers.registry import Registry

ROOT = Path(__file__).parents[3]
VERSION = "1.2.3-rc.1.g56789ab"
COMMAND = re.compile(r"^helm upgrade --install (?:.*\\\n)*.* oci://.*$", re.MULTILINE)


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


def documented(page: Path, registry: Registry) -> list[str]:
    """The command of a page, with this registry and version instead of those of the example."""
    (found,) = COMMAND.findall(page.read_text())
    here = found.replace("registry.example.com", registry.address).replace("1.2.3", VERSION)
    return shlex.split(here.replace("\\\n", ""))


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


@pytest.fixture
def hook(kubernetes_server: KubernetesServer) -> Iterator[list[str]]:
    """Runs the hook's Job when there is one; what its pods ended with."""
    outputs: list[str] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.1):
            jobs = kubernetes_server.request("GET", "/apis/batch/v1/jobs").body["items"]
            waiting = [one for one in jobs if not one.get("status", {}).get("conditions")]
            outputs.extend(complete(kubernetes_server, one) for one in waiting)

    thread = threading.Thread(target=run, name="hook")
    thread.start()
    yield outputs
    ended.set()
    thread.join()


def complete(server: KubernetesServer, job: dict[str, Any]) -> str:
    """Do what a Job's pod does; then its status says so."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    pod = job["spec"]["template"]["spec"]
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
    at = job["metadata"]["creationTimestamp"]
    kinds = (
        ("SuccessCriteriaMet", "Complete") if done.returncode == 0 else ("FailureTarget", "Failed")
    )
    ends = {"completionTime": at, "succeeded": 1} if done.returncode == 0 else {"failed": 1}
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in kinds]
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
    job["status"] = {"startTime": at, "conditions": conditions} | ends
    answer = server.request("PUT", f"{path}/status", job)
    assert answer.status == 200, answer.body
    return done.stderr


def test_the_command_of_the_readme_installs_it_and_again_upgrades_it(
    kubernetes_server: KubernetesServer, helm: Helm, released: Registry, hook: list[str]
) -> None:
    program, *arguments = documented(ROOT / "README.md", released)
    assert program == "helm"
    kubeconfig = kubernetes_server.kubeconfig()
    path = f"/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}"
    try:
        for revision in ("1", "2"):
            done = helm.run(*arguments, kubeconfig=kubeconfig, ca_file=released.ca_file)

            assert done.returncode == 0, (done.stderr, hook)
            assert f"REVISION: {revision}" in done.stdout
            (container,) = kubernetes_server.request("GET", path).body["spec"]["template"]["spec"][
                "containers"
            ]
            assert container["image"] == f"{released.address}/db-backup-controller:{VERSION}"
            assert len(hook) == int(revision)
        for name in crds():
            definitions.wait_established(kubernetes_server, name)
        listed = helm.run("list", "--namespace", RELEASE, "--output", "yaml", kubeconfig=kubeconfig)
        (row,) = yaml.safe_load(listed.stdout)
        assert (row["chart"], row["app_version"]) == (f"{RELEASE}-{VERSION}", VERSION)
    finally:
        helm.run("uninstall", RELEASE, "--namespace", RELEASE, kubeconfig=kubeconfig)
    wait_for(lambda: kubernetes_server.request("GET", path).status == 404)


def test_both_pages_have_the_same_command(local_registry: Registry) -> None:
    pages = (ROOT / "README.md", ROOT / "docs" / "install.md")

    assert len({tuple(documented(page, local_registry)) for page in pages}) == 1
