"""The Grafana dashboards that the chart brings, from which `make generate` writes its files.

What they show is to be read here; the JSON that Grafana wants is thirty lines a panel. Sums over
targets make a runner's next pod the same line, as in the alerts.
"""

from __future__ import annotations

from collections.abc import Mapping

from handbook.dashboards.database import DATABASE
from handbook.dashboards.grafana import Dashboard
from handbook.dashboards.overview import OVERVIEW

#: By the name of their file.
DASHBOARDS: Mapping[str, Dashboard] = {
    "db-backup-overview.json": OVERVIEW,
    "db-backup-database.json": DATABASE,
}
