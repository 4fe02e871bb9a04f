from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from runner.metrics import METRICS, PREFIX, MetricType, RunnerIdentity, RunnerMetrics
from runner.outcome import (
    Direction,
    JobKind,
    JobOutcome,
    LocationFate,
    LocationState,
    StageTiming,
    StorageUse,
)

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
COMMON = {"name": "shop", "namespace": "db", "engine": "postgres"}
DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def some_metrics() -> RunnerMetrics:
    identity = RunnerIdentity(name="shop", namespace="db", engine="postgres", version="1.2.3")
    return RunnerMetrics(identity, started_at=START)


def an_outcome(kind: JobKind = JobKind.BACKUP, **fields: Any) -> JobOutcome:
    given: dict[str, Any] = {
        "kind": kind,
        "started_at": START,
        "finished_at": START + timedelta(seconds=90),
        "success": True,
    }
    return JobOutcome(**(given | fields))


def a_state(name: str = "a", **fields: Any) -> LocationState:
    given: dict[str, Any] = {"name": name, "healthy": True, "checked_at": START}
    return LocationState(**(given | fields))


def scrape(metrics: RunnerMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, as Prometheus' own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: RunnerMetrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((PREFIX + name, tuple(sorted((COMMON | labels).items()))))


def test_the_five_metrics_of_the_go_original_have_their_names_and_labels() -> None:
    metrics = some_metrics()
    metrics.job_finished(an_outcome())
    metrics.job_finished(an_outcome(JobKind.RESTORE, success=False))
    metrics.set_schedule(
        next_at=START, interval=timedelta(hours=1), suspended=False, verify_every=None
    )
    metrics.set_stored(count=4, newest_at=START)

    text = metrics.render().decode()

    rest = 'name="shop",namespace="db"}'
    own = f'{{engine="postgres",{rest}'
    seen = {_sorted_labels(line) for line in text.splitlines() if not line.startswith("#")}
    unix = START.timestamp()
    assert {
        f'{PREFIX}last_job_success{{engine="postgres",job_type="backup",{rest} 1',
        f'{PREFIX}last_job_success{{engine="postgres",job_type="restore",{rest} 0',
        f"{PREFIX}last_successful_backup{own} {unix:.0f}",
        f"{PREFIX}next_scheduled_backup{own} {unix:.0f}",
        f"{PREFIX}runner_started_at{own} {unix:.0f}",
        f"{PREFIX}stored_backup_count{own} 4",
    } <= seen


def _sorted_labels(line: str) -> str:
    name, labels, number = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line).groups()  # type: ignore[union-attr]
    inner = ",".join(sorted((labels or "").split(",")))
    return f"{name}{{{inner}}} {float(number):.0f}"


def test_a_new_runner_raises_no_alert_of_a_failed_job() -> None:
    metrics = some_metrics()

    samples = scrape(metrics)

    assert not [name for name, _ in samples if name == f"{PREFIX}last_job_success"]
    assert not [name for name, _ in samples if "location" in name]
    assert value(metrics, "last_successful_backup") == 0
    assert value(metrics, "stored_backup_count") == 0
    assert value(metrics, "consecutive_failures", job_type="backup") == 0
    assert value(metrics, "jobs_total", job_type="backup", result="failure") == 0
    assert value(metrics, "build_info", version="1.2.3") == 1


def test_failures_are_counted_until_a_success() -> None:
    metrics = some_metrics()
    for _ in range(3):
        metrics.job_finished(an_outcome(success=False, reason="DatabaseUnavailable"))
    failed = value(metrics, "consecutive_failures", job_type="backup")
    bad = value(metrics, "last_job_success", job_type="backup")

    metrics.job_finished(an_outcome())

    assert (failed, bad) == (3, 0)
    assert value(metrics, "consecutive_failures", job_type="backup") == 0
    assert value(metrics, "last_job_success", job_type="backup") == 1
    assert value(metrics, "jobs_total", job_type="backup", result="failure") == 3
    assert value(metrics, "jobs_total", job_type="backup", result="success") == 1


