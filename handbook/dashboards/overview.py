"""The overview: is every database protected, and do the controller and all runners work."""

from __future__ import annotations

from handbook.dashboards.grafana import (
    Dashboard,
    Limits,
    Query,
    Row,
    Unit,
    Variable,
    graph,
    stat,
    table,
)
from handbook.dashboards.looks import (
    BACKUPS,
    INTERVALS,
    IS_BAD,
    MUST_BE,
    UID_DATABASE,
    UID_OVERVIEW,
)


def _all(metric: str, labels: str = "") -> str:
    """A metric of all databases that were chosen."""
    return f'db_backup_controller_{metric}{{namespace=~"$namespace"{labels}}}'


def _by_database(expr: str, how: str = "max") -> str:
    return f"{how} by (namespace, name) ({expr})"


def _by_location(expr: str, how: str = "max") -> str:
    return f"{how} by (namespace, name, location) ({expr})"


def _count(expr: str) -> str:
    """How many there are; 0 where there is none, which PromQL leaves out."""
    return f"count({expr}) or vector(0)"


_AGE = _by_database(f"time() - ({_all('last_successful_backup')} > 0)", "min")
_INTERVAL = _by_database(f"{_all('expected_interval_seconds')} > 0")

_STATE = Row(
    title="All databases",
    panels=(
        stat("Databases", f"count({_by_database(_all('runner_started_at'))})"),
        stat(
            "Without a fresh backup",
            _count(
                f"{_by_database(_all('runner_started_at'))} unless {_AGE} <= 2 * {_INTERVAL}"
                f" unless {_by_database(_all('expected_interval_seconds'))} == 0"
            ),
            limits=IS_BAD,
            description="With a schedule, and with no backup within two of its longest pauses.",
        ),
        stat(
            "Last backup failed",
            _count(f"{_by_database(_all('last_job_success', BACKUPS))} == 0"),
            limits=IS_BAD,
        ),
        stat(
            "Without a runner",
            _count(f"{_by_database(_all('runner_available'))} == 0"),
            limits=IS_BAD,
            description="As the controller tells: nothing is backed up there.",
        ),
        stat(
            "Locations that fail",
            _count(f"{_by_location(_all('location_healthy'), 'min')} == 0"),
            limits=Limits(yellow=1),
        ),
        stat(
            "Damaged",
            _count(f"{_by_location(_all('location_last_verification_success'), 'min')} == 0"),
            limits=IS_BAD,
            description="Locations where the last verification found what was not written.",
        ),
        table(
            "Each database",
            Query(expr=_AGE, name="Newest backup", unit=Unit.SECONDS),
            Query(
                expr=f"{_AGE} / {_INTERVAL}",
                name="Age / schedule",
                unit=Unit.RATIO,
                limits=INTERVALS,
            ),
            Query(
                expr=_by_database(_all("last_job_success", BACKUPS)),
                name="Last succeeded",
                unit=Unit.YES_NO,
                limits=MUST_BE,
            ),
            Query(
                expr=_by_database(_all("consecutive_failures", BACKUPS)), name="Failures in a row"
            ),
            Query(
                expr=f"1000 * ({_by_database(_all('next_scheduled_backup'))} > 0)",
                name="Next",
                unit=Unit.MOMENT,
            ),
            Query(expr=_by_database(_all("stored_backup_count")), name="Backups"),
            Query(
                expr=_by_database(
                    f"time() - {_all('location_oldest_restorable_timestamp_seconds')}"
                ),
                name="Goes back",
                unit=Unit.SECONDS,
            ),
            Query(expr=_by_database(_all("last_backup_plain_bytes")), name="Data", unit=Unit.BYTES),
            Query(
                expr=_by_database(_all("location_stored_bytes"), "sum"),
                name="Stored",
                unit=Unit.BYTES,
            ),
            sort_by="Age / schedule",
            link=f"/d/{UID_DATABASE}?${{datasource:queryparam}}"
            "&var-namespace=${__data.fields.namespace}&var-name=${__data.fields.name}",
        ),
        table(
            "Each location",
            Query(
                expr=_by_location(_all("location_healthy"), "min"),
                name="Healthy",
                unit=Unit.YES_NO,
                limits=MUST_BE,
            ),
            Query(
                expr=_by_location(_all("location_last_backup_success"), "min"),
                name="Took the last",
                unit=Unit.YES_NO,
                limits=MUST_BE,
            ),
            Query(
                expr=_by_location(
                    f"time() - ({_all('location_last_successful_backup_timestamp_seconds')} > 0)",
                    "min",
                ),
                name="Newest backup",
                unit=Unit.SECONDS,
            ),
            Query(expr=_by_location(_all("location_stored_backup_count")), name="Backups"),
            Query(expr=_by_location(_all("location_stored_bytes")), name="Stored", unit=Unit.BYTES),
            Query(
                expr=_by_location(
                    f"time() - ({_all('location_last_verified_timestamp_seconds')} > 0)", "min"
                ),
                name="Verified",
                unit=Unit.SECONDS,
            ),
            Query(
                expr=_by_location(_all("location_last_verification_success"), "min"),
                name="Whole",
                unit=Unit.YES_NO,
                limits=MUST_BE,
            ),
        ),
    ),
)

