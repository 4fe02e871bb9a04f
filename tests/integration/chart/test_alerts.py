"""The alerts that the chart ships, as Prometheus' own tool reads them.

Each is raised when it should be, and quiet when nothing is wrong: the cases are in alerts/.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from runner.cli.main import cli as runner_cli
from tests.integration.chart.alerts import jobs, places, stored
from tests.integration.chart.alerts.healthy import HEALTHY
from tests.integration.chart.alerts.series import Case
from tests.integration.chart.test_rendering import only, values_of
from tests.servers.helm import CHART, Helm
from tests.servers.prometheus import Promtool

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks.md"
#: Parts that a person looks for in every section.
PARTS = ("At risk.", "Look first.", "Cure.", "Silence.")
#: These say nothing of one object.
OF_THE_CONTROLLER = re.compile("Controller")
CASES = (*jobs.CASES, *stored.CASES, *places.CASES)
EXAMPLES = {case.alert: case for case in reversed(CASES) if case.example}


@pytest.fixture(scope="module")
def groups(helm: Helm) -> list[dict[str, Any]]:
    given = [*values_of("everything"), "--set=alertmanager.jobFailed.for=10m"]
    spec = only(helm.manifests(*given), "PrometheusRule")["spec"]
    found: list[dict[str, Any]] = spec["groups"]
    return found


@pytest.fixture(scope="module")
def rules(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The chart's own, by their name."""
    return {rule["alert"]: rule for rule in groups[0]["rules"]}


@pytest.fixture(scope="module")
def rules_file(groups: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    return file


def test_prometheus_takes_the_rules(promtool: Promtool, rules_file: Path) -> None:
    assert "SUCCESS" in promtool.check_rules(rules_file)


def test_what_the_documentation_makes_of_the_list_is_a_file_of_rules(
    promtool: Promtool, rules: Mapping[str, Any], tmp_path: Path
) -> None:
    """For those who have no Prometheus operator."""
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Alerts worth having")[2]
    (commands,) = re.findall(r"```\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    make, check = commands.splitlines()
    (tmp_path / "alerts.yaml").write_text((CHART / "alerts.yaml").read_text())

    subprocess.run(["sh", "-c", make], cwd=tmp_path, check=True, timeout=60)

    assert check == "promtool check rules rules.yaml"
    assert f"{len(rules)} rules found" in promtool.check_rules(tmp_path / "rules.yaml")


# -- when they are raised -------------------------------------------------------------


def read_by_prometheus(case: Case) -> list[dict[str, str]]:
    return [{"series": series, "values": values} for series, values in case.series.items()]


def the_test(case: Case, rule: Mapping[str, Any]) -> dict[str, Any]:
    """A test as promtool takes it: how many alerts of this name fire for each object, and when."""
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    found: dict[str, Any] = {
        "input_series": read_by_prometheus(case),
        "promql_expr_test": [
            {
                "expr": f"count by (name, location) ({firing})",
                "eval_time": moment,
                "exp_samples": [{"labels": _labels(one), "value": 1} for one in objects],
            }
            for moment, objects in case.firing.items()
        ],
    }
    if case.example:
        found["alert_rule_test"] = [
            {
                "eval_time": case.example.at,
                "alertname": case.alert,
                "exp_alerts": [
                    {
                        "exp_labels": case.example.labels | rule["labels"],
                        "exp_annotations": {
                            key: _filled_in(text, case) for key, text in rule["annotations"].items()
                        },
                    }
                ],
            }
        ]
    return found


def _labels(name: str) -> str:
    """`name`, `name/location`, or nothing for the controller."""
    pairs = zip(("name", "location"), name.split("/"), strict=False)
    return "{" + ",".join(f'{key}="{value}"' for key, value in pairs if value) + "}"


def _filled_in(text: str, case: Case) -> str:
    """What Prometheus should make of a text: a label that it does not have is an error here."""
    assert case.example
    labels, value = case.example.labels, case.example.value
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda label: labels[label[1]], text)
    return re.sub(r"{{ \$value( \| \w+)? }}", value, text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.what}")
def test_an_alert_is_raised_in_time_and_otherwise_quiet(
    promtool: Promtool, rules: Mapping[str, Any], tmp_path: Path, case: Case
) -> None:
    rule = rules[case.alert]
    # Alone: for some days of minutes all of them take long.
    alone = tmp_path / "rules.yaml"
    alone.write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))

    assert tried(promtool, alone, case, the_test(case, rule)) == ""


