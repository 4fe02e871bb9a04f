"""Write what is generated of docs/, and the chart's dashboards. Run by `make generate`."""

from __future__ import annotations

from pathlib import Path

from handbook import api, metrics, retention_picture
from handbook.dashboards import DASHBOARDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHART_DASHBOARDS = ROOT / "deploy" / "helm" / "db-backup-controller" / "dashboards"


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    metrics_page = DOCS / "metrics.md"
    return {
        DOCS / "reference" / "api.md": api.page(),
        DOCS / "assets" / "retention.svg": retention_picture.picture(),
        metrics_page: metrics.page(metrics_page.read_text()),
        **{CHART_DASHBOARDS / name: one.to_json() for name, one in DASHBOARDS.items()},
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
