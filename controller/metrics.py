"""The controller's metrics, in a registry of its own.

Durations and outcomes are counted as they happen; what a queue, a cache or an
election knows about itself is asked for at a scrape. Series whose labels are
known beforehand begin at 0, so that an alert can tell "none" from "absent".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from attrs import frozen
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from controller.api.keys import ObjectKey
from controller.cache.reflector import ReflectorCounts
from controller.events import EventCounts
from controller.kube.resource import Resource
from controller.queue.workqueue import QueueStats
from controller.worker import Outcome

PREFIX = "db_backup_controller_"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
#: A key waits for milliseconds when all is well, and for minutes when the API server is away.
_QUEUE_BUCKETS_S = (0.001, 0.01, 0.1, 1, 10, 60, 600)
_REQUEST_BUCKETS_S = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30)


class Cache(Protocol):
    """What is asked of an informer."""

    @property
    def handler_failures(self) -> int: ...
    def counts(self) -> ReflectorCounts: ...
    def has_synced(self) -> bool: ...
    def stale_s(self) -> float | None: ...
    def object_count(self) -> int: ...
    def unreadable_count(self) -> int: ...


@frozen(kw_only=True)
class Sources:
    """What is asked at a scrape; every one is quick and thread-safe.

    Args:
        queues: by the kind of their objects.
        caches: by the kind's plural.
        runners: whether one is up, by its object.
    """

    queues: Mapping[str, Callable[[], QueueStats]]
    caches: Mapping[str, Cache]
    is_leader: Callable[[], bool]
    runners: Callable[[], Mapping[ObjectKey, bool]]
    events: Callable[[], EventCounts]


class Outcomes:
    """Counts reconciles of one kind: a `worker.WorkerMetrics`."""

    def __init__(self, outcomes: Counter, unexpected: Counter, kind: str) -> None:
        self._by_outcome = {one: outcomes.labels(kind, one.value) for one in Outcome}
        self._unexpected = unexpected

    def reconciled(self, outcome: Outcome) -> None:
        self._by_outcome[outcome].inc()
        if outcome is Outcome.UNEXPECTED:
            self._unexpected.inc()


class Times:
    """Times of one queue: a `workqueue.QueueMetrics`."""

    def __init__(self, queued: Histogram, worked: Histogram, kind: str) -> None:
        self._queued = queued.labels(kind)
        self._worked = worked.labels(kind)

    def queued(self, seconds: float) -> None:
        self._queued.observe(seconds)

    def worked(self, seconds: float) -> None:
        self._worked.observe(seconds)


class ControllerMetrics:
    """Everything the controller tells Prometheus.

    Threads: any.
    """

    def __init__(self, *, version: str) -> None:
        self._version = version
        self._sources: Sources | None = None
        self._registry = registry = CollectorRegistry()
        self._outcomes = Counter(
            f"{PREFIX}reconciles",
            "Reconciles by what became of them.",
            ("kind", "outcome"),
            registry=registry,
        )
        self._unexpected = Counter(
            f"{PREFIX}unexpected_errors",
            "Reconciles that ended with a defect; the log has the stack.",
            registry=registry,
        )
        self._queued = Histogram(
            f"{PREFIX}queue_latency_seconds",
            "How long a key waited for a worker.",
            ("kind",),
            registry=registry,
            buckets=_QUEUE_BUCKETS_S,
        )
        self._worked = Histogram(
            f"{PREFIX}work_duration_seconds",
            "How long a reconcile took.",
            ("kind",),
            registry=registry,
            buckets=_QUEUE_BUCKETS_S,
        )
        self._requests = Counter(
            f"{PREFIX}api_requests",
            "Requests to the API server; code 0: there was no answer. Absent before the first one.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            f"{PREFIX}api_request_duration_seconds",
            "How long the API server took to answer; of a watch, to open it.",
            ("verb",),
            registry=registry,
            buckets=_REQUEST_BUCKETS_S,
        )
        ProcessCollector(registry=registry)

    def watch(self, sources: Sources) -> None:
        """Ask these at each scrape; before that nothing of them is told."""
        self._sources = sources
        self._registry.register(self)

    def render(self) -> bytes:
        """Give the text that Prometheus scrapes, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def outcomes(self, kind: str) -> Outcomes:
        return Outcomes(self._outcomes, self._unexpected, kind)

    def times(self, kind: str) -> Times:
        return Times(self._queued, self._worked, kind)

    def request(self, verb: str, resource: Resource, code: int, seconds: float) -> None:
        """Count a request: a `kube.transport.Observe`."""
        self._requests.labels(verb, str(resource), str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Give what is asked for at a scrape, for the registry."""
        sources = self._sources
        if sources is None:
            return
        yield _gauge(
            "controller_build_info",
            "Always 1; the version is a label.",
            ("version",),
            {(self._version,): 1},
        )
        yield _gauge(
            "leader", "1 while this replica is the one that acts.", (), {(): sources.is_leader()}
        )
        yield _gauge(
            "runner_available",
            "1 while a pod of the object's runner is up; every replica tells it.",
            ("namespace", "name"),
            {(key.namespace, key.name): is_up for key, is_up in sources.runners().items()},
        )
        yield from _of_queues({kind: stats() for kind, stats in sources.queues.items()})
        yield from _of_caches(sources.caches)
        counts = sources.events()
        yield _counter(
            "events",
            "Events about objects by what became of them.",
            ("result",),
            {
                ("sent",): counts.sent,
                ("suppressed",): counts.suppressed,
                ("failed",): counts.failed,
            },
        )


def _of_queues(queues: Mapping[str, QueueStats]) -> Iterable[Metric]:
    def of_each(value: Callable[[QueueStats], float]) -> dict[tuple[str, ...], float]:
        return {(kind,): value(stats) for kind, stats in queues.items()}

    kind = ("kind",)
    yield _gauge("queue_depth", "Keys that wait for a worker.", kind, of_each(lambda q: q.depth))
    yield _gauge("queue_delayed", "Keys that are not due yet.", kind, of_each(lambda q: q.delayed))
    yield _counter("queue_adds", "Keys that were added.", kind, of_each(lambda q: q.adds))
    yield _counter(
        "queue_retries", "Keys that were added after a failure.", kind, of_each(lambda q: q.retries)
    )
    yield _gauge(
        "queue_unfinished_work_seconds",
        "How long all keys in work have been so, together.",
        kind,
        of_each(lambda q: q.unfinished_work_s),
    )
    yield _gauge(
        "queue_longest_running_seconds",
        "How long the oldest of them has been so; grows when a worker hangs.",
        kind,
        of_each(lambda q: q.longest_running_s),
    )


def _of_caches(caches: Mapping[str, Cache]) -> Iterable[Metric]:
    def of_each(value: Callable[[Cache], float]) -> dict[tuple[str, ...], float]:
        return {(name,): value(cache) for name, cache in caches.items()}

    resource, counts = ("resource",), {name: cache.counts() for name, cache in caches.items()}
    yield _gauge(
        "cache_objects", "Objects in the cache.", resource, of_each(lambda c: c.object_count())
    )
    yield _gauge(
        "cache_unreadable_objects",
        "Objects that could not be read and are left out: a defect; the log has the stack.",
        resource,
        of_each(lambda c: c.unreadable_count()),
    )
    yield _gauge(
        "cache_synced",
        "1 once the first list is in the cache.",
        resource,
        of_each(lambda c: c.has_synced()),
    )
    stale_s = {(name,): cache.stale_s() for name, cache in caches.items()}
    yield _gauge(
        "cache_stale_seconds",
        "For how long the cache may be behind: 0 while a watch is open. Absent before the first"
        " list.",
        resource,
        {labels: seconds for labels, seconds in stale_s.items() if seconds is not None},
    )
    yield _counter(
        "cache_lists",
        "Lists that succeeded; all but the first are relists.",
        resource,
        of_each(lambda c: c.counts().lists),
    )
    yield _counter(
        "cache_watches",
        "Watches that were opened; all but the first are restarts.",
        resource,
        of_each(lambda c: c.counts().watches),
    )
    yield _counter(
        "cache_watch_endings",
        "How lists and watches ended.",
        ("resource", "ending"),
        {
            (name, ending.word): number
            for name, of_cache in counts.items()
            for ending, number in of_cache.endings.items()
        },
    )
    yield _counter(
        "cache_events",
        "What watches delivered.",
        ("resource", "type"),
        {
            (name, kind): number
            for name, of_cache in counts.items()
            for kind, number in of_cache.events.items()
        },
    )
    yield _counter(
        "cache_handler_failures",
        "Changes that a handler could not take: a defect.",
        resource,
        of_each(lambda c: c.handler_failures),
    )


def _gauge(
    name: str, help_: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, help_, labels=labels)
    for labelled, value in values.items():
        family.add_metric(labelled, float(value))
    return family


def _counter(
    name: str, help_: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, help_, labels=labels)
    for labelled, value in values.items():
        family.add_metric(labelled, float(value))
    return family
