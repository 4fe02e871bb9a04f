"""The runner's Lease on a real API server; time is a clock that the test moves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.api.lease import BUSY_UNTIL
from controller.kube.client import Client
from controller.kube.resource import LEASES
from runner.lease import LeaseFence, LeaseTiming
from runner.ports import Overtaken
from tests.fakes.clock import FakeClock
from tests.integration.kube.conftest import ClientFor
from tests.integration.kube.objects import an_object
from tests.servers.kubernetes import KubernetesServer

_NAME = "backup-db-shop"
_RULE = {
    "apiGroups": ["coordination.k8s.io"],
    "resources": ["leases"],
    "resourceNames": [_NAME],
    "verbs": ["get", "update"],
}


class Contender:
    """A runner's fence with a clock of its own."""

    def __init__(self, client: Client, namespace: str, holder: str) -> None:
        self.clock = FakeClock()
        self.fence = LeaseFence(client, namespace, _NAME, holder=holder, clock=self.clock)
        self.lost: list[Overtaken] = []
        self.stop = threading.Event()

    def hold(self) -> None:
        assert self.fence.acquire(self.stop, self.lost.append)

    def renew(self, seconds: float = 20) -> None:
        """Let the time of a renewal come, and wait until it is done."""
        self.clock.wait_for_waiters()
        self.clock.advance(seconds)
        self.clock.wait_for_waiters()


@pytest.fixture
def contenders(client_of: ClientFor, namespace: str) -> Iterator[Callable[[str], Contender]]:
    """Runners that may do with their Lease what their Role allows; all are ended."""
    made: list[Contender] = []
    client = client_of("runner", _RULE)

    def make(holder: str) -> Contender:
        made.append(Contender(client, namespace, holder))
        return made[-1]

    yield make
    for one in made:
        one.stop.set()
        one.fence.release()


@pytest.fixture
def lease(client: Client, namespace: str) -> Callable[[], dict[str, Any]]:
    """Reads the Lease, which is there as the controller makes it: without a spec."""
    client.apply(
        LEASES,
        an_object(LEASES, namespace, _NAME),
        field_manager="db-backup-controller",
    )

    def read() -> dict[str, Any]:
        return client.get(LEASES, _NAME, namespace=namespace)

    return read


def _take(client: Client, lease: dict[str, Any], holder: str) -> None:
    """As a runner does that saw no renewal for long enough."""
    spec = lease["spec"]
    transitions = spec["leaseTransitions"] + 1
    taken = spec | {"holderIdentity": holder, "leaseTransitions": transitions}
    client.replace(LEASES, lease | {"spec": taken})


def _until(true: Callable[[], object]) -> None:
    deadline_mono = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_mono
        time.sleep(0.02)


def test_a_lease_is_taken_renewed_and_given_back(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    runner = contenders("pod-1")

    runner.hold()

    taken = lease()["spec"]
    assert taken == {
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 60,
        "acquireTime": "2026-11-23T10:00:00.000000Z",
        "renewTime": "2026-11-23T10:00:00.000000Z",
        "leaseTransitions": 1,
    }
    runner.renew()
    assert lease()["spec"] == taken | {"renewTime": "2026-11-23T10:00:20.000000Z"}
    runner.fence.release()
    assert lease()["spec"]["holderIdentity"] == ""
    assert runner.lost == []


def test_the_successor_acts_at_once_when_the_lease_was_given_back(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    first, second = contenders("pod-1"), contenders("pod-2")
    first.hold()
    assert not second.fence.try_acquire()

    first.fence.release()

    assert second.fence.try_acquire()
    assert lease()["spec"]["holderIdentity"] == "pod-2"
    assert lease()["spec"]["leaseTransitions"] == 2


def test_a_lease_is_expired_after_its_duration_without_a_renewal_that_was_seen(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    first, second = contenders("pod-1"), contenders("pod-2")
    assert first.fence.try_acquire()  # and then never renews
    # Its clock is hours ahead: that must not matter.
    second.clock.advance(9999)
    assert not second.fence.try_acquire()
    second.clock.advance(59)
    assert not second.fence.try_acquire()

    second.clock.advance(1)

    assert second.fence.try_acquire()
    assert lease()["spec"]["holderIdentity"] == "pod-2"


def test_a_lease_that_is_renewed_is_never_taken(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    first, second = contenders("pod-1"), contenders("pod-2")
    assert first.fence.try_acquire()

    for _ in range(10):
        assert not second.fence.try_acquire()
        second.clock.advance(50)
        first.clock.advance(50)
        assert first.fence.renew_once() == 20

    assert lease()["spec"]["holderIdentity"] == "pod-1"


def test_the_same_pod_goes_on_where_it_was_killed(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    assert contenders("pod-1").fence.try_acquire()

    assert contenders("pod-1").fence.try_acquire()

    assert lease()["spec"]["leaseTransitions"] == 1


def test_seeing_another_holder_is_a_loss_and_is_told_once(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]], client: Client
) -> None:
    runner = contenders("pod-1")
    runner.hold()
    _take(client, lease(), "pod-2")

    runner.clock.wait_for_waiters()
    runner.clock.advance(20)

    _until(lambda: runner.lost)
    assert "pod-2 holds the Lease" in str(runner.lost[0])
    runner.fence.release()
    assert lease()["spec"]["holderIdentity"] == "pod-2", "what is another's is not given back"
    assert len(runner.lost) == 1


def test_who_was_overtaken_while_it_stood_still_learns_it_before_it_acts(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]], client: Client
) -> None:
    runner = contenders("pod-1")
    runner.hold()
    _take(client, lease(), "pod-2")
    runner.clock.wait_for_waiters()
    assert runner.fence.confirm(), "nobody takes a Lease before it has expired"

    runner.clock.advance(60)

    for _ in range(2):
        with pytest.raises(Overtaken, match="pod-2 holds the Lease"):
            runner.fence.confirm()
    assert lease()["spec"]["holderIdentity"] == "pod-2"


def test_who_stood_still_and_was_not_overtaken_renews_before_it_acts(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    runner = contenders("pod-1")
    runner.hold()
    runner.clock.wait_for_waiters()

    runner.clock.advance(60)

    assert runner.fence.confirm()
    assert lease()["spec"]["renewTime"] == "2026-11-23T10:01:00.000000Z"
    assert runner.lost == []


def test_a_lease_that_another_had_and_gave_back_is_lost(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]], client: Client
) -> None:
    first, second = contenders("pod-1"), contenders("pod-2")
    first.hold()
    _take(client, lease(), "pod-2")
    assert second.fence.try_acquire()
    second.fence.release()
    assert lease()["spec"]["holderIdentity"] == ""

    first.clock.wait_for_waiters()
    first.clock.advance(60)

    with pytest.raises(Overtaken, match="another runner has held the Lease"):
        first.fence.confirm()
    assert lease()["spec"]["holderIdentity"] == ""


