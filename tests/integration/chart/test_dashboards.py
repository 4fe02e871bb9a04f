"""The Grafana dashboards that the chart brings.

Whether their queries find anything in a running system: tests/integration/jobs/test_prometheus.py.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from tests.integration.chart.grafana import FILES, FOLDER, asked, dashboard, panels
from tests.integration.chart.test_rendering import only, values_of
from tests.servers.helm import RELEASE, Helm
from tests.servers.prometheus import Promtool

DOCS = Path(__file__).parents[3] / "docs"
NAME = f"{RELEASE}-dashboards"
METRIC = re.compile(r"db_backup_controller_\w+")


def test_they_come_with_the_label_that_the_sidecar_looks_for(helm: Helm) -> None:
    manifests = helm.manifests(*values_of("default"), "--set=enableGrafanaDashboard=true")
    found = only(manifests, "ConfigMap", NAME)

    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"  # as in the Go original
    assert found["data"] == {name: (FOLDER / name).read_text() for name in FILES}
    assert len(FILES) == 2


def test_they_come_only_when_they_are_asked_for(helm: Helm) -> None:
    kinds = {one["kind"] for one in helm.manifests(*values_of("default"))}

    assert "ConfigMap" not in kinds


def test_prometheus_takes_every_query(promtool: Promtool, tmp_path: Path) -> None:
    queries = asked()
    file = tmp_path / "rules.yaml"
    rules = [
        {"record": f"query_{number}", "expr": one.promql(namespace=".*", name="shop")}
        for number, one in enumerate(queries)
    ]
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    assert f"{len(queries)} rules found" in promtool.check_rules(file)


def test_every_metric_is_one_of_the_reference() -> None:
    documented = {
        name
        for page in ("metrics.md", "controller.md")
        for name in re.findall(r"^\| `(db_\w+)` \|", (DOCS / page).read_text(), re.MULTILINE)
    }
    variables = [
        one["definition"]
        for name in FILES
        for one in dashboard(name)["templating"]["list"]
        if one["type"] == "query"
    ]

    texts = [*variables, *(one.expr for one in asked())]
    used = {name for text in texts for name in METRIC.findall(text)}

    assert used <= documented
    assert len(used) > 30


@pytest.mark.parametrize("name", FILES)
def test_the_data_source_is_what_a_person_chooses(name: str) -> None:
    found = dashboard(name)

    (source,) = [one for one in found["templating"]["list"] if one["name"] == "datasource"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for panel in panels(name):
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", FILES)
def test_ids_are_unique_and_panels_lie_side_by_side(name: str) -> None:
    found = dashboard(name)

    assert found["uid"] == name.removesuffix(".json")
    assert max(Counter(panel["id"] for panel in found["panels"]).values()) == 1
    places = [panel["gridPos"] for panel in found["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_the_ids_that_people_have_bookmarked_stay() -> None:
    """A panel's id comes from its title: whoever changes a title changes the address."""
    ids = {panel["title"]: panel["id"] for name in FILES for panel in panels(name)}

    assert ids["Without a fresh backup"] == 214897
    assert ids["Age of the newest backup"] == 720980


def test_the_list_of_databases_leads_to_the_page_of_each() -> None:
    (table,) = [
        panel
        for panel in panels("db-backup-overview.json")
        if panel["type"] == "table" and "location" not in panel["targets"][0]["expr"]
    ]
    links = [
        link["url"]
        for override in table["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "links"
        for link in one["value"]
    ]

    (url,) = links
    assert url.startswith("/d/db-backup-database?")
    chosen = {one["name"] for one in dashboard("db-backup-database.json")["templating"]["list"]}
    assert set(re.findall(r"var-(\w+)=", url)) == chosen - {"datasource"}
