"""What is measured of the controller, each in a cluster that stands."""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from controller.kube.resource import DEPLOYMENTS
from tests.benchmarks.cluster.bare import Arrivals, BareClient
from tests.benchmarks.cluster.scene import CONNECTIONS, Scene, deployment_of
from tests.integration.controller.world import CHILDREN, Controller, wait_for

_TIMEOUT_S = 900.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_QUIET = {"LOG_LEVEL": "INFO", "RESCAN_INTERVAL": "24h"}


@frozen(kw_only=True)
class ColdStart:
    """Seconds to make all children of one batch, and what it took.

    Args:
        calls: requests by verb and kind, for each object.
    """

    bare_s: float
    controller_s: float
    cpu_s: float
    calls: Mapping[str, float]


def cold_start(scene: Scene, count: int) -> ColdStart:
    """The same children of equal objects: by a bare client, then by a controller that starts."""
    token = scene.world.server.token_for(scene.world.system, "db-backup-controller")
    bare = BareClient(scene.world.server, connections=CONNECTIONS, token=token)
    batch = scene.new_batch(count)
    bare_s = bare.send(scene.children(batch))
    scene.remove(batch)

    batch = scene.new_batch(count)
    arrivals = Arrivals(scene.admin, DEPLOYMENTS.path())
    began = time.perf_counter()
    controller = scene.world.start(**_QUIET)
    # The Deployment is the last of an object's children.
    controller_s = max(arrivals.wait(batch.deployments(), _TIMEOUT_S).values()) - began
    there, wanted = scene.count_children(batch), count * len(CHILDREN)
    if there != wanted:
        raise RuntimeError(f"{there} of {wanted} children are there")
    wait_until_idle(controller)
    result = ColdStart(
        bare_s=bare_s,
        controller_s=controller_s,
        cpu_s=cpu_s(controller),
        calls={call: number / count for call, number in calls(controller).items()},
    )
    controller.stop()
    scene.remove(batch)
    return result


def latency(scene: Scene, controller: Controller, *, per_s: float, seconds: float) -> list[float]:
    """Seconds from the creation of an object to its Deployment, objects coming steadily."""
    arrivals = Arrivals(scene.admin, DEPLOYMENTS.path())
    created: dict[tuple[str, str], float] = {}
    began = time.perf_counter()
    for number, write in enumerate(scene.new_objects(int(per_s * seconds))):
        time.sleep(max(0.0, began + number / per_s - time.perf_counter()))
        at = time.perf_counter()
        created[deployment_of(scene.admin.write(write))] = at
    seen = arrivals.wait(frozenset(created), _TIMEOUT_S)
    wait_until_idle(controller)
    return sorted(seen[key] - at for key, at in created.items())


def idle_cpu(controller: Controller, seconds: float) -> float:
    """The share of one core that it takes while nothing happens."""
    before = cpu_s(controller)
    time.sleep(seconds)
    return (cpu_s(controller) - before) / seconds


@frozen(kw_only=True)
class Resync:
    """CPU seconds of one pass over all objects, all that happens meanwhile included; MiB."""

    cpu_s: float
    rss_mib: float
    writes: int


def resync(scene: Scene, *, passes: int, interval_s: int) -> Resync:
    """A controller that starts with all children present, and looks at all again and again."""
    controller = scene.world.start(LOG_LEVEL="INFO", RESCAN_INTERVAL=f"{interval_s}s")
    controller.wait_until_leading()
    wait_until_idle(controller)
    time.sleep(interval_s / 10)
    objects = controller.metric("cache_objects", resource="databasebackups") or 0.0

    def reconciles() -> float:
        return controller.metric("reconciles_total", kind="DatabaseBackup") or 0.0

    before, writes, first = cpu_s(controller), _writes(controller), reconciles()
    while reconciles() - first < passes * objects:
        time.sleep(10)  # asking costs it CPU, too: its metrics have a line for each object
    result = Resync(
        cpu_s=(cpu_s(controller) - before) / passes,
        rss_mib=memory_mib(controller.process.pid),
        writes=_writes(controller) - writes,
    )
    controller.stop()
    return result


@frozen(kw_only=True)
class Failover:
    """Seconds without a leader."""

    handed_over_s: float
    killed_s: float


def failover(scene: Scene) -> Failover:
    """Two replicas: the leader is asked to end; the one after it is killed."""
    first = scene.world.start(**_QUIET, POD_NAME="first")
    first.wait_until_leading()
    second = scene.world.start(**_QUIET, POD_NAME="second")
    wait_for(lambda: second.get("/readyz")[0] == 200)
    began = time.perf_counter()
    first.process.send_signal(signal.SIGTERM)
    second.wait_until_leading()
    handed_over_s = time.perf_counter() - began
    first.process.wait(30)

    third = scene.world.start(**_QUIET, POD_NAME="third")
    wait_for(lambda: third.get("/readyz")[0] == 200)
    began = time.perf_counter()
    second.process.kill()
    wait_for(lambda: third.metric("leader") == 1, timeout_s=60)
    killed_s = time.perf_counter() - began
    second.process.wait(30)
    third.stop()
    return Failover(handed_over_s=handed_over_s, killed_s=killed_s)


def wait_until_idle(controller: Controller, *, quiet_s: float = 3.0) -> None:
    """Wait until nothing is queued, and nothing was asked of the server for a while."""

    def look() -> bool:
        before = controller.metric("api_requests_total")
        waiting = (controller.metric("queue_depth") or 0) + (
            controller.metric("queue_delayed") or 0
        )
        if waiting:
            time.sleep(0.5)
            return False
        time.sleep(quiet_s)
        # The election goes on: one request in two seconds.
        return (controller.metric("api_requests_total") or 0) - (before or 0) <= quiet_s

    wait_for(look, timeout_s=_TIMEOUT_S)


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def cpu_s(controller: Controller) -> float:
    fields = Path(f"/proc/{controller.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    assert found, text
    return int(found[1]) / 1024


def calls(controller: Controller) -> dict[str, float]:
    """Requests by verb and kind, the election's left out."""
    text = controller.get("/metrics")[1]
    found: dict[str, float] = {}
    pattern = r"^db_backup_controller_api_requests_total{(.*)} (\S+)$"
    for series, value in re.findall(pattern, text, re.MULTILINE):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
        call = f"{labels['verb']} {labels['resource'].partition('.')[0]}"
        found[call] = found.get(call, 0.0) + float(value)
    return found


def _writes(controller: Controller) -> int:
    """Requests that write; `update` is the election's alone."""
    verbs = ("create", "patch", "delete")
    return int(sum(count for call, count in calls(controller).items() if call.split()[0] in verbs))
