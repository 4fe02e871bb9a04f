"""Two replicas: handed over, followed, cut off; the server's own log is the proof."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import defaultdict
from datetime import datetime

from controller.kube.resource import LEASES
from tests.integration.controller.world import Controller, World, wait_for
from tests.servers.proxy import TcpProxy


def test_of_two_one_acts_and_the_other_takes_over(world: World, controller: Controller) -> None:
    standby = world.start()
    wait_for(lambda: standby.get("/readyz")[0] == 200)
    world.create_backup("first")
    world.wait_for_children("first")
    assert standby.metric("leader") == 0
    assert standby.metric("reconciles_total") == 0

    controller.stop()
    begun = time.monotonic()
    standby.wait_until_leading()

    # It looks every two seconds.
    assert time.monotonic() - begun < 5
    world.create_backup("second")
    world.wait_for_children("second")


def test_one_that_is_killed_is_followed_within_the_lease(
    world: World, controller: Controller
) -> None:
    standby = world.start()
    wait_for(lambda: standby.get("/readyz")[0] == 200)

    controller.stop(signal.SIGKILL)
    begun = time.monotonic()
    standby.wait_until_leading()

    assert 10 < time.monotonic() - begun < 20


def test_one_that_is_cut_off_has_stopped_before_another_one_writes(world: World) -> None:
    has_ended = threading.Event()

    def go_on_creating() -> None:
        for number in itertools.count():
            world.create_backup(f"shop-{number}")
            if has_ended.wait(0.2):
                return

    with TcpProxy(world.server.port) as proxy:
        world.kubeconfig = world.kubeconfig_of(world.system, port=proxy.port)
        first = world.start()
        first.wait_until_leading()
        world.kubeconfig = world.kubeconfig_of(world.system)
        second = world.start()
        wait_for(lambda: second.get("/readyz")[0] == 200)
        people = threading.Thread(target=go_on_creating, name="people")
        people.start()
        try:
            world.wait_for_children("shop-0")
            proxy.is_hanging = True

            second.wait_until_leading()

            assert first.metric("leader") == 0
            world.create_backup("last")
            world.wait_for_children("last")
        finally:
            has_ended.set()
            people.join()
        # What was under way is lost with its connections, as in a network that drops it.
        proxy.cut()
        proxy.is_hanging = False
        # It led until it was cut off, and looked at nobody's Lease: now it does.
        looks = {"resource": str(LEASES), "verb": "get", "code": "200"}
        wait_for(lambda: first.metric("api_requests_total", **looks))
        assert first.metric("leader") == 0

    times = defaultdict[str, list[datetime]](list)
    for one in world.writes():
        times[one.credential].append(one.at)
    of_first, of_second = sorted(times.values())
    assert len(times) == 2
    assert (min(of_second) - max(of_first)).total_seconds() > 1
