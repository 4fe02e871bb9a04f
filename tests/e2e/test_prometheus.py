"""A Prometheus finds the pods and scrapes them, as docs/install.md has its configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import Release
from tests.e2e.tenant import CONTROLLER, NAME, Tenant
from tests.integration.chart import scraped
from tests.servers import prometheus

_PAGE = Path(__file__).parents[2] / "docs" / "install.md"
_BLOCK = re.compile(r"^```yaml\n(scrape_configs:\n.*?)^```$", re.MULTILINE | re.DOTALL)


def documented(kubeconfig: Path) -> list[dict[str, Any]]:
    """The page's `scrape_configs`, for a Prometheus that is outside of the cluster."""
    (text,) = _BLOCK.findall(_PAGE.read_text())
    found: list[dict[str, Any]] = yaml.safe_load(text)["scrape_configs"]
    for one in found:
        for discovery in one["kubernetes_sd_configs"]:
            discovery["kubeconfig_file"] = str(kubeconfig)
    return found


def test_every_query_of_the_dashboards_has_data_and_no_alert_is_raised(
    tenant: Tenant, release: Release, prometheus_program: Path, tmp_path: Path
) -> None:
    tenant.create(verification={"every": "7d"})
    tenant.wait_for("Ready")
    tenant.first_backup()
    tenant.exec("runner", "verify").must(0)
    tenant.exec("restore", "--at", "now", "--database", f"{tenant.database}_look").must(0)
    configuration = scraped.configuration(tmp_path, documented(release.node.kubeconfig))

    with prometheus.running(prometheus_program, configuration) as server:
        scraped.wait_until_all_is_well(server, namespace=tenant.namespace, name=NAME)
        up = {one["metric"]["pod"] for one in server.query("up == 1")}

    controllers = tenant.kubectl.list("pods", "--namespace", CONTROLLER)
    expected = {pod["metadata"]["name"] for pod in (*controllers, tenant.pod())}
    assert expected <= up
