"""The runner's metrics: values in, Prometheus text out.

Names and labels are API. The first five are the Go original's; the table
METRICS is the one description, docs/metrics.md is checked against it.

What was never seen is absent where 0 would say something false: a location
that was not looked at yet has no health, a runner without a finished job has
no `last_job_success`, so that an alert on `== 0` is quiet until a job failed.
What is known to be none is 0: no backup, no failure, no job so far.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import frozen
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric as MetricFamily,
)

from runner.outcome import JobKind, JobOutcome, LocationState, Result, StorageUse

PREFIX = "db_backup_controller_"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_COMMON_LABELS = ("name", "namespace", "engine")
#: Kinds whose failure somebody must hear of.
_WATCHED = (JobKind.BACKUP, JobKind.RESTORE, JobKind.VERIFY)


class MetricType(enum.Enum):
    GAUGE = "gauge"
    COUNTER = "counter"


@frozen
class Metric:
    """One metric family. `labels` come after name, namespace and engine."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        return PREFIX + self.name


def _gauge(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name, MetricType.GAUGE, labels, help_)


def _counter(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name, MetricType.COUNTER, labels, help_)


METRICS: tuple[Metric, ...] = (
    _gauge(
        "last_job_success",
        "1 if the last job of this type succeeded, 0 if it failed; absent before the first one."
        " A cancelled job changes nothing.",
        "job_type",
    ),
    _gauge(
        "last_successful_backup",
        "Start of the newest backup in as many locations as are required, unix; 0: none.",
    ),
    _gauge("next_scheduled_backup", "Next tick of the schedule, unix; 0: none or suspended."),
    _gauge("runner_started_at", "Start of the runner, unix."),
    _gauge("stored_backup_count", "Backups that at least one location holds."),
    _gauge("build_info", "Always 1; the version is a label.", "version"),
    _gauge("suspended", "1 while `suspend` is set."),
    _gauge(
        "expected_interval_seconds",
        "Longest pause between two scheduled backups in the coming year; 0: none or suspended.",
    ),
    _gauge(
        "consecutive_failures",
        "Failed jobs of this type since the last successful one.",
        "job_type",
    ),
    _gauge(
        "expected_verification_interval_seconds",
        "What `spec.verification.every` asks for; 0: nothing, or suspended.",
    ),
    _gauge("job_running", "1 while a job of this type runs.", "job_type"),
    _gauge(
        "job_started_timestamp_seconds",
        "Start of the job of this type that runs, unix; 0: none does.",
        "job_type",
    ),
    _gauge("job_timeout_seconds", "After how long a job is ended: `spec.timeout`."),
    _counter("jobs_total", "Finished jobs.", "job_type", "result"),
    _gauge("last_job_duration_seconds", "Duration of the last finished job.", "job_type"),
    _gauge("last_backup_plain_bytes", "What the engine wrote in the last successful full backup."),
    _gauge(
        "last_backup_stage_seconds",
        "Time at work of each stage of the last successful backup: the largest is the bottleneck.",
        "stage",
    ),
    _gauge(
        "last_backup_stage_bytes",
        "Bytes through each stage of the last successful backup; by its seconds: its speed.",
        "stage",
    ),
    _gauge(
        "location_healthy",
        "1 if the location could be listed and may be written; absent before the first look.",
        "location",
    ),
    _gauge(
        "location_last_backup_success",
        "1 if the location took the last finished backup, 0 if it failed or was dropped;"
        " absent before the first one.",
        "location",
    ),
    _gauge(
        "location_last_backup_stored_bytes",
        "Stored size of the last full backup that the location took.",
        "location",
    ),
    _gauge(
        "location_last_successful_backup_timestamp_seconds",
        "Start of the newest backup in the location, unix; 0: none.",
        "location",
    ),
    _gauge("location_stored_backup_count", "Backups in the location.", "location"),
    _gauge("location_stored_bytes", "Stored size of all backups in the location.", "location"),
    _gauge(
        "location_oldest_restorable_timestamp_seconds",
        "Earliest time that can be restored from the location, unix; absent: nothing to restore.",
        "location",
    ),
    _gauge(
        "location_newest_restorable_timestamp_seconds",
        "Latest time that can be restored from the location, unix; absent: nothing to restore.",
        "location",
    ),
    _gauge(
        "location_last_verified_timestamp_seconds",
        "Start of the last verification there, unix; 0: none is known.",
        "location",
    ),
    _gauge(
        "location_last_verification_success",
        "1 if the last verification found everything whole; absent before the first one, and "
        "where the runner has no key to tell.",
        "location",
    ),
    _counter(
        "location_vanished_backups_total",
        "Backups that were in the location at the look before, and that no retention dropped.",
        "location",
    ),
    _counter(
        "storage_operations_total",
        "Operations against a location.",
        "location",
        "operation",
        "result",
    ),
    _counter("storage_bytes_total", "Bytes to and from a location.", "location", "direction"),
)