def test_a_cancelled_job_is_counted_and_blames_nobody() -> None:
    metrics = some_metrics()
    metrics.job_finished(an_outcome())

    metrics.job_finished(an_outcome(success=False, reason="Cancelled"))

    assert value(metrics, "last_job_success", job_type="backup") == 1
    assert value(metrics, "consecutive_failures", job_type="backup") == 0
    assert value(metrics, "jobs_total", job_type="backup", result="cancelled") == 1


def test_a_backup_shows_the_fate_of_each_location() -> None:
    metrics = some_metrics()
    metrics.job_finished(
        an_outcome(
            plain_bytes=1000,
            fates=(
                LocationFate(name="a", ok=True, stored_bytes=300),
                LocationFate(name="b", ok=False, reason="StorageUnavailable"),
            ),
            stages=(StageTiming(stage="zstd", seconds=2.5, bytes=1000),),
        )
    )

    assert value(metrics, "location_last_backup_success", location="a") == 1
    assert value(metrics, "location_last_backup_success", location="b") == 0
    assert value(metrics, "location_last_backup_stored_bytes", location="a") == 300
    assert value(metrics, "location_last_backup_stored_bytes", location="b") is None
    assert value(metrics, "last_backup_plain_bytes") == 1000
    assert value(metrics, "last_backup_stage_seconds", stage="zstd") == 2.5
    assert value(metrics, "last_backup_stage_bytes", stage="zstd") == 1000
    assert value(metrics, "last_job_duration_seconds", job_type="backup") == 90
    assert value(metrics, "last_successful_backup") == START.timestamp()


def test_a_failed_backup_leaves_the_figures_of_the_last_good_one() -> None:
    metrics = some_metrics()
    metrics.job_finished(an_outcome(plain_bytes=1000))

    metrics.job_finished(
        an_outcome(success=False, plain_bytes=5, started_at=START + timedelta(hours=1))
    )

    assert value(metrics, "last_backup_plain_bytes") == 1000
    assert value(metrics, "last_successful_backup") == START.timestamp()


def test_what_an_incremental_backup_has_is_not_the_size_of_the_database() -> None:
    """Else each full backup after one would look as if data had been loaded, and lost after it."""
    metrics = some_metrics()
    fates = (LocationFate(name="a", ok=True, stored_bytes=300),)
    metrics.job_finished(an_outcome(plain_bytes=1000, fates=fates))

    later = START + timedelta(hours=1)
    fates = (LocationFate(name="a", ok=True, stored_bytes=2),)
    metrics.job_finished(an_outcome(incremental=True, plain_bytes=5, fates=fates, started_at=later))

    assert value(metrics, "last_backup_plain_bytes") == 1000
    assert value(metrics, "location_last_backup_stored_bytes", location="a") == 300
    assert value(metrics, "location_last_backup_success", location="a") == 1
    assert value(metrics, "last_successful_backup") == later.timestamp()


def test_stages_of_an_older_backup_disappear() -> None:
    metrics = some_metrics()
    metrics.job_finished(an_outcome(stages=(StageTiming(stage="age", seconds=1),)))

    metrics.job_finished(an_outcome(stages=(StageTiming(stage="zstd", seconds=1),)))

    assert value(metrics, "last_backup_stage_seconds", stage="age") is None


def test_a_location_shows_what_it_holds() -> None:
    metrics = some_metrics()

    metrics.set_location(
        a_state(
            stored_backups=2,
            stored_bytes=700,
            last_backup_at=START,
            oldest_restorable_at=START - timedelta(days=1),
            newest_restorable_at=START,
            last_verified_at=START,
            last_verification_ok=False,
        )
    )

    unix = START.timestamp()
    for name, expected in {
        "location_healthy": 1,
        "location_stored_backup_count": 2,
        "location_stored_bytes": 700,
        "location_last_successful_backup_timestamp_seconds": unix,
        "location_oldest_restorable_timestamp_seconds": unix - 86400,
        "location_newest_restorable_timestamp_seconds": unix,
        "location_last_verified_timestamp_seconds": unix,
        "location_last_verification_success": 0,
    }.items():
        assert (name, value(metrics, name, location="a")) == (name, expected)