_WORK = Row(
    title="Work",
    panels=(
        graph(
            "Jobs of an hour",
            Unit.COUNT,
            Query(
                expr=f"sum by (job_type, result) (increase({_all('jobs_total')}[1h]))",
                name="{{job_type}} {{result}}",
            ),
        ),
        graph(
            "Jobs that run",
            Unit.COUNT,
            Query(
                expr=f"sum by (job_type) ({_all('job_running')})",
                name="{{job_type}}",
            ),
        ),
        graph(
            "Longest backups",
            Unit.SECONDS,
            Query(
                expr=f"topk(10, {_by_database(_all('last_job_duration_seconds', BACKUPS))})",
                name="{{namespace}}/{{name}}",
            ),
        ),
        graph(
            "Stored, by location",
            Unit.BYTES,
            Query(expr=f"sum by (location) ({_all('location_stored_bytes')})", name="{{location}}"),
        ),
    ),
)

_CONTROLLER = Row(
    title="Controller",
    panels=(
        stat(
            "Replicas that act",
            "sum(db_backup_controller_leader) or vector(0)",
            limits=MUST_BE,
        ),
        stat(
            "Defects of a day",
            "sum(increase(db_backup_controller_unexpected_errors_total[1d]))",
            limits=IS_BAD,
        ),
        stat(
            "Caches behind",
            "max(db_backup_controller_cache_stale_seconds)",
            Unit.SECONDS,
            limits=Limits(yellow=60, red=300),
        ),
        stat(
            "Not readable",
            "sum(db_backup_controller_cache_unreadable_objects)",
            limits=IS_BAD,
        ),
        stat(
            "Objects that wait",
            "sum(db_backup_controller_queue_depth)",
            limits=Limits(yellow=10, red=100),
        ),
        stat(
            "Longest reconcile",
            "max(db_backup_controller_queue_longest_running_seconds)",
            Unit.SECONDS,
            limits=Limits(yellow=60, red=300),
        ),
        graph(
            "Reconciles",
            Unit.PER_SECOND,
            Query(
                expr="sum by (outcome)"
                " (rate(db_backup_controller_reconciles_total[$__rate_interval]))",
                name="{{outcome}}",
            ),
        ),
        graph(
            "Requests to the API server",
            Unit.PER_SECOND,
            Query(
                expr="sum by (verb, code)"
                " (rate(db_backup_controller_api_requests_total[$__rate_interval]))",
                name="{{verb}} {{code}}",
            ),
        ),
    ),
)

OVERVIEW = Dashboard(
    uid=UID_OVERVIEW,
    title="Database backups",
    description="Is every database protected, and do the controller and all runners work.",
    variables=(
        Variable(
            name="namespace",
            query="label_values(db_backup_controller_runner_started_at, namespace)",
            is_multiple=True,
        ),
    ),
    rows=(_STATE, _WORK, _CONTROLLER),
)
