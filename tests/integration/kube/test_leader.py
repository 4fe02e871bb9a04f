"""Two candidates at a real API server, which hangs, restarts and is left alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from controller.kube.client import Client
from controller.leader import Elector, Timing
from controller.process.clock import SystemClock
from tests.servers.kubernetes import KubernetesServer

TIMING = Timing(lease_duration_s=3.0, renew_deadline_s=2.0, retry_period_s=0.2)
Start = Callable[[str], tuple[Elector, threading.Event]]


@pytest.fixture
def start(new_client: Callable[..., Client], namespace: str) -> Iterator[Start]:
    """Runs candidates; ends them all."""
    with contextlib.ExitStack() as stack:

        def run(identity: str) -> tuple[Elector, threading.Event]:
            client = new_client(read_timeout_s=0.5, connect_timeout_s=0.5)
            elector = Elector(
                client,
                namespace=namespace,
                name="controller",
                identity=identity,
                clock=SystemClock(),
                timing=TIMING,
            )
            stop = threading.Event()
            thread = threading.Thread(target=elector.run, args=[stop], name=identity)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            return elector, stop

        yield run


def wait_until(holds: Callable[[], bool], *, timeout_s: float = 15.0) -> float:
    """Give how long it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < timeout_s
        time.sleep(0.01)
    return time.monotonic() - begun


def test_one_leads_and_hands_over_at_once(start: Start) -> None:
    first, stop_first = start("a")
    wait_until(first.is_leader)
    second, _ = start("b")
    time.sleep(2 * TIMING.lease_duration_s)  # long enough to take what is not renewed
    assert first.is_leader()
    assert not second.is_leader()

    stop_first.set()

    took_s = wait_until(second.is_leader)
    assert took_s < TIMING.lease_duration_s / 2
    assert not first.is_leader()


def test_two_never_lead_while_the_server_hangs_and_comes_back(
    start: Start, kubernetes_server: KubernetesServer
) -> None:
    first, _ = start("a")
    wait_until(first.is_leader)
    second, _ = start("b")
    both: list[float] = []
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.001):
            if first.is_leader() and second.is_leader():
                both.append(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for hang_s in (1.0, 2.5, 4.0):
            kubernetes_server.suspend()
            time.sleep(hang_s)
            leads = first.is_leader() or second.is_leader()
            kubernetes_server.resume()
            assert leads == (hang_s < TIMING.renew_deadline_s)
            wait_until(lambda: first.is_leader() or second.is_leader())
    finally:
        kubernetes_server.resume()
        watching.set()
        thread.join()
    assert both == []


def test_who_dies_without_a_word_is_followed_within_the_lease(
    start: Start, new_client: Callable[..., Client], namespace: str
) -> None:
    dead = Elector(
        new_client(),
        namespace=namespace,
        name="controller",
        identity="dead",
        clock=SystemClock(),
        timing=TIMING,
    )
    assert dead.step()  # and never again

    second, _ = start("b")

    assert TIMING.lease_duration_s - 0.1 <= wait_until(second.is_leader)
    assert not dead.is_leader()


def test_leadership_outlives_a_restart_of_the_server(
    start: Start, kubernetes_server: KubernetesServer
) -> None:
    only, _ = start("a")
    wait_until(only.is_leader)

    kubernetes_server.restart(is_killed=True)
    time.sleep(TIMING.lease_duration_s)  # what it renewed before the restart holds no longer

    wait_until(only.is_leader)