def test_a_location_that_never_answered_is_not_healthy_and_not_empty() -> None:
    metrics = some_metrics()

    metrics.set_location(a_state(healthy=False, answered=False))

    told = {name for name, labels in scrape(metrics) if ("location", "a") in labels}
    assert told == {
        f"{PREFIX}location_healthy",
        f"{PREFIX}location_vanished_backups_total",
    }
    assert value(metrics, "location_healthy", location="a") == 0


def test_backups_that_vanished_add_up_and_begin_at_none() -> None:
    metrics = some_metrics()
    metrics.set_location(a_state())
    before = value(metrics, "location_vanished_backups_total", location="a")

    for vanished in (2, 0, 3):
        metrics.set_location(a_state(vanished_backups=vanished))

    assert before == 0
    assert value(metrics, "location_vanished_backups_total", location="a") == 5


def test_what_the_configuration_asks_for_is_shown() -> None:
    metrics = some_metrics()
    metrics.set_timeout(timedelta(hours=6))
    metrics.set_schedule(
        next_at=START,
        interval=timedelta(hours=1),
        suspended=False,
        verify_every=timedelta(days=7),
    )

    assert value(metrics, "job_timeout_seconds") == 6 * 3600
    assert value(metrics, "expected_interval_seconds") == 3600
    assert value(metrics, "expected_verification_interval_seconds") == 7 * 86400


def test_a_job_that_runs_keeps_the_timeout_that_it_began_with() -> None:
    metrics = some_metrics()
    metrics.set_timeout(timedelta(hours=6))
    metrics.job_started(JobKind.BACKUP, START)

    metrics.set_timeout(timedelta(hours=12))
    assert value(metrics, "job_timeout_seconds") == 6 * 3600

    metrics.job_finished(an_outcome())
    metrics.set_timeout(timedelta(hours=12))
    assert value(metrics, "job_timeout_seconds") == 12 * 3600


def test_an_empty_location_restores_nothing_and_was_never_verified() -> None:
    metrics = some_metrics()
    metrics.set_location(a_state(oldest_restorable_at=START, last_verification_ok=True))

    metrics.set_location(a_state())

    assert value(metrics, "location_oldest_restorable_timestamp_seconds", location="a") is None
    assert value(metrics, "location_last_verification_success", location="a") is None
    assert value(metrics, "location_last_successful_backup_timestamp_seconds", location="a") == 0


def test_a_verification_shows_its_result_per_location() -> None:
    metrics = some_metrics()

    metrics.job_finished(
        an_outcome(
            JobKind.VERIFY,
            success=False,
            fates=(LocationFate(name="a", ok=True), LocationFate(name="b", ok=False)),
        )
    )

    assert value(metrics, "location_last_verification_success", location="a") == 1
    assert value(metrics, "location_last_verification_success", location="b") == 0
    verified = value(metrics, "location_last_verified_timestamp_seconds", location="b")
    assert verified == START.timestamp()


def test_a_location_that_is_not_configured_any_more_disappears() -> None:
    metrics = some_metrics()
    for name in ("a", "b"):
        metrics.set_location(a_state(name))
        metrics.count_storage(StorageUse(location=name, operation="list", ok=1))

    metrics.keep_locations(["a"])

    assert {dict(labels).get("location") for _, labels in scrape(metrics)} == {None, "a"}