def tried(promtool: Promtool, rules_file: Path, case: Case, test: Mapping[str, Any]) -> str:
    """What promtool says against a test; empty: nothing."""
    file = rules_file.with_name(f"test-{case.what.replace(' ', '-')[:40]}.yaml")
    content = {
        "rule_files": [str(rules_file)],
        "evaluation_interval": case.interval,
        "tests": [dict(test) | {"interval": case.interval}],
    }
    file.write_text(yaml.safe_dump(content))
    return promtool.test_rules(file)


def test_every_alert_has_a_case_that_raises_it_and_one_that_does_not(
    rules: Mapping[str, Any],
) -> None:
    raised = {case.alert for case in CASES if any(case.firing.values())}
    quiet = {case.alert for case in CASES if not any(case.firing.values())}

    assert raised == set(rules)
    assert quiet == set(rules)
    assert set(EXAMPLES) == set(rules)


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.what)
def test_while_all_is_well_no_alert_is_even_pending(
    promtool: Promtool, rules_file: Path, case: Case
) -> None:
    test = {
        "input_series": read_by_prometheus(case),
        "promql_expr_test": [
            {"expr": "ALERTS", "eval_time": moment, "exp_samples": []} for moment in case.firing
        ],
    }

    assert tried(promtool, rules_file, case, test) == ""


# -- what they say --------------------------------------------------------------------


def test_each_names_its_object_how_bad_it_is_and_where_the_cure_is(
    helm: Helm, rules: Mapping[str, Any]
) -> None:
    for name, rule in rules.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        texts = rule["annotations"]
        assert set(texts) - {"message"} == {"summary", "description", "runbook_url"}, name
        assert len(texts["summary"]) < 160
        if not OF_THE_CONTROLLER.match(name):
            assert "{{ $labels.namespace }}/{{ $labels.name }}" in texts["summary"], name
        assert texts["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    elsewhere = helm.manifests(
        *values_of("everything"), "--set=alertmanager.runbookURL=https://docs.example.com/runbooks/"
    )
    first = only(elsewhere, "PrometheusRule")["spec"]["groups"][0]["rules"][0]
    assert first["annotations"]["runbook_url"] == "https://docs.example.com/runbooks/#jobfailed"


def test_the_go_original_s_alert_is_as_it_was(helm: Helm) -> None:
    """Routes, silences and templates that were made for it go on working."""
    rule = only(helm.manifests(*values_of("everything")), "PrometheusRule")
    shipped, custom = rule["spec"]["groups"]

    failed = shipped["rules"][0]
    assert (shipped["name"], failed["alert"]) == ("db-backup-controller.rules", "JobFailed")
    assert failed["expr"] == "db_backup_controller_last_job_success == 0"
    assert failed["for"] == "30m"  # the value of this case
    assert "{{ $labels.job_type }}" in failed["annotations"]["message"]
    assert custom["name"] == "custom.rules"
    assert [one["alert"] for one in custom["rules"]] == ["ManyBackups"]


def sections() -> dict[str, str]:
    """The runbooks by their headings."""
    parts = re.split(r"^## (\w+)\n", RUNBOOKS.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert(
    rules: Mapping[str, Any],
) -> None:
    found = sections()
    found.pop("Silences")

    assert set(found) == set(rules)
    for name, text in found.items():
        severity, after = re.match(r"\n\*\*(\w+)\*\*, (?:at once|after (\w+))\.", text).groups()  # type: ignore[union-attr]
        rule = rules[name]
        assert (severity, after) == (rule["labels"]["severity"], rule.get("for")), name
        positions = [text.index(f"\n**{part}**") for part in PARTS]
        assert positions == sorted(positions), name
        assert "```\nkubectl " in text, f"{name}: nothing to look at first"


def test_the_list_of_runbooks_names_each_once(rules: Mapping[str, Any]) -> None:
    top = RUNBOOKS.read_text().partition("\n## ")[0]

    linked = re.findall(r"\[(\w+)\]\(#(\w+)\)", top)
    assert sorted(name for name, _ in linked) == sorted(rules)
    assert all(anchor == name.lower() for name, anchor in linked)


def test_commands_of_the_runbooks_are_taken_by_the_runner() -> None:
    """Those in the pod; the others are kubectl's."""
    commands = re.findall(r"deploy/\$RUNNER -- ([^`#\n]+)", RUNBOOKS.read_text())
    given = [words.split() for words in commands if words.strip() != "..."]

    assert len(given) > 15
    for words in given:
        verb, *arguments = words[1:] if words[0] == "runner" else words
        command = runner_cli.get_command(click.Context(runner_cli), verb)
        assert command is not None, words
        command.make_context(verb, arguments)
