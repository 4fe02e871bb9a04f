"""Run the controller's benchmarks and write their section of docs/benchmarks.md.

python -m tests.benchmarks.cluster [--objects 1000] [--rounds 3] [--many 5000]
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from tests.benchmarks.cluster import measures
from tests.benchmarks.cluster.measures import ColdStart, Failover, Resync, percentile
from tests.benchmarks.cluster.runner_memory import idle_runner_mib
from tests.benchmarks.cluster.scene import CONNECTIONS, Scene
from tests.benchmarks.report import write_section
from tests.servers import kubernetes

_IDLE_S = 60.0


@click.command()
@click.option("--objects", default=1000, show_default=True, help="Of a cold start.")
@click.option("--rounds", default=3, show_default=True, help="Cold starts, after one uncounted.")
@click.option("--many", default=5000, show_default=True, help="For the resync and memory.")
@click.option("--rate", default=10.0, show_default=True, help="New objects a second, for latency.")
@click.option("--seconds", default=60.0, show_default=True, help="Of that.")
@click.option("--only", default="", help="cold, latency, many or runner; no report then.")
def main(objects: int, rounds: int, many: int, rate: float, seconds: float, only: str) -> None:
    """Benchmarks of the controller against a bare client on one API server."""
    lines: list[str] = []
    with kubernetes.running() as server, tempfile.TemporaryDirectory(prefix="bench-") as name:
        scene = Scene(server, Path(name))
        try:
            if only in ("", "cold"):
                lines += _cold(scene, objects, rounds)
            if only in ("", "latency"):
                lines += _latency(scene, rate, seconds)
            if only in ("", "many"):
                lines += _many(scene, many)
            if only in ("", "runner"):
                lines += _runner(scene)
        finally:
            scene.world.close()
    text = _HEAD.format(
        date=datetime.now(UTC).date(),
        cores=os.cpu_count(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        rounds=rounds,
    ) + "\n".join(lines)
    print(text)
    if not only:
        write_section("The controller", text)


_HEAD = """\
Written by `make bench-controller` on {date}: {cores} cores that the API server, etcd, the
controller and the benchmark share, {system}, Python {python}, medians of {rounds} rounds after an
uncounted one. No kubelet runs; where it matters the benchmark says of the Deployments what one
would.

| what | figure | target | |
|---|---|---|---|
"""


def _row(what: str, figure: str, target: str = "", note: str = "") -> str:
    return f"| {what} | **{figure}** | {target} | {note} |"


def _cold(scene: Scene, objects: int, rounds: int) -> list[str]:
    found: list[ColdStart] = []
    for number in range(rounds + 1):
        result = measures.cold_start(scene, objects)
        print(f"  round {number or 'warm-up'}: {result}", flush=True)
        if number:
            found.append(result)
    ratios = [one.controller_s / one.bare_s for one in found]
    return [
        _row(
            f"{objects:,} objects in 50 namespaces, from the process's start to all children, "
            f"against a bare client with as many connections ({CONNECTIONS}) that creates them",
            f"{statistics.median(ratios):.2f}",
            "<= 1.5",
            f"{min(ratios):.2f} - {max(ratios):.2f}; {_median(found, 'controller_s'):.1f} s "
            f"against {_median(found, 'bare_s'):.1f} s; {_median(found, 'cpu_s'):.1f} s of CPU",
        ),
        _row(
            "requests for each object then", _calls(found[-1].calls), "", _listed(found[-1].calls)
        ),
    ]


def _latency(scene: Scene, rate: float, seconds: float) -> list[str]:
    controller = scene.world.start(LOG_LEVEL="INFO", RESCAN_INTERVAL="24h")
    controller.wait_until_leading()
    found = measures.latency(scene, controller, per_s=rate, seconds=seconds)
    controller.stop()
    half, most = percentile(found, 0.5), percentile(found, 0.99)
    return [
        _row(
            f"from an object's creation to its Deployment, {rate:g} a second, p99",
            f"{most * 1000:.0f} ms",
            "<= 1 s",
            f"p50 {half * 1000:.0f} ms, the slowest {found[-1] * 1000:.0f} ms, n = {len(found)}",
        )
    ]


def _many(scene: Scene, many: int) -> list[str]:
    controller = scene.world.start(LOG_LEVEL="INFO", RESCAN_INTERVAL="24h")
    controller.wait_until_leading()
    batch = scene.new_batch(many)
    measures.wait_until_idle(controller)
    scene.show_as_running(batch)
    measures.wait_until_idle(controller)
    idle = measures.idle_cpu(controller, _IDLE_S)
    peak = measures.memory_mib(controller.process.pid, "VmHWM")
    controller.stop()
    resync = measures.resync(scene, passes=3, interval_s=60)
    failover = measures.failover(scene)
    return [*_resync(many, idle, peak, resync), *_failover(many, failover)]


def _resync(many: int, idle: float, peak: float, resync: Resync) -> list[str]:
    return [
        _row(
            f"{many:,} objects with all their children: CPU of a resync pass",
            f"{resync.cpu_s:.1f} s",
            "<= 3 s" if many == 5000 else "",
            f"all else of that minute included; {resync.writes} writes in three passes",
        ),
        _row(
            "memory then",
            f"{resync.rss_mib:.0f} MiB",
            "<= 300 MiB" if many == 5000 else "",
            f"its highest while it made all of them: {peak:.0f} MiB",
        ),
        _row("CPU when nothing happens", f"{idle * 100:.2f} %", "< 0.5 %", f"{many:,} objects"),
    ]


def _failover(many: int, failover: Failover) -> list[str]:
    return [
        _row(
            "another replica leads after SIGTERM",
            f"{failover.handed_over_s:.1f} s",
            "at once",
            f"{many:,} objects",
        ),
        _row("another replica leads after SIGKILL", f"{failover.killed_s:.1f} s", "<= 20 s"),
    ]


def _runner(scene: Scene) -> list[str]:
    return [
        _row(
            "memory of an idle runner's parent with its Lease and status",
            f"{idle_runner_mib(scene.world.server):.0f} MiB",
            "<= 50 MiB",
        )
    ]


def _median(found: Sequence[ColdStart], field: str) -> float:
    return statistics.median(getattr(one, field) for one in found)


def _calls(calls: Mapping[str, float]) -> str:
    return f"{sum(calls.values()):.1f}"


def _listed(calls: Mapping[str, float]) -> str:
    worth = sorted(calls.items(), key=lambda item: -item[1])
    return ", ".join(f"{call} {number:.1f}" for call, number in worth if number >= 0.05)


if __name__ == "__main__":
    sys.exit(main())