def test_storage_use_of_jobs_and_of_the_runner_adds_up() -> None:
    metrics = some_metrics()
    use = StorageUse(location="a", operation="put", ok=3, failed=1, bytes=50)
    metrics.job_finished(an_outcome(storage=(use,)))
    metrics.count_storage(use)
    metrics.count_storage(
        StorageUse(location="a", operation="open", ok=1, bytes=7, direction=Direction.READ)
    )

    put = {"location": "a", "operation": "put"}
    assert value(metrics, "storage_operations_total", result="success", **put) == 6
    assert value(metrics, "storage_operations_total", result="failure", **put) == 2
    assert value(metrics, "storage_bytes_total", location="a", direction="written") == 100
    assert value(metrics, "storage_bytes_total", location="a", direction="read") == 7


def test_what_a_former_runner_did_is_shown_and_not_counted() -> None:
    metrics = some_metrics()

    metrics.resume([an_outcome(success=False, reason="JobLost")], consecutive_failures=2)

    assert value(metrics, "last_job_success", job_type="backup") == 0
    assert value(metrics, "consecutive_failures", job_type="backup") == 2
    assert value(metrics, "jobs_total", job_type="backup", result="failure") == 0


def test_a_running_job_is_shown() -> None:
    metrics = some_metrics()
    metrics.job_started(JobKind.RESTORE, START)
    running = value(metrics, "job_running", job_type="restore")
    started_at = value(metrics, "job_started_timestamp_seconds", job_type="restore")

    metrics.job_finished(an_outcome(JobKind.RESTORE))

    assert (running, value(metrics, "job_running", job_type="restore")) == (1, 0)
    assert started_at == START.timestamp()
    assert value(metrics, "job_started_timestamp_seconds", job_type="restore") == 0


def test_a_suspended_schedule_has_no_next_backup() -> None:
    metrics = some_metrics()
    metrics.set_schedule(
        next_at=START, interval=timedelta(hours=1), suspended=False, verify_every=None
    )

    metrics.set_schedule(next_at=None, interval=None, suspended=True, verify_every=None)

    assert value(metrics, "suspended") == 1
    assert value(metrics, "next_scheduled_backup") == 0
    assert value(metrics, "expected_interval_seconds") == 0


def test_the_registry_is_our_own() -> None:
    before = set(REGISTRY._names_to_collectors)

    first, second = some_metrics(), some_metrics()
    first.job_finished(an_outcome())

    assert value(second, "last_job_success", job_type="backup") is None
    assert set(REGISTRY._names_to_collectors) == before


def test_a_scrape_sees_a_job_whole_or_not_at_all() -> None:
    metrics, stop = some_metrics(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            metrics.job_finished(an_outcome())
            metrics.job_finished(an_outcome(success=False))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(50):
            samples = scrape(metrics)
            labels = COMMON | {"job_type": "backup"}
            last = samples.get((f"{PREFIX}last_job_success", tuple(sorted(labels.items()))))
            failures = samples[f"{PREFIX}consecutive_failures", tuple(sorted(labels.items()))]
            assert last is None or last == (failures == 0)
    finally:
        stop.set()
        worker.join()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_new_names_end_in_their_unit(metric: Any) -> None:
    without_unit = {
        "last_job_success",
        "last_successful_backup",
        "next_scheduled_backup",
        "runner_started_at",
        "stored_backup_count",
        "build_info",
        "suspended",
        "consecutive_failures",
        "job_running",
        "location_healthy",
        "location_last_backup_success",
        "location_stored_backup_count",
        "location_last_verification_success",
    }
    is_counter = metric.type is MetricType.COUNTER

    assert metric.name in without_unit or metric.name.endswith(("_seconds", "_bytes", "_total"))
    assert is_counter == metric.name.endswith("_total")


def test_the_documentation_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)

    assert rows == [
        (
            metric.full_name,
            metric.type.value,
            ", ".join(f"`{label}`" for label in metric.labels) or "-",
            metric.help,
        )
        for metric in METRICS
    ]
