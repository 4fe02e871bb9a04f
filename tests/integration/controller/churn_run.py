"""One run of the churn: a server of its own, controllers, what fails, and the judgement."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controller.api.errors import ObjectNotFound
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.version import version
from controller.apply import FIELD_MANAGER
from controller.kube import config
from controller.kube.client import Client
from controller.kube.resource import NAMESPACES
from controller.kube.transport import Options
from controller.resources.desired import Settings
from controller.resources.labels import Child
from tests.integration.controller.churn_changes import OWNER, Change, Changes
from tests.integration.controller.churn_model import Inputs, Model, look
from tests.integration.controller.rest_of_cluster import CONFIG_MAPS, RestOfCluster
from tests.integration.controller.world import CHILDREN, Controller, World, wait_for
from tests.integration.kube import definitions
from tests.integration.kube.objects import an_object
from tests.servers.audit import AuditEntry
from tests.servers.kubernetes import KubernetesServer

OBJECTS = 200
TENANTS = tuple(f"tenant-{number}" for number in range(6))
#: Methods of `Run`.
FAULTS = (
    "nothing",
    "api_server_is_killed",
    "api_server_hangs",
    "api_server_hangs_for_longer_than_a_leader_may",
    "history_is_forgotten",
    "leader_is_killed",
    "leader_is_ended",
    "all_controllers_are_killed",
    "namespace_is_deleted",
)
#: After the last fault: a leader that died is followed after 15 s.
_CONVERGED_S = 120.0
#: Writes that one change of an object may cost at most, in the long run.
_WRITES = 4


class Run:
    """A cluster, from its start to its end.

    Attributes:
        notes: what was done so far, and when.
    """

    def __init__(self, server: KubernetesServer, folder: Path) -> None:
        self._server = server
        self._begun = time.monotonic()
        self.notes: list[str] = []
        endpoint = config.from_kubeconfig(str(server.kubeconfig()))
        self._client = Client(endpoint, Options(read_timeout_s=10.0))
        self._world = World(server, folder)
        self._inputs = Inputs()
        keys = [
            ObjectKey(TENANTS[number % len(TENANTS)], f"b-{number:03}") for number in range(OBJECTS)
        ]
        self.changes = Changes(
            self._client, self._inputs, keys=keys, system=self._world.system, note=self.note
        )
        cluster_id = self._client.get(NAMESPACES, "kube-system")["metadata"]["uid"]
        self._model = Model(
            self._inputs,
            Settings(
                image_prefix="registry.example.com/runner", release=version(), cluster_id=cluster_id
            ),
        )
        self._rest = RestOfCluster(
            server,
            self._client,
            namespaces=TENANTS,
            is_up=lambda key: key not in self._inputs.down,
        )
        self._controllers: list[Controller] = []

    def begin(self, number: int) -> None:
        """Start everything, and put the objects there."""
        definitions.install(self._server)
        self._world.grant()
        for tenant in TENANTS:
            self._make_namespace(tenant)
        self._rest.start()
        self._start()
        self._start()
        self.changes.begin(number)

    def close(self) -> None:
        self._rest.stop()
        self._world.close()
        self._client.close()

    def note(self, text: str) -> None:
        self.notes.append(f"{time.monotonic() - self._begun:6.1f} {text}")

    def storm(self, changes: Sequence[Change], fault: str, tenant: str) -> None:
        """Do all these changes while something fails."""
        self.note(f"-- {fault}")
        spare = tenant if fault == "namespace_is_deleted" else ""
        with ThreadPoolExecutor(1, thread_name_prefix="fault") as pool:
            failing = pool.submit(getattr(self, fault), tenant)
            self.changes.do(changes, spare=spare)
            failing.result()

    def settle(self) -> None:
        """Wait until all is as it has to be; it has to come to that by itself."""
        self.note("-- quiet")
        begun = time.monotonic()
        while found := self._model.differences(look(self._client, frozenset(TENANTS))):
            if time.monotonic() - begun > _CONVERGED_S:
                raise AssertionError("\n".join(found[:50]))
            time.sleep(0.5)
        ready = Counter(self._model.ready(key)[1] for key in self._inputs.backups)
        self.note(f"-- as it has to be after {time.monotonic() - begun:.1f} s: {dict(ready)}")

    def judge(self) -> None:
        """At the end: exactly as it has to be, at rest, and at a bounded price."""
        self.settle()
        self.changes.mend(len(self.notes))
        self.settle()
        self._world.wait_until_quiet(3.0)
        before = self._taken()
        self._assert_exact()
        # Nor was there anything to write when somebody else applied it.
        self._world.wait_until_quiet(3.0)
        assert self._taken() == before
        self._assert_writes_are_bounded()
        self._assert_no_defect()
        print(*(note for note in self.notes if " -- " in note), sep="\n")

    def _taken(self) -> list[AuditEntry]:
        """Writes that the server took: whether a stranger's place is free is tried for ever."""
        return [one for one in self._world.writes() if one.code < 300]

    def _assert_exact(self) -> None:
        """The server itself sees no difference: to apply a child again writes nothing."""
        actual = look(self._client, frozenset(TENANTS)).children

        def apply(child: Child) -> str | None:
            metadata = child.manifest["metadata"]
            was = actual[child.resource, metadata["namespace"], metadata["name"]]
            now = self._client.apply(
                child.resource, child.manifest, field_manager=FIELD_MANAGER, force=True
            )
            if now["metadata"]["resourceVersion"] == was["metadata"]["resourceVersion"]:
                return None
            return f"{was} is not {now}"

        children = [one for key in self._inputs.backups for one in self._model.children(key)]
        assert len(children) > OBJECTS
        with ThreadPoolExecutor(8) as pool:
            assert [one for one in pool.map(apply, children) if one] == []

    def _assert_writes_are_bounded(self) -> None:
        owners = {
            (key.namespace, name): key
            for key in self.changes.keys
            for name in (
                key.name,
                *(child_name(key.namespace, key.name, role) for _, role in CHILDREN),
            )
        }
        writes = Counter(
            owners[one.namespace, one.name]
            for one in self._world.writes()
            if (one.namespace, one.name) in owners
        )
        faults = sum(" -- " in note for note in self.notes)
        cost = {key: count / (self.changes.touched[key] + faults) for key, count in writes.items()}
        dearest = max(cost, key=lambda key: cost[key])
        self.note(f"-- {sum(writes.values())} writes, at most {cost[dearest]:.1f} a change")
        assert cost[dearest] <= _WRITES, f"{dearest}: {writes[dearest]} writes"

    def _assert_no_defect(self) -> None:
        for controller in self._controllers:
            told = [one for one in controller.log() if "stack" in one]
            assert told == []

    def _make_namespace(self, name: str) -> None:
        self._client.create(NAMESPACES, {"metadata": {"name": name}})
        self._client.create(CONFIG_MAPS, an_object(CONFIG_MAPS, name, OWNER))

    def _start(self) -> Controller:
        number = len(self._controllers)
        environment = {
            "POD_NAME": f"controller-{number}",
            # What no event brings about would come by a resync, and nobody would see the fault.
            "RESCAN_INTERVAL": "24h",
            "MAX_ROLLING": "100",
        }
        self._controllers.append(self._world.start(**environment))
        return self._controllers[-1]

    def _leader(self) -> Controller:
        def find() -> Controller | None:
            running = [one for one in self._controllers if one.process.poll() is None]
            return next((one for one in running if one.metric("leader") == 1), None)

        return wait_for(find, timeout_s=60.0)

    # What fails.

    def nothing(self, _tenant: str) -> None:
        """For comparison."""

    def api_server_is_killed(self, _tenant: str) -> None:
        self._server.restart(is_killed=True)

    def api_server_hangs(self, _tenant: str, hang_s: float = 3.0) -> None:
        self._server.suspend()
        try:
            time.sleep(hang_s)
        finally:
            self._server.resume()

    def api_server_hangs_for_longer_than_a_leader_may(self, tenant: str) -> None:
        self.api_server_hangs(tenant, 12.0)

    def history_is_forgotten(self, _tenant: str) -> None:
        leader = self._leader()
        before = leader.metric("cache_watch_endings_total", ending="expired") or 0
        leader.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(2.0)
            self._server.compact()
            self._server.restart(is_killed=True)
        finally:
            leader.process.send_signal(signal.SIGCONT)
        wait_for(lambda: leader.metric("cache_watch_endings_total", ending="expired") > before)

    def leader_is_killed(self, _tenant: str) -> None:
        self._leader().stop(signal.SIGKILL)
        self._start()

    def leader_is_ended(self, _tenant: str) -> None:
        assert self._leader().stop() == 0
        self._start()

    def all_controllers_are_killed(self, _tenant: str) -> None:
        for one in self._controllers:
            if one.process.poll() is None:
                one.stop(signal.SIGKILL)
        self._start()
        self._start()

    def namespace_is_deleted(self, tenant: str) -> None:
        """Delete it with all that is in it; soon it is there again, and empty."""
        self._client.delete(NAMESPACES, tenant)

        def is_gone() -> bool:
            try:
                self._client.get(NAMESPACES, tenant)
            except ObjectNotFound:
                return True
            return False

        wait_for(is_gone)
        self._inputs.forget(tenant)
        self._make_namespace(tenant)