def test_a_running_job_is_written_at_once_and_with_every_renewal(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    runner = contenders("pod-1")
    runner.hold()
    runner.clock.wait_for_waiters()

    runner.fence.busy_until(3600)

    def busy() -> str | None:
        found: str | None = lease()["metadata"].get("annotations", {}).get(BUSY_UNTIL)
        return found

    _until(lambda: busy() == "2026-11-23T11:00:00Z")
    runner.renew()
    assert busy() == "2026-11-23T11:00:00Z"
    assert lease()["spec"]["renewTime"] == "2026-11-23T10:00:20.000000Z"
    runner.fence.busy_until(None)
    _until(lambda: busy() is None)


def test_what_others_write_to_the_lease_stays(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]], client: Client
) -> None:
    runner = contenders("pod-1")
    runner.hold()
    applied = an_object(LEASES, lease()["metadata"]["namespace"], _NAME)
    applied["metadata"]["labels"] = {"team": "shop"}
    client.apply(LEASES, applied, field_manager="db-backup-controller")

    runner.renew()  # meets a conflict, and reads again

    assert lease()["metadata"]["labels"] == {"team": "shop"}
    assert lease()["spec"]["renewTime"] == "2026-11-23T10:00:20.000000Z"
    client.apply(LEASES, applied, field_manager="db-backup-controller")
    assert lease()["spec"]["holderIdentity"] == "pod-1"


def test_a_lease_that_is_missing_is_waited_for_and_told_once(
    contenders: Callable[[str], Contender],
    client: Client,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner = contenders("pod-1")
    with caplog.at_level(logging.WARNING, "runner.lease"):
        assert not runner.fence.try_acquire()
        assert not runner.fence.try_acquire()
    assert len(caplog.records) == 1
    assert "no Lease yet" in caplog.text

    client.create(LEASES, an_object(LEASES, namespace, _NAME))

    assert runner.fence.try_acquire()


def test_a_lease_that_was_deleted_is_taken_again_when_it_is_made_again(
    contenders: Callable[[str], Contender],
    lease: Callable[[], dict[str, Any]],
    client: Client,
    namespace: str,
) -> None:
    runner = contenders("pod-1")
    assert runner.fence.try_acquire()
    client.delete(LEASES, _NAME, namespace=namespace)
    assert runner.fence.renew_once() == LeaseTiming().poll_s

    client.create(LEASES, an_object(LEASES, namespace, _NAME))

    assert runner.fence.renew_once() == LeaseTiming().renew_s
    assert lease()["spec"]["holderIdentity"] == "pod-1"


def test_who_is_stopped_while_it_waits_does_not_act(
    contenders: Callable[[str], Contender], lease: Callable[[], dict[str, Any]]
) -> None:
    first, second = contenders("pod-1"), contenders("pod-2")
    first.hold()
    result: list[bool] = []
    waiting = threading.Thread(
        target=lambda: result.append(second.fence.acquire(second.stop, second.lost.append))
    )
    waiting.start()
    second.clock.wait_for_waiters()

    second.stop.set()

    waiting.join(20)
    assert result == [False]
    second.fence.release()
    assert lease()["spec"]["holderIdentity"] == "pod-1"


def test_an_api_server_that_does_not_answer_is_no_loss_and_no_expiry(
    kubernetes_server: KubernetesServer,
    contenders: Callable[[str], Contender],
    new_client: Callable[..., Client],
    lease: Callable[[], dict[str, Any]],
    namespace: str,
) -> None:
    impatient = new_client(connect_timeout_s=0.3, read_timeout_s=0.3)
    first = Contender(impatient, namespace, "pod-1")
    second = Contender(impatient, namespace, "pod-2")
    first.hold()
    assert not second.fence.try_acquire()
    kubernetes_server.suspend()
    try:
        first.renew()  # fails, and waits for the next try
        assert first.fence.confirm(), "it cannot have expired for anybody yet"
        second.clock.advance(300)
        assert not second.fence.try_acquire()
        first.clock.advance(60)
        assert not first.fence.confirm()
    finally:
        kubernetes_server.resume()
    # The holder could not renew; its term begins anew with the first answer.
    _until(lambda: lease()["spec"]["holderIdentity"] == "pod-1")
    assert not second.fence.try_acquire()

    first.renew(2)

    _until(lambda: not lease()["spec"]["renewTime"].startswith("2026-11-23T10:00:00"))
    assert first.lost == []
    first.fence.release()
    assert second.fence.try_acquire()
    second.fence.release()
