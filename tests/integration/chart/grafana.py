"""The dashboards as Grafana reads them from the chart: what each panel asks Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.servers.helm import CHART

FOLDER = CHART / "dashboards"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))


@frozen(kw_only=True)
class Asked:
    """One query of a panel; `legend` as Grafana takes it, with {{label}}."""

    dashboard: str
    panel: str
    expr: str
    legend: str

    @property
    def name(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.legend}"

    def legend_labels(self) -> set[str]:
        return set(re.findall(r"{{(\w+)}}", self.legend))

    def promql(self, **chosen: str) -> str:
        """The expression, with what a person chose above the dashboard filled in."""
        given = {"__rate_interval": "1m"} | chosen
        text = re.sub(r"\$(\w+)", lambda variable: given[variable[1]], self.expr)
        assert "$" not in text
        return text


def dashboard(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


def panels(name: str) -> Iterator[Mapping[str, Any]]:
    """All but the headings."""
    return (panel for panel in dashboard(name)["panels"] if panel["type"] != "row")


def asked() -> list[Asked]:
    return [
        Asked(
            dashboard=Path(name).stem,
            panel=panel["title"],
            expr=target["expr"],
            legend=target["legendFormat"],
        )
        for name in FILES
        for panel in panels(name)
        for target in panel["targets"]
    ]
