"""The chart's alerts and dashboards in a Prometheus that scrapes what really runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.integration.chart.grafana import asked
from tests.integration.jobs.commands import eventually
from tests.servers.helm import CHART
from tests.servers.prometheus import PrometheusServer


def configuration(folder: Path, scraped: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A configuration of Prometheus, with the chart's alerts.

    Args:
        folder: for the file of the alerts.
        scraped: `scrape_configs`.
    """
    rules = folder / "rules.yaml"
    alerts = yaml.safe_load((CHART / "alerts.yaml").read_text())
    rules.write_text(yaml.safe_dump({"groups": [{"name": "chart", "rules": alerts}]}))
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": list(scraped),
    }


def wait_until_all_is_well(server: PrometheusServer, *, namespace: str, name: str) -> None:
    """Until every query of the dashboards has data, and no alert tells anything of an object.

    A query that Prometheus refuses fails the test.
    """

    def problems() -> list[str]:
        missing = _lacking(server, namespace=namespace, name=name)
        return missing + _alarming(server, namespace=namespace)

    eventually(lambda: not problems(), say=lambda: "\n".join(problems()))


def _lacking(server: PrometheusServer, *, namespace: str, name: str) -> list[str]:
    """What the queries lack: data, or a label that their legends name."""
    words = []
    for one in asked():
        is_overview = one.dashboard == "db-backup-overview"
        chosen = {"namespace": ".*"} if is_overview else {"namespace": namespace, "name": name}
        found = server.query(one.promql(**chosen))
        if not found:
            words.append(f"{one.name}: no data: {one.expr}")
        words += [
            f"{one.name}: {sample} lacks a label of its legend"
            for sample in found
            if not one.legend_labels() <= set(sample["metric"])
        ]
    return words


def _alarming(server: PrometheusServer, *, namespace: str) -> list[str]:
    """Alerts that could not be evaluated, or not yet, and what any of them tells of a namespace."""
    (group,) = server.get("rules")["groups"]
    words = []
    for rule in group["rules"]:
        if rule["health"] != "ok":
            words.append(f"{rule['name']} is {rule['health']}: {rule.get('lastError', '')}")
        words += [
            f"{rule['name']} is {alert['state']}"
            for alert in rule["alerts"]
            # Objects of other tests may have no runner that is scraped.
            if alert["labels"].get("namespace") == namespace
        ]
    return words
