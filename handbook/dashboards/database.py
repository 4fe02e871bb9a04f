"""The page of one database: how it is protected, how much is stored, and what its jobs do."""

from __future__ import annotations

from handbook.dashboards.grafana import Dashboard, Query, Row, Unit, Variable, graph, stat
from handbook.dashboards.looks import BACKUPS, INTERVALS, MUST_BE, UID_DATABASE, UID_OVERVIEW

_FAILED = ',result="failure"'


def _one(metric: str, labels: str = "") -> str:
    """A metric of the database that was chosen."""
    return f'db_backup_controller_{metric}{{namespace="$namespace",name="$name"{labels}}}'


_PROTECTION = Row(
    title="Is it protected",
    panels=(
        stat(
            "Age of the newest backup",
            f"min(time() - ({_one('last_successful_backup')} > 0))",
            Unit.SECONDS,
        ),
        stat(
            "In pauses of the schedule",
            f"min(time() - ({_one('last_successful_backup')} > 0))"
            f" / max({_one('expected_interval_seconds')} > 0)",
            Unit.RATIO,
            limits=INTERVALS,
            description="One pause is the longest between two backups of the coming year.",
        ),
        stat("Next backup", f"1000 * max({_one('next_scheduled_backup')} > 0)", Unit.MOMENT),
        stat(
            "Last backup succeeded",
            f"max({_one('last_job_success', BACKUPS)})",
            Unit.YES_NO,
            limits=MUST_BE,
        ),
        stat("Stored backups", f"max({_one('stored_backup_count')})"),
        stat(
            "Restorable back to",
            f"1000 * min({_one('location_oldest_restorable_timestamp_seconds')})",
            Unit.MOMENT,
        ),
        graph(
            "Age of the newest backup, by location",
            Unit.SECONDS,
            Query(
                expr="min by (location) (time() -"
                f" ({_one('location_last_successful_backup_timestamp_seconds')} > 0))",
                name="{{location}}",
            ),
            Query(
                expr=f"2 * max({_one('expected_interval_seconds')} > 0)",
                name="overdue",
            ),
        ),
        graph(
            "Age of the last verification, by location",
            Unit.SECONDS,
            Query(
                expr="min by (location) (time() -"
                f" ({_one('location_last_verified_timestamp_seconds')} > 0))",
                name="{{location}}",
            ),
            Query(
                expr=f"2 * max({_one('expected_verification_interval_seconds')} > 0)",
                name="overdue",
            ),
        ),
    ),
)

_SIZES = Row(
    title="How much there is",
    panels=(
        graph(
            "Size of a backup",
            Unit.BYTES,
            Query(expr=f"max({_one('last_backup_plain_bytes')})", name="data"),
            Query(
                expr=f"max by (location) ({_one('location_last_backup_stored_bytes')})",
                name="in {{location}}",
            ),
        ),
        graph(
            "All backups of a location",
            Unit.BYTES,
            Query(expr=f"max by (location) ({_one('location_stored_bytes')})", name="{{location}}"),
        ),
        graph(
            "Backups in a location",
            Unit.COUNT,
            Query(
                expr=f"max by (location) ({_one('location_stored_backup_count')})",
                name="{{location}}",
            ),
        ),
        graph(
            "Backups that vanished, of a day",
            Unit.COUNT,
            Query(
                expr=f"sum by (location) (increase({_one('location_vanished_backups_total')}[1d]))",
                name="{{location}}",
            ),
            description="Gone, and no retention rule dropped them.",
        ),
    ),
)

_JOBS = Row(
    title="Jobs",
    panels=(
        graph(
            "How long jobs take",
            Unit.SECONDS,
            Query(
                expr=f"max by (job_type) ({_one('last_job_duration_seconds')})",
                name="{{job_type}}",
            ),
        ),
        graph(
            "Where a backup's time goes",
            Unit.SECONDS,
            Query(expr=f"max by (stage) ({_one('last_backup_stage_seconds')})", name="{{stage}}"),
            description="Time at work of each stage: the largest is the bottleneck.",
        ),
        graph(
            "Jobs of a day, by result",
            Unit.COUNT,
            Query(
                expr=f"sum by (job_type, result) (increase({_one('jobs_total')}[1d]))",
                name="{{job_type}} {{result}}",
            ),
        ),
        graph(
            "For how long a job runs",
            Unit.SECONDS,
            Query(
                expr="max by (job_type)"
                f" ((time() - {_one('job_started_timestamp_seconds')})"
                f" * {_one('job_running')})",
                name="{{job_type}}",
            ),
            Query(expr=f"max({_one('job_timeout_seconds')})", name="timeout"),
        ),
        graph(
            "Bytes to and from a location",
            Unit.BYTES_PER_SECOND,
            Query(
                expr="sum by (location, direction)"
                f" (rate({_one('storage_bytes_total')}[$__rate_interval]))",
                name="{{location}} {{direction}}",
            ),
        ),
        graph(
            "Operations that fail",
            Unit.PER_SECOND,
            Query(
                expr="sum by (location, operation)"
                f" (rate({_one('storage_operations_total', _FAILED)}"
                "[$__rate_interval]))",
                name="{{location}} {{operation}}",
            ),
        ),
    ),
)

DATABASE = Dashboard(
    uid=UID_DATABASE,
    title="Database backups: one database",
    description="How one database is protected, how much is stored, and what its jobs do.",
    variables=(
        Variable(
            name="namespace",
            query="label_values(db_backup_controller_runner_started_at, namespace)",
        ),
        Variable(
            name="name",
            query='label_values(db_backup_controller_runner_started_at{namespace="$namespace"},'
            " name)",
        ),
    ),
    rows=(_PROTECTION, _SIZES, _JOBS),
    links={"All databases": UID_OVERVIEW},
)
