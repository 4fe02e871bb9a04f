"""What Prometheus reads, and that the documentation says the same."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from controller.api.keys import ObjectKey
from controller.cache.reflector import Ending, ReflectorCounts
from controller.events import EventCounts
from controller.kube.resource import DATABASE_BACKUPS, DEPLOYMENTS
from controller.metrics import PREFIX, ControllerMetrics, Sources
from controller.queue.workqueue import QueueStats
from controller.worker import Outcome

DOCS = Path(__file__).parents[3] / "docs" / "controller.md"


class Cache:
    """An informer, by default one that has listed once."""

    handler_failures = 0

    def __init__(self, seconds: float | None = 2.0) -> None:
        self.seconds = seconds

    def counts(self) -> ReflectorCounts:
        return ReflectorCounts(
            lists=1,
            watches=2,
            endings=dict.fromkeys(Ending, 0) | {Ending.EXPIRED: 3},
            events={"ADDED": 4, "MODIFIED": 0, "DELETED": 0, "BOOKMARK": 0},
        )

    def has_synced(self) -> bool:
        return True

    def stale_s(self) -> float | None:
        return self.seconds

    def object_count(self) -> int:
        return 5

    def unreadable_count(self) -> int:
        return 1


def some_metrics() -> ControllerMetrics:
    metrics = ControllerMetrics(version="1.2.3")
    stats = QueueStats(
        depth=1, delayed=2, adds=3, retries=4, unfinished_work_s=5.0, longest_running_s=6.0
    )
    metrics.watch(
        Sources(
            queues={"DatabaseBackup": lambda: stats},
            caches={"databasebackups": Cache(), "secrets": Cache(None)},
            is_leader=lambda: True,
            runners=lambda: {ObjectKey("db", "shop"): True, ObjectKey("db", "till"): False},
            events=lambda: EventCounts(sent=7, suppressed=8, failed=9),
        )
    )
    return metrics


def scrape(metrics: ControllerMetrics) -> dict[tuple[str, ...], float]:
    """Values by name and label values, these in the order of their labels' names."""
    return {
        (sample.name.removeprefix(PREFIX), *(one for _, one in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_what_others_know_is_asked_for_at_a_scrape() -> None:
    found = scrape(some_metrics())

    assert found["queue_depth", "DatabaseBackup"] == 1
    assert found["queue_retries_total", "DatabaseBackup"] == 4
    assert found["queue_longest_running_seconds", "DatabaseBackup"] == 6
    assert found["cache_objects", "databasebackups"] == 5
    assert found["cache_stale_seconds", "databasebackups"] == 2
    assert ("cache_stale_seconds", "secrets") not in found
    assert found["cache_watch_endings_total", "expired", "databasebackups"] == 3
    assert found["cache_watch_endings_total", "throttled", "databasebackups"] == 0
    assert found["leader",] == 1
    assert found["runner_available", "shop", "db"] == 1
    assert found["runner_available", "till", "db"] == 0
    assert found["events_total", "suppressed"] == 8
    assert found["controller_build_info", "1.2.3"] == 1


def test_outcomes_begin_at_zero_and_are_counted() -> None:
    metrics = some_metrics()
    outcomes = metrics.outcomes("DatabaseBackup")
    before = scrape(metrics)
    assert all(
        before["reconciles_total", "DatabaseBackup", outcome.value] == 0 for outcome in Outcome
    )
    assert before["unexpected_errors_total",] == 0

    outcomes.reconciled(Outcome.DONE)
    outcomes.reconciled(Outcome.UNEXPECTED)

    after = scrape(metrics)
    assert after["reconciles_total", "DatabaseBackup", "done"] == 1
    assert after["unexpected_errors_total",] == 1


def test_requests_and_times_are_counted() -> None:
    metrics = some_metrics()
    metrics.request("patch", DEPLOYMENTS, 200, 0.02)
    metrics.request("list", DATABASE_BACKUPS, 0, 5.0)
    times = metrics.times("DatabaseBackup")
    times.queued(0.5)
    times.worked(2.0)

    found = scrape(metrics)

    assert found["api_requests_total", "200", "deployments.apps", "patch"] == 1
    assert found["api_requests_total", "0", "databasebackups.backup.nect.com", "list"] == 1
    assert found["queue_latency_seconds_sum", "DatabaseBackup"] == 0.5
    assert found["work_duration_seconds_count", "DatabaseBackup"] == 1


def test_the_documentation_lists_exactly_these() -> None:
    metrics = some_metrics()
    metrics.request("get", DEPLOYMENTS, 200, 0.1)
    metrics.outcomes("DatabaseBackup")
    metrics.times("DatabaseBackup")
    told = set()
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith(PREFIX):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {key for sample in family.samples for key in sample.labels} - {"le"}
            told.add((name, family.type, frozenset(labels), family.documentation))
    rows = re.findall(
        r"^\| `(db_\S+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.MULTILINE
    )
    documented = {
        (name, kind, frozenset(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in rows
    }

    assert documented == told
