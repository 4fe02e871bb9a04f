"""The chart of the test environment; what it does on a node: tests/e2e/test_targets.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from testenv.deploy import ENGINE_IMAGES, NAMESPACE, TESTENV_CHART
from tests.integration.chart.test_rendering import only
from tests.integration.chart.test_server import a_pod
from tests.integration.kube import definitions
from tests.integration.kube.kubectl import kubectl
from tests.servers.helm import Helm
from tests.servers.kubernetes import KubernetesServer


def rendered(helm: Helm, namespace: str, *options: str) -> str:
    done = helm.run(
        *("template", NAMESPACE, TESTENV_CHART, "--namespace", namespace),
        f"--set=controllerNamespace={namespace}",
        *options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lint_has_nothing_to_say(helm: Helm) -> None:
    done = helm.run("lint", "--strict", "--quiet", TESTENV_CHART)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("database", ENGINE_IMAGES)
def test_every_manifest_is_taken_strictly(
    kubernetes_server: KubernetesServer, helm: Helm, namespace: str, tmp_path: Path, database: str
) -> None:
    definitions.install(kubernetes_server)
    text = rendered(helm, namespace, f"--set=database={database}")
    file = tmp_path / "rendered.yaml"
    file.write_text(text)

    told = kubectl(
        kubernetes_server,
        *["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(file)],
        *["--namespace", namespace],
    )

    kinds = [one["kind"] for one in yaml.safe_load_all(text) if one]
    assert len(told.splitlines()) == len(kinds)
    assert {"DatabaseBackup", "DatabaseBackupStorageClass", "Deployment"} <= set(kinds)


@pytest.mark.parametrize("name", [*ENGINE_IMAGES, "minio"])
def test_its_pods_are_admitted_where_only_restricted_ones_are(
    kubernetes_server: KubernetesServer, helm: Helm, restricted: str, name: str
) -> None:
    options = [f"--set=database={name}"] if name in ENGINE_IMAGES else []
    manifests = [one for one in yaml.safe_load_all(rendered(helm, restricted, *options)) if one]
    account = {"metadata": {"name": "default", "namespace": restricted}}
    path = f"/api/v1/namespaces/{restricted}"
    kubernetes_server.create(f"{path}/serviceaccounts", account)

    answer = kubernetes_server.request(
        "POST",
        f"{path}/pods?dryRun=All&fieldValidation=Strict",
        a_pod(only(manifests, "Deployment", name)),
    )

    assert answer.status == 201, answer.body


@pytest.mark.parametrize("database", ENGINE_IMAGES)
def test_ten_million_rows_are_a_number_to_the_database(helm: Helm, database: str) -> None:
    text = rendered(helm, "testenv", "--set", f"rows=10000000,database={database}")

    manifests = [one for one in yaml.safe_load_all(text) if one]
    (container,) = only(manifests, "Deployment", database)["spec"]["template"]["spec"]["containers"]
    assert {"name": "ROWS", "value": "10000000"} in container["env"]
    assert "ROWS" in only(manifests, "ConfigMap", database)["data"]["start.sh"]


@pytest.mark.parametrize("database", ENGINE_IMAGES)
def test_a_database_comes_with_the_scripts_that_its_pod_and_the_targets_run(
    helm: Helm, tmp_path: Path, database: str
) -> None:
    text = rendered(helm, "testenv", "--set", f"database={database}")

    found = only([one for one in yaml.safe_load_all(text) if one], "ConfigMap", database)["data"]
    for name in ("start.sh", "ready.sh", "drop.sh"):
        script = tmp_path / name
        script.write_text(found[name])
        done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_database_that_is_not_there_yet_is_refused(helm: Helm) -> None:
    done = helm.run("template", NAMESPACE, TESTENV_CHART, "--set", "database=oracle")

    assert done.returncode == 1
    known = ", ".join(sorted(ENGINE_IMAGES))
    assert f'database: "oracle" is not there yet; it can be {known}' in done.stderr
