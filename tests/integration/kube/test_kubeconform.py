"""Every manifest that the project ships or makes, by the schema of its kind and strictly.

The server dry runs of the chart ask a server; this is what people's own checks will say, who have
the manifests in a repository and run kubeconform over it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api import v1
from testenv.deploy import ENGINE_IMAGES, NAMESPACE, TESTENV_CHART
from tests.servers.helm import Helm
from tests.servers.kubeconform import Findings, Kubeconform

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
CHART_GOLDEN = ROOT / "tests" / "integration" / "chart" / "golden"
RUNNER_GOLDEN = ROOT / "tests" / "unit" / "resources" / "golden"
FILES = sorted(
    [
        *(ROOT / "deploy" / "crds").glob("*.yaml"),
        *(ROOT / "deploy" / "rbac").glob("*.yaml"),
        *CHART_GOLDEN.glob("*.yaml"),
        *EXAMPLES.glob("*.yaml"),
        *RUNNER_GOLDEN.glob("*.yaml"),
    ]
)


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_file_has_nothing_that_its_kind_does_not_know(
    kubeconform: Kubeconform, file: Path
) -> None:
    found = documents(file.read_text())

    assert found
    assert kubeconform.check([file]) == Findings(valid=len(found))


@pytest.mark.parametrize("database", ENGINE_IMAGES)
def test_so_it_is_with_the_test_environment(
    kubeconform: Kubeconform, helm: Helm, tmp_path: Path, database: str
) -> None:
    done = helm.run("template", NAMESPACE, TESTENV_CHART, f"--set=database={database}")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "rendered.yaml"
    file.write_text(done.stdout)

    assert kubeconform.check([file]) == Findings(valid=len(documents(done.stdout)))


@pytest.mark.parametrize(
    "files",
    [
        ["go-original.yaml"],
        ["quick-start.yaml"],
        ["every-field.yaml", "every-storage.yaml"],
        ["cockroach.yaml", "storage-class.yaml"],
        ["database-backup.yaml", "storage-class.yaml"],
        ["database-backup.yaml", "storage-class.yaml", "secrets.yaml", "--reveal-secrets"],
    ],
    ids=" ".join,
)
def test_so_it_is_with_what_is_rendered_of_an_example(
    kubeconform: Kubeconform, tmp_path: Path, files: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "controller.cli", "render", *files],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / "rendered.yaml"
    file.write_text(done.stdout)

    assert kubeconform.check([file]) == Findings(valid=len(documents(done.stdout)))


def renamed(name: str, wrong: str) -> Callable[[Any], Any]:
    """Write one field, wherever it is, as nobody knows it."""

    def change(value: Any) -> Any:
        if isinstance(value, list):
            return [change(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {(wrong if key == name else key): change(item) for key, item in value.items()}

    return change


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("Deployment", "readinessProbe", "readynessProbe"),
        ("ServiceAccount", "labels", "lables"),
        ("ServiceMonitor", "endpoints", "endpoint"),
        ("PodMonitor", "matchLabels", "matchlabels"),
        ("PrometheusRule", "expr", "expression"),
    ],
)
def test_a_typo_in_the_chart_is_found(
    kubeconform: Kubeconform, tmp_path: Path, kind: str, name: str, wrong: str
) -> None:
    """Else all of the above would say nothing."""
    rendered = documents((CHART_GOLDEN / "everything.yaml").read_text())
    sound = [one for one in rendered if one["kind"] == kind]
    assert sound
    file = tmp_path / "typo.yaml"
    file.write_text(yaml.safe_dump_all(map(renamed(name, wrong), sound)))

    found = kubeconform.check([file])

    assert (found.valid, len(found.problems)) == (0, len(sound))
    assert all(f"additional properties '{wrong}' not allowed" in one for one in found.problems)


@pytest.mark.parametrize(
    ("example", "name", "wrong"),
    [
        ("database-backup.yaml", "keepDaily", "keepDayly"),
        ("database-backup.yaml", "namespace", "namspace"),
        ("storage-class.yaml", "storageBucket", "bucket"),
    ],
)
def test_a_typo_in_an_object_of_this_project_is_found(
    kubeconform: Kubeconform, tmp_path: Path, example: str, name: str, wrong: str
) -> None:
    (sound,) = documents((EXAMPLES / example).read_text())
    file = tmp_path / "typo.yaml"
    file.write_text(yaml.safe_dump(renamed(name, wrong)(sound)))

    found = kubeconform.check([file])

    assert (found.valid, len(found.problems)) == (0, 1)
    assert f"additional properties '{wrong}' not allowed" in found.problems[0]


def test_a_key_that_is_there_twice_is_found(kubeconform: Kubeconform, tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    sound = (EXAMPLES / "database-backup.yaml").read_text()
    file.write_text(sound + "  databaseType: mysql\n")

    (problem,) = kubeconform.check([file]).problems

    assert '"databaseType" already set in map' in problem


def test_a_kind_that_nobody_serves_is_a_problem_and_not_passed_over(
    kubeconform: Kubeconform, tmp_path: Path
) -> None:
    file = tmp_path / "kind.yaml"
    kind = f"{v1.DatabaseBackup.KIND}s"
    file.write_text(f"{{apiVersion: backup.nect.com/v1, kind: {kind}, metadata: {{name: shop}}}}")

    found = kubeconform.check([file])

    assert found.problems == [f"{kind} shop: could not find schema for {kind}"]
