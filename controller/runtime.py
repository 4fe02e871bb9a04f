"""The running controller: everything put together, started and ended in order.

Caches first, so that nobody acts on half a cluster; then the election; then
workers, which wait for both. At the end the other way round: the Lease is given
up when nothing acts any more, and only then.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

from controller import takeover
from controller.api.errors import BackupError
from controller.api.keys import ObjectKey
from controller.api.version import version
from controller.apply import FIELD_MANAGER, Applier
from controller.cache.backoff import Backoff
from controller.cache.informer import Handler, Informer
from controller.cache.store import Store
from controller.caches import Caches
from controller.config import Environment
from controller.events import EventRecorder
from controller.gone import GoneRunners
from controller.handlers import Handlers
from controller.kube.client import ALL, Client, ListerWatcher, Selection
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES as CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SECRETS,
    Resource,
)
from controller.leader import Elector
from controller.metrics import CONTENT_TYPE, ControllerMetrics, Sources
from controller.process.clock import Clock
from controller.process.httpd import Endpoints, HttpServer
from controller.process.logging import kv
from controller.queue.ratelimit import default_limiter
from controller.queue.workqueue import WorkQueue
from controller.reconcile import BackupReconciler
from controller.reconcile_class import ClassReconciler
from controller.resources.desired import Settings
from controller.resources.labels import MANAGED_BY
from controller.rollouts import Rollouts
from controller.threads import Threads
from controller.worker import Reconcile, Worker

log = logging.getLogger(__name__)

_OURS = Selection(labels=f"app.kubernetes.io/managed-by={MANAGED_BY}")
#: Helm keeps whole charts in Secrets, a megabyte each.
_NO_HELM = "type!=helm.sh/release.v1"
#: A reconcile is a dozen requests, each with a time limit; more than this is a defect.
_HUNG_S = 600.0
#: A watch that ends leaves a cache behind for seconds, an API server that restarts for a minute.
_STALE_S = 300.0
_JOIN_S = 20.0


class Runtime:
    """One controller.

    Args:
        client: for everything but the Lease.
        election: for the Lease, with short time limits.
        namespace: where Secrets of classes and the Lease are.

    Threads: `run` is called once; `health` and `readiness` by any.
    """

    def __init__(
        self,
        environment: Environment,
        client: Client,
        election: Client,
        *,
        namespace: str,
        metrics: ControllerMetrics,
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._namespace = namespace
        self._queues = {one: self._queue(one) for one in (DATABASE_BACKUPS, CLASSES)}
        self._caches = Caches.new()
        self._informers: dict[Resource, Informer[Any]] = {}
        self._events = EventRecorder(
            client, reporter=FIELD_MANAGER, instance=environment.identity, clock=clock
        )
        self._elector = Elector(
            election,
            namespace=namespace,
            name=FIELD_MANAGER,
            identity=f"{environment.identity}_{secrets.token_hex(4)}",
            clock=clock,
        )
        # Two groups: who serves the others ends after them.
        self._servants = Threads()
        self._workers = Threads()
        # Why the caches have not begun; empty: they have. Written by the thread of `run`.
        self._obstacle = "the API server has not answered yet"

    def run(self, stop: threading.Event) -> bool:
        """Serve until `stop` is set; False: a thread did not end."""
        late = threading.Event()
        http = self._http_server()
        http.bind()
        self._servants.start("http", lambda: http.run(late))
        try:
            self._start(stop, late)
            stop.wait()
        finally:
            stop.set()
            has_ended = self._end(late)
        return has_ended

    def health(self) -> tuple[bool, Mapping[str, object]]:
        """Whether restarting this process would not help: no thread is dead, no worker hangs."""
        dead = self._servants.dead() + self._workers.dead()
        hung = [
            queue_of.plural
            for queue_of, queue in self._queues.items()
            if queue.stats().longest_running_s > _HUNG_S
        ]
        return not (dead or hung), {"dead": dead, "hung": hung}

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Whether this replica could act at once; also while another one does.

        Not on what was: a right that was taken away, say, ends the lists of one kind for good.
        """
        stale_s = {one.plural: informer.stale_s() for one, informer in self._informers.items()}
        waiting = [plural for plural, seconds in stale_s.items() if seconds is None]
        stale = [plural for plural, seconds in stale_s.items() if (seconds or 0.0) > _STALE_S]
        return not (self._obstacle or waiting or stale), {
            "problem": self._obstacle,
            "waiting_for": waiting,
            "stale": stale,
            "leader": self._elector.is_leader(),
        }

    def _start(self, stop: threading.Event, late: threading.Event) -> None:
        cluster_id = self._cluster_id(stop)
        if cluster_id is None:
            return
        reconcilers = self._reconcilers(cluster_id)
        self._metrics.watch(
            Sources(
                queues={one.kind: queue.stats for one, queue in self._queues.items()},
                caches={one.plural: informer for one, informer in self._informers.items()},
                is_leader=self._elector.is_leader,
                runners=self._caches.runners,
                events=self._events.counts,
            )
        )
        self._servants.start("events", lambda: self._events.run(late))
        for resource, informer in self._informers.items():
            self._servants.start(f"reflector-{resource.plural}", _runner(informer.run, stop))
        self._obstacle = ""
        if not all(informer.wait_until_synced() for informer in self._informers.values()):
            return
        log.info("caches are complete")
        self._servants.start("elector", lambda: self._elector.run(late))
        for resource in self._queues:
            # What depends on an object is looked at with it.
            informer = self._informers[resource]
            self._servants.start(f"resync-{resource.plural}", _runner(informer.run_resync, stop))
        for resource, reconcile in reconcilers.items():
            worker = Worker(
                resource.kind,
                self._queues[resource],
                reconcile,
                metrics=self._metrics.outcomes(resource.kind),
                clock=self._clock,
            )
            count = self._environment.workers if resource is DATABASE_BACKUPS else 1
            for number in range(count):
                self._workers.start(
                    f"worker-{resource.plural}-{number}", _runner(self._work_of(worker), stop)
                )

    def _end(self, late: threading.Event) -> bool:
        for queue in self._queues.values():
            queue.shut_down()
        for informer in self._informers.values():
            informer.interrupt()
        has_ended = self._workers.join(_JOIN_S)
        # Who still works at something may still write: then the Lease has to run out.
        if not has_ended:
            return False
        late.set()
        return self._servants.join(_JOIN_S)

    def _work_of(self, worker: Worker) -> Callable[[threading.Event], None]:
        def work(stop: threading.Event) -> None:
            while self._elector.wait_until_leading(stop) and worker.process_next():
                pass

        return work

    def _cluster_id(self, stop: threading.Event) -> str | None:
        """The UID of kube-system; waits for the API server. None: `stop` was set before."""
        backoff = Backoff(clock=self._clock)
        while not stop.is_set():
            try:
                found = self._client.get(NAMESPACES, "kube-system")
                return str(found["metadata"]["uid"])
            except BackupError as error:
                self._obstacle = str(error)
                delay_s = backoff.next_s()
                log.warning(
                    "the API server cannot be used yet, trying again",
                    extra=kv(reason=error.reason, error=str(error), requeue_after_s=delay_s),
                )
                self._clock.wait(stop, delay_s)
        return None

    def _reconcilers(self, cluster_id: str) -> dict[Resource, Reconcile]:
        caches = self._caches
        applier = Applier(self._client.guarded(self._elector.check))
        reconcile = BackupReconciler(
            caches,
            applier,
            self._events,
            Rollouts(
                max_rolling=self._environment.max_rolling,
                is_complete=caches.is_rolled_out,
                seen_rolling=caches.rolling,
                clock=self._clock,
            ),
            namespace=self._namespace,
            settings=Settings(
                image_prefix=self._environment.image_prefix,
                release=version(),
                cluster_id=cluster_id,
                pull_secret=self._environment.image_pull_secret,
            ),
            clock=self._clock,
            term=self._elector.term,
        )
        handlers = Handlers(
            backup_queue=self._queues[DATABASE_BACKUPS],
            class_queue=self._queues[CLASSES],
            backups=caches.backups,
            classes=caches.classes,
            deployments=caches.children[DEPLOYMENTS],
            pull_secret=self._environment.image_pull_secret,
            cause=reconcile.cause,
        )
        in_own = Selection(namespace=self._namespace, fields=_NO_HELM)
        self._add_informer(SECRETS, in_own, caches.secrets, handlers.on_secret)
        self._add_informer(CLASSES, ALL, caches.classes, handlers.on_class)
        self._add_informer(DATABASE_BACKUPS, ALL, caches.backups, handlers.on_backup)
        for resource, store in caches.children.items():
            self._add_informer(resource, _OURS, store, handlers.on_child)
        self._add_informer(PODS, _OURS, caches.pods, handlers.on_pod)
        return {
            DATABASE_BACKUPS: GoneRunners(
                self._taking_over(reconcile, caches, applier),
                caches,
                applier,
                self._events,
                queue=self._queues[DATABASE_BACKUPS],
                clock=self._clock,
            ),
            CLASSES: ClassReconciler(caches, applier, namespace=self._namespace, clock=self._clock),
        }

    def _taking_over(self, reconcile: Reconcile, caches: Caches, applier: Applier) -> Reconcile:
        old = takeover.new_stores()
        taking_over = takeover.Takeover(
            reconcile, caches, old, applier, self._events, queue=self._queues[DATABASE_BACKUPS]
        )
        for resource, store in old.items():
            self._add_informer(resource, takeover.SELECTION, store, taking_over.on_old_child)
        return taking_over

    def _add_informer(
        self, resource: Resource, selection: Selection, store: Store[Any], handler: Handler[Any]
    ) -> None:
        informer = Informer(
            resource.plural,
            ListerWatcher(self._client, resource, selection),
            store,
            clock=self._clock,
            resync_period_s=self._environment.rescan_interval_s,
        )
        informer.add_handler(handler)
        self._informers[resource] = informer

    def _queue(self, resource: Resource) -> WorkQueue[ObjectKey]:
        return WorkQueue(
            default_limiter(self._clock),
            clock=self._clock,
            metrics=self._metrics.times(resource.kind),
        )

    def _http_server(self) -> HttpServer:
        return HttpServer(
            self._environment.listen,
            Endpoints(
                metrics=self._metrics.render,
                metrics_type=CONTENT_TYPE,
                health=self.health,
                readiness=self.readiness,
            ),
        )


def _runner(
    run: Callable[[threading.Event], object], stop: threading.Event
) -> Callable[[], object]:
    return lambda: run(stop)
