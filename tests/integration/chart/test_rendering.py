"""What the chart makes of values, without a cluster.

After a change that is meant: ``GOLDEN=write .venv/bin/pytest tests/integration/chart``
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import config
from controller.api.crd import crds
from controller.resources.labels import MANAGED_BY
from tests.servers.helm import CHART, Helm

CASES = Path(__file__).parent / "cases"
GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[3]
NAMES = sorted(file.stem for file in CASES.iterdir())
#: Variables of docs/controller.md that the chart leaves alone, and why.
NOT_SET = {
    "HOSTNAME": "the kubelet sets it",
    "LISTEN": "the default port is what Service, probes and policy name",
}


def values_of(case: str) -> tuple[str, Path]:
    return ("--values", CASES / f"{case}.yaml")


def only(manifests: list[dict[str, Any]], kind: str, name: str = "db-backup-controller") -> Any:
    (found,) = [one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def environment(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """Of the controller's container; where a field of the pod is named, its path."""
    (container,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {
        one["name"]: one["value"] if "value" in one else one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container["env"]
    }


@pytest.mark.parametrize("case", NAMES)
def test_the_manifests_are_those_of_the_golden_file(helm: Helm, case: str) -> None:
    file = GOLDEN / f"{case}.yaml"
    text = helm.template(*values_of(case))
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text)

    assert text == file.read_text()


def test_every_golden_file_has_its_case() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == NAMES


@pytest.mark.parametrize("case", NAMES)
def test_lint_has_nothing_to_say(helm: Helm, case: str) -> None:
    done = helm.run("lint", "--strict", "--quiet", CHART, *values_of(case))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("kind", "file"), [("ClusterRole", "clusterrole.yaml"), ("Role", "role.yaml")]
)
def test_the_rights_are_those_that_the_controller_is_tested_with(
    helm: Helm, kind: str, file: str
) -> None:
    manifests = helm.manifests(*values_of("default"))
    tested = yaml.safe_load((ROOT / "deploy" / "rbac" / file).read_text())

    assert tested["rules"] == only(manifests, kind)["rules"]
    binding = only(manifests, f"{kind}Binding")
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
        kind,
        "db-backup-controller",
    )
    account = {"kind": "ServiceAccount", "namespace": "db-backup-controller"}
    assert binding["subjects"] == [account | {"name": "db-backup-controller"}]


def test_nobody_else_gets_rights_but_the_hook(helm: Helm) -> None:
    manifests = helm.manifests(*values_of("everything"))
    hook = only(manifests, "ClusterRole", "db-backup-controller-crds")

    roles = [one for one in manifests if one["kind"] in {"Role", "ClusterRole"}]
    assert len(roles) == 3
    (rule,) = hook["rules"]
    assert set(rule["resourceNames"]) == set(crds())
    assert rule["verbs"] == ["get", "create", "patch"]


@pytest.mark.parametrize("case", NAMES)
def test_the_controller_takes_the_environment(helm: Helm, case: str) -> None:
    found = config.read(environment(helm.manifests(*values_of(case))), is_in_cluster=True)

    assert found.identity == "metadata.name"
    if case == "everything":
        assert found.image_prefix == "registry.example.com/db-backup-runner"
        assert (found.workers, found.max_rolling, found.target_namespace) == (16, 1, "default")
        assert (found.is_log_json, found.log_level) == (False, "WARNING")
        assert found.rescan_interval_s == 5400
        assert found.api_limit is not None
        assert (found.api_limit.qps, found.api_limit.burst) == (50, 60)


def test_every_variable_of_the_documentation_is_set_or_left_alone_for_a_reason(helm: Helm) -> None:
    page = (ROOT / "docs" / "controller.md").read_text()
    table = page.partition("## Settings")[2].partition("###")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE))

    given = environment(helm.manifests(*values_of("everything")))

    assert documented - set(NOT_SET) == set(given) - {"NO_PROXY", "NODE_NAME"}  # its extraEnv
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = schema["properties"]["extraEnv"]["items"]["properties"]["name"]["not"]["enum"]
    assert documented - {"HOSTNAME"} == set(refused)


def test_the_credentials_reach_all_who_pull(helm: Helm) -> None:
    manifests = helm.manifests(*values_of("everything"))
    secrets = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one
        for one in manifests
        if one["kind"] == "Secret"
    }
    # The controller reads the one beside the classes' Secrets; the hook runs before both are there.
    assert set(secrets) == {
        ("db-backup-controller", "db-backup-controller-registry"),
        ("default", "db-backup-controller-registry"),
        ("db-backup-controller", "db-backup-controller-crds-registry"),
    }
    for secret in secrets.values():
        content = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
        (auth,) = content["auths"].values()
        assert base64.b64decode(auth["auth"]) == b'puller:"quoted" and: colons'
    assert environment(manifests)["IMAGE_PULL_SECRET"] == "db-backup-controller-registry"


@pytest.mark.parametrize(
    ("release", "begins"),
    [
        ("backups", "backups-db-backup-controller"),
        ("new-db-backup-controller", "new-db-backup-controller"),
        ("a" * 53, "a" * 52),  # the longest that Helm takes
    ],
)
def test_a_release_of_another_name_has_objects_of_its_own(
    helm: Helm, release: str, begins: str
) -> None:
    done = helm.run("template", release, CHART, *values_of("everything"))

    names = {one["metadata"]["name"] for one in yaml.safe_load_all(done.stdout)}
    assert {name.partition(begins)[0] for name in names} == {""}
    assert max(map(len, names - {f"{begins}-crds-registry"})) <= 63


def test_names_of_digits_stay_texts(helm: Helm) -> None:
    """YAML takes them for numbers, and Kubernetes for names."""
    names = ["--set-string=targetNamespace=0x10,priorityClassName=1e3,imagePullSecret.existing=7"]
    done = helm.run("template", "42", CHART, *values_of("default"), *names, "--namespace=2026")

    manifests = list(yaml.safe_load_all(done.stdout))
    for one in manifests:
        metadata = one["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "42"
        assert metadata.get("namespace", "2026") in {"2026", "0x10"}
    pod = only(manifests, "Deployment", "42-db-backup-controller")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "7"}]
    assert pod["priorityClassName"] == "1e3"
    (subject,) = only(manifests, "RoleBinding", "42-db-backup-controller")["subjects"]
    assert subject["namespace"] == "2026"


def test_nothing_looks_as_if_the_controller_had_made_it(helm: Helm) -> None:
    """It removes what has its label and belongs to no object."""
    for one in helm.manifests(*values_of("everything")):
        assert one["metadata"]["labels"]["app.kubernetes.io/managed-by"] != MANAGED_BY


def test_the_hook_runs_first_and_no_definition_is_the_release_s(helm: Helm) -> None:
    manifests = helm.manifests(*values_of("everything"))

    assert not [one for one in manifests if one["kind"] == "CustomResourceDefinition"]
    assert not (CHART / "crds").exists()  # Helm would install and never upgrade them
    job = only(manifests, "Job", "db-backup-controller-crds")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["controller", "crds", "--apply"]
