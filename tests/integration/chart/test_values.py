"""Every value: documented, in the schema, of effect; and wrong ones refused by their name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.helm import CHART, RELEASE, Helm

PAGE = Path(__file__).parents[3] / "docs" / "install.md"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
IMAGE = '--set-json=image.repo="registry.example.com/db-backup-controller"'


def leaves(
    node: yaml.MappingNode, schema: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, yaml.Node, int]]:
    """The values that a person sets: path, node and line of the key."""
    assert schema.get("additionalProperties") is False, f"{path}: a typo would pass"
    names = {key.value for key, _ in node.value} | ({"global"} if not path else set())
    assert set(schema["properties"]) == names, path
    for key, value in node.value:
        inner = schema["properties"][key.value]
        where = f"{path}{key.value}"
        if "properties" in inner:
            yield from leaves(value, inner, f"{where}.")
        else:
            yield where, value, key.start_mark.line


def values() -> dict[str, tuple[yaml.Node, str]]:
    """Path -> its node and the comment above it."""
    text = (CHART / "values.yaml").read_text()
    lines = text.splitlines()
    found = {}
    for path, node, line in leaves(yaml.compose(text), SCHEMA):
        first = line
        while lines[first - 1].strip().startswith("#"):
            first -= 1
        comment = " ".join(one.strip().removeprefix("# ") for one in lines[first:line])
        assert comment, f"{path} has no comment"
        found[path] = (node, comment)
    return found


def table() -> str:
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, (node, comment) in values().items():
        default = json.dumps(yaml.SafeLoader("").construct_object(node, deep=True))
        rows.append(f"| `{path}` | `{default}` | {comment} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_the_table_of_the_values() -> None:
    """``GOLDEN=write`` writes it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(before + BEGIN + table() + END + after)
        written = table()

    assert table() == written


#: For each value another one; after it what it needs beside it.
CHANGES = {
    "image.repo": ('"registry.example.com/other"',),
    "image.tag": ('"1.2.3"',),
    "runnerImagePrefix": ('"registry.example.com/runner"',),
    "imagePullPolicy": ('"Always"',),
    "imagePullSecret.registry": (
        '"registry.example.com"',
        "imagePullSecret.user=puller",
        "imagePullSecret.password=secret",
    ),
    "imagePullSecret.user": (
        '"puller"',
        "imagePullSecret.registry=r.example.com",
        "imagePullSecret.password=secret",
    ),
    "imagePullSecret.password": (
        '"secret"',
        "imagePullSecret.registry=r.example.com",
        "imagePullSecret.user=puller",
    ),
    "imagePullSecret.existing": ('"registry"',),
    "targetNamespace": ('"backups"',),
    "replicas": ("2",),
    "jsonLog": ("false",),
    "logLevel": ('"debug"',),
    "rescanInterval": ('"10m"',),
    "workers": ("16",),
    "maxRolling": ("1",),
    "apiQPS": ("50",),
    "apiBurst": ("60", "apiQPS=50"),
    "extraEnv": ('[{"name": "NO_PROXY", "value": "10.0.0.0/8"}]',),
    "resources": ('{"limits": {"cpu": "1"}}',),
    "podAnnotations": ('{"example.com/team": "storage"}',),
    "priorityClassName": ('"system-cluster-critical"',),
    "nodeSelector": ('{"kubernetes.io/os": "linux"}',),
    "tolerations": ('[{"operator": "Exists"}]',),
    "affinity": ('{"nodeAffinity": {}}',),
    "networkPolicy.enabled": ("false",),
    "crds.apply": ("false",),
    "enableServiceMonitor": ("true",),
    "monitorLabels": ('{"release": "prometheus"}', "enableServiceMonitor=true"),
    "enableGrafanaDashboard": ("true",),
    "grafanaDashboardLabels": ('{"team": "storage"}', "enableGrafanaDashboard=true"),
    "alertmanager.enableRules": ("true",),
    "alertmanager.runbookURL": (
        '"https://docs.example.com/runbooks/"',
        "alertmanager.enableRules=true",
    ),
    "alertmanager.customRules": (
        '[{"record": "a", "expr": "1"}]',
        "alertmanager.enableRules=true",
    ),
    "alertmanager.jobFailed.for": ('"30m"', "alertmanager.enableRules=true"),
}