@frozen(kw_only=True)
class RunnerIdentity:
    """Whose metrics these are, and of which build."""

    name: str
    namespace: str
    engine: str
    version: str


class RunnerMetrics:
    """Everything the runner tells Prometheus, in a registry of its own.

    Threads: every method may be called from any thread; a scrape sees the
    effect of each call whole or not at all.
    """

    def __init__(self, identity: RunnerIdentity, *, started_at: datetime) -> None:
        self._identity = (identity.name, identity.namespace, identity.engine)
        # Guards _series; nothing else is called under it.
        self._lock = threading.Lock()
        # metric name -> own label values -> value
        self._series: dict[str, dict[tuple[str, ...], float]] = {
            metric.name: {} for metric in METRICS
        }
        self._set_first_values(identity, started_at)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Give the text that Prometheus scrapes, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[MetricFamily]:
        """Give every family, for the registry."""
        with self._lock:
            return [self._family(metric) for metric in METRICS]

    def set_schedule(
        self,
        *,
        next_at: datetime | None,
        interval: timedelta | None,
        suspended: bool,
        verify_every: timedelta | None,
    ) -> None:
        """Show when the next backup is expected, and how far apart jobs are; None: none is."""
        with self._lock:
            self._set("next_scheduled_backup", _unix(next_at))
            self._set("expected_interval_seconds", _seconds(interval))
            self._set("expected_verification_interval_seconds", _seconds(verify_every))
            self._set("suspended", suspended)

    def set_timeout(self, timeout: timedelta) -> None:
        """Show after how long a job is ended; one that runs keeps the time that it began with."""
        with self._lock:
            if not any(self._series["job_running"].values()):
                self._set("job_timeout_seconds", timeout.total_seconds())

    def set_stored(self, *, count: int, newest_at: datetime | None) -> None:
        """Show the backups of all locations together, each id once.

        Also how success comes back after a restart, whatever is remembered of
        jobs. `newest_at` is of those that enough locations hold.
        """
        with self._lock:
            self._set("stored_backup_count", count)
            self._set("last_successful_backup", _unix(newest_at))

    def set_plain_bytes(self, plain_bytes: int) -> None:
        """Show how much the newest successful full backup has, by its manifest."""
        with self._lock:
            self._set("last_backup_plain_bytes", plain_bytes)

    def set_location(self, state: LocationState) -> None:
        """Show what is known about one location."""
        name = state.name
        # Of one that never answered nobody knows what it holds: 0 would look like a loss.
        is_known = state.answered or state.stored_backups > 0
        oldest, newest = state.oldest_restorable_at, state.newest_restorable_at
        values: dict[str, float | None] = {
            "location_stored_backup_count": state.stored_backups if is_known else None,
            "location_stored_bytes": state.stored_bytes if is_known else None,
            "location_last_successful_backup_timestamp_seconds": (
                _unix(state.last_backup_at) if is_known else None
            ),
            "location_oldest_restorable_timestamp_seconds": _unix(oldest) if oldest else None,
            "location_newest_restorable_timestamp_seconds": _unix(newest) if newest else None,
            "location_last_verified_timestamp_seconds": (
                _unix(state.last_verified_at) if is_known else None
            ),
            "location_last_verification_success": state.last_verification_ok,
        }
        with self._lock:
            self._set("location_healthy", state.healthy, name)
            for metric, value in values.items():
                self._set_or_drop(metric, value, name)
            self._add("location_vanished_backups_total", state.vanished_backups, name)

    def keep_locations(self, names: Iterable[str]) -> None:
        """Forget every location that is not configured any more: its alerts must end."""
        kept = set(names)
        with self._lock:
            for metric in METRICS:
                if "location" in metric.labels:
                    at = metric.labels.index("location")
                    series = self._series[metric.name]
                    for labels in [labels for labels in series if labels[at] not in kept]:
                        del series[labels]

    def job_started(self, kind: JobKind, started_at: datetime) -> None:
        with self._lock:
            self._set("job_running", 1, kind.value)
            self._set("job_started_timestamp_seconds", _unix(started_at), kind.value)

    def job_finished(self, outcome: JobOutcome) -> None:
        """Count a job, and show what the last one of its kind did."""
        kind = outcome.kind.value
        with self._lock:
            self._set("job_running", 0, kind)
            self._set("job_started_timestamp_seconds", 0, kind)
            self._add("jobs_total", 1, kind, outcome.result.value)
            for use in outcome.storage:
                self._count(use)
            if outcome.kind is JobKind.BACKUP and outcome.success and not outcome.incremental:
                self._set("last_backup_plain_bytes", outcome.plain_bytes)
            if outcome.kind in _WATCHED:
                if outcome.result is Result.FAILURE:
                    self._add("consecutive_failures", 1, kind)
                elif outcome.result is Result.SUCCESS:
                    self._set("consecutive_failures", 0, kind)
            self._show_last(outcome)

    def resume(self, last: Iterable[JobOutcome], *, consecutive_failures: int = 0) -> None:
        """Show what a former runner did: counters stay at 0, nothing is counted twice.

        Args:
            last: at most one outcome of each kind, as kept in status or state.
            consecutive_failures: of backups.
        """
        with self._lock:
            for outcome in last:
                self._show_last(outcome)
            self._set("consecutive_failures", consecutive_failures, JobKind.BACKUP.value)

    def count_storage(self, use: StorageUse) -> None:
        """Count what the runner itself did against a location, outside of jobs."""
        with self._lock:
            self._count(use)

    # The rest needs the lock held.

    def _show_last(self, outcome: JobOutcome) -> None:
        if outcome.result is Result.CANCELLED:
            return
        kind = outcome.kind.value
        self._set("last_job_duration_seconds", outcome.duration_s, kind)
        if outcome.kind in _WATCHED:
            self._set("last_job_success", outcome.success, kind)
        if outcome.kind is JobKind.BACKUP:
            self._show_backup(outcome)
        elif outcome.kind is JobKind.VERIFY:
            for fate in outcome.fates:
                self._set_or_drop("location_last_verification_success", fate.ok, fate.name)
                self._set(
                    "location_last_verified_timestamp_seconds",
                    _unix(outcome.started_at),
                    fate.name,
                )

    def _show_backup(self, outcome: JobOutcome) -> None:
        for fate in outcome.fates:
            self._set("location_last_backup_success", bool(fate.ok), fate.name)
            if fate.ok and not outcome.incremental:
                self._set("location_last_backup_stored_bytes", fate.stored_bytes, fate.name)
        if not outcome.success:
            return
        newest = self._series["last_successful_backup"][()]
        self._set("last_successful_backup", max(newest, _unix(outcome.started_at)))
        for name in ("last_backup_stage_seconds", "last_backup_stage_bytes"):
            self._series[name].clear()
        for timing in outcome.stages:
            self._set("last_backup_stage_seconds", timing.seconds, timing.stage)
            self._set("last_backup_stage_bytes", timing.bytes, timing.stage)

    def _count(self, use: StorageUse) -> None:
        for result, count in ((Result.SUCCESS, use.ok), (Result.FAILURE, use.failed)):
            self._add("storage_operations_total", count, use.location, use.operation, result.value)
        self._add("storage_bytes_total", use.bytes, use.location, use.direction.value)

    def _set_first_values(self, identity: RunnerIdentity, started_at: datetime) -> None:
        self._set("runner_started_at", _unix(started_at))
        self._set("build_info", 1, identity.version)
        for name in (
            "last_successful_backup",
            "next_scheduled_backup",
            "stored_backup_count",
            "suspended",
            "expected_interval_seconds",
            "expected_verification_interval_seconds",
        ):
            self._set(name, 0)
        for kind in JobKind:
            self._set("job_running", 0, kind.value)
            self._set("job_started_timestamp_seconds", 0, kind.value)
            for result in Result:
                self._set("jobs_total", 0, kind.value, result.value)
        for kind in _WATCHED:
            self._set("consecutive_failures", 0, kind.value)

    def _set(self, name: str, value: float, *labels: str) -> None:
        self._series[name][labels] = value

    def _add(self, name: str, amount: float, *labels: str) -> None:
        series = self._series[name]
        series[labels] = series.get(labels, 0) + amount

    def _set_or_drop(self, name: str, value: float | None, *labels: str) -> None:
        if value is None:
            self._series[name].pop(labels, None)
        else:
            self._set(name, value, *labels)

    def _family(self, metric: Metric) -> MetricFamily:
        names = (*_COMMON_LABELS, *metric.labels)
        is_counter = metric.type is MetricType.COUNTER
        family: CounterMetricFamily | GaugeMetricFamily = (
            CounterMetricFamily(metric.full_name, metric.help, labels=names)
            if is_counter
            else GaugeMetricFamily(metric.full_name, metric.help, labels=names)
        )
        for labels, value in self._series[metric.name].items():
            family.add_metric((*self._identity, *labels), value)
        return family


def _unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0


def _seconds(span: timedelta | None) -> float:
    return span.total_seconds() if span else 0
