"""A real Prometheus scrapes a real runner and controller: the chart's alerts and dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chart import scraped
from tests.integration.controller.world import Controller, at_work
from tests.integration.jobs.commands import Runner, eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.places import Place
from tests.integration.jobs.world import DATA, MANIFESTS
from tests.servers import prometheus
from tests.servers.kubernetes import KubernetesServer
from tests.servers.prometheus import PrometheusServer

SCHEDULE = {"suspend": False, "backupCron": "0 3 1 1 *", "verification": {"every": "7d"}}


@pytest.fixture
def controller(kubernetes_server: KubernetesServer, tmp_path: Path) -> Iterator[Controller]:
    """One that acts, with an object whose runner is up."""
    with at_work(kubernetes_server, tmp_path) as (world, controller):
        world.set_available()
        yield controller


def _scraped(runner: Runner, controller: Controller | None = None) -> list[dict[str, Any]]:
    ports = {"runner": runner.port, "controller": controller.port if controller else None}
    return [
        {
            "job_name": name,
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for name, port in ports.items()
        if port
    ]


def test_every_query_of_the_dashboards_has_data_and_every_alert_can_be_evaluated(
    make_world: MakeWorld, controller: Controller, prometheus_program: Path, tmp_path: Path
) -> None:
    world = make_world("folder", "s3")
    world.configure(**SCHEDULE)
    with world.runner() as runner:
        world.back_up()
        world.cli("verify").must(0)
        world.cli("restore", "--at", "now", "--database", f"{world.database}_copy").must(0)
        configuration = scraped.configuration(tmp_path, _scraped(runner, controller))
        with prometheus.running(prometheus_program, configuration) as server:
            scraped.wait_until_all_is_well(server, namespace="db", name="shop")


def _flip(place: Place, backup_id: str) -> None:
    key = f"{DATA}{backup_id}/dump.0000"
    data = bytearray(place.read(key))
    data[len(data) // 2] ^= 1
    place.write(key, bytes(data))


def _firing(server: PrometheusServer) -> set[tuple[str, str]]:
    """Alerts of the object that fire, and the location that each is about."""
    labels = [one["labels"] for one in server.get("alerts")["alerts"] if one["state"] == "firing"]
    return {(one["alertname"], one.get("location", "")) for one in labels if "name" in one}


def test_who_damages_or_deletes_backups_in_a_bucket_raises_an_alert(
    make_world: MakeWorld, prometheus_program: Path, tmp_path: Path
) -> None:
    world = make_world("folder", "s3")
    world.configure(**SCHEDULE)
    with world.runner() as runner:
        kept, deleted = world.back_up(), world.back_up()
        configuration = scraped.configuration(tmp_path, _scraped(runner))
        with prometheus.running(prometheus_program, configuration) as server:
            eventually(
                lambda: server.query("db_backup_controller_location_vanished_backups_total"),
                say=lambda: str(server.get("targets")),
            )
            assert _firing(server) == set()

            _flip(world.place("s3"), kept)
            world.cli("verify", "--all").must(65)
            world.place("folder").delete(f"{MANIFESTS}{deleted}.json")
            world.back_up()

            expected = {("StoredBackupDamaged", "s3"), ("StoredBackupsVanished", "folder")}
            eventually(lambda: _firing(server) == expected, say=lambda: str(_firing(server)))