def test_there_is_a_change_of_every_value() -> None:
    assert set(CHANGES) == set(values())


@pytest.mark.parametrize("path", CHANGES)
def test_a_value_has_an_effect(helm: Helm, path: str) -> None:
    changed, *needed = CHANGES[path]
    beside = [f"--set={one}" for one in needed]
    if path in {"imagePullSecret.registry", "imagePullSecret.user", "imagePullSecret.password"}:
        before = helm.template(IMAGE, *beside, f"--set={path}=another")
    else:
        before = helm.template(IMAGE, *beside)

    assert before != helm.template(IMAGE, *beside, f"--set-json={path}={changed}")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        # Unknown names, in every section.
        ("enableGrafanaDashboards=true", "additional properties 'enableGrafanaDashboards'"),
        ("image.repository=a", "'/image': additional properties 'repository'"),
        ("imagePullSecret.name=a", "'/imagePullSecret': additional properties 'name'"),
        ("networkPolicy.enable=true", "'/networkPolicy': additional properties 'enable'"),
        ("crds.install=true", "'/crds': additional properties 'install'"),
        ("alertmanager.enabled=true", "'/alertmanager': additional properties 'enabled'"),
        ("alertmanager.jobFailed.fro=5m", "'/alertmanager/jobFailed': additional properties 'fro'"),
        ("resources.limit.cpu=1", "'/resources': additional properties 'limit'"),
        ("affinity.nodeAfinity=1", "'/affinity': additional properties 'nodeAfinity'"),
        ("tolerations[0].keys=a", "'/tolerations/0': additional properties 'keys'"),
        ("extraEnv[0].valu=a", "'/extraEnv/0'"),
        # Wrong types and ranges.
        ("replicas=-1", "'/replicas': minimum"),
        ("replicas=two", "'/replicas': got string, want integer"),
        ("jsonLog=maybe", "'/jsonLog': got string, want boolean"),
        ("logLevel=loud", "'/logLevel': value must be one of"),
        ("rescanInterval=hourly", "'/rescanInterval': 'hourly' does not match"),
        ("workers=0", "'/workers': minimum"),
        ("apiQPS=fast", "'/apiQPS': got string, want integer"),
        ("imagePullPolicy=Sometimes", "'/imagePullPolicy': value must be one of"),
        ("image.repo=https://registry.example.com/a", "'/image/repo'"),
        ("image.tag=a b", "'/image/tag'"),
        ("runnerImagePrefix=registry.example.com/a/", "'/runnerImagePrefix'"),
        ("targetNamespace=Backups", "'/targetNamespace'"),
        ("nodeSelector.disk=1", "'/nodeSelector/disk': got number, want string"),
        ("alertmanager.jobFailed.for=soon", "'/alertmanager/jobFailed/for'"),
        ("alertmanager.runbookURL=", "'/alertmanager/runbookURL'"),
        ("grafanaDashboardLabels.team=1", "'/grafanaDashboardLabels/team': got number"),
        ("alertmanager.customRules[0].alert=a", "'/alertmanager/customRules/0': missing property"),
        ("extraEnv[0].name=LOG_LEVEL", "'/extraEnv/0/name'"),
        # What crosses values.
        ("image.repo=", "image.repo: name the controller's image"),
        ("apiBurst=5", "apiBurst means nothing without apiQPS"),
        ("imagePullSecret.registry=a", "imagePullSecret.registry needs imagePullSecret.user"),
        ("imagePullSecret.user=a", "need imagePullSecret.registry"),
        (
            "imagePullSecret.existing=a,imagePullSecret.registry=b",
            "imagePullSecret: registry and existing: set one of them",
        ),
        (
            "alertmanager.customRules[0].alert=a,alertmanager.customRules[0].expr=b",
            "alertmanager.customRules needs alertmanager.enableRules",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, setting: str, words: str) -> None:
    done = helm.run("template", RELEASE, CHART, IMAGE, "--set", setting)

    assert done.returncode == 1
    assert words in done.stderr


def test_a_password_is_in_no_refusal(helm: Helm) -> None:
    done = helm.run(
        "template", RELEASE, CHART, IMAGE, "--set", "imagePullSecret.password=canary-secret"
    )

    assert done.returncode == 1
    assert "canary-secret" not in done.stdout + done.stderr
