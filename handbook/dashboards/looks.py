"""What both dashboards have in common."""

from __future__ import annotations

from handbook.dashboards.grafana import Limits

#: Parts of addresses that people have bookmarked.
UID_OVERVIEW, UID_DATABASE = "db-backup-overview", "db-backup-database"
#: More labels of a metric.
BACKUPS = ',job_type="backup"'
IS_BAD = Limits(red=1)
MUST_BE = Limits(red=1, is_low_bad=True)
#: As the alerts: late is later than one pause of the schedule, overdue than two.
INTERVALS = Limits(yellow=1.1, red=2)
