"""Both sides together: a controller process, and a runner process as its pod would be."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.deletion import FINALIZER
from controller.api.names import child_name
from controller.kube.resource import (
    DATABASE_BACKUP_STORAGE_CLASSES,
    DATABASE_BACKUPS,
    DEPLOYMENTS,
    EVENTS,
    SECRETS,
)
from runner.repository.catalogue import Catalogue
from runner.repository.layout import Layout
from runner.repository.manifest import Owner
from runner.storage.filesystem import FilesystemStorage
from tests.integration.controller.world import Controller, World, wait_for
from tests.servers import kubelet
from tests.unit.repository.samples import a_manifest, put_data


class Pod:
    """The runner of the object `shop`: its account, its mounted configuration, its process."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self.name = child_name(world.namespace, "shop")
        self.log = folder / "runner.log"
        for name in ("config", "account", "run", "tmp"):
            (folder / name).mkdir(mode=0o700)
        account = folder / "account"
        (account / "token").write_text(world.server.token_for(world.namespace, self.name))
        (account / "ca.crt").write_text(world.server.ca_file.read_text())
        self.mount()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "runner"), "run"],
                env=os.environ
                | {
                    "CONFIG_DIR": str(folder / "config"),
                    "CONTROL_DIR": str(folder / "run"),
                    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                    "KUBERNETES_SERVICE_PORT": str(world.server.port),
                    "LEASE_DURATION": "6s",
                    "LISTEN": "127.0.0.1:0",
                    "POD_NAME": "pod-1",
                    "RUNNER_IN_CLUSTER": "true",
                    "SERVICE_ACCOUNT_DIR": str(account),
                    "TMPDIR": str(folder / "tmp"),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def mount(self) -> None:
        """What the kubelet does: the volume of the Deployment's pod, from the Secrets it names."""
        deployment = self._world.child(DEPLOYMENTS)
        secret = self._world.child(SECRETS)
        assert deployment is not None
        assert secret is not None
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        (projected,) = [one["projected"] for one in volumes if "projected" in one]
        data = {key: base64.b64decode(text) for key, text in secret["data"].items()}
        # The token is projected, too, and no Secret.
        sources = [one for one in projected["sources"] if "secret" in one]
        kubelet.mount(
            projected | {"sources": sources},
            {secret["metadata"]["name"]: data},
            self._folder / "config",
        )

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


class Bench:
    """An object with three backups in a folder, and both sides at work."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder / "backups"
        self.folder.mkdir()
        location = {"name": "nas", "storageType": "filesystem", "path": str(self.folder)}
        world.change(
            DATABASE_BACKUP_STORAGE_CLASSES,
            world.class_name,
            lambda raw: raw["spec"].update(backupLocations=[location]),
        )
        world.create_backup(deletionPolicy="Delete", suspend=True)
        world.wait_for_children()
        self.catalogue = self.catalogue_of("shop")
        for number in range(3):
            put_data(self.catalogue, self.storage, number)
            owner = Owner(namespace=world.namespace, name="shop")
            self.catalogue.commit(a_manifest(number, owner=owner))
        self.catalogue_of("shop2").claim("another-cluster")
        self.pod = Pod(world, folder)
        world.wait_for_condition("LocationsHealthy", "True", "AllHealthy")

    @property
    def storage(self) -> FilesystemStorage:
        return FilesystemStorage("nas", self.folder)

    def catalogue_of(self, name: str) -> Catalogue:
        return Catalogue(self.storage, Layout(namespace=self.world.namespace, name=name))

    def keys(self) -> list[str]:
        return [info.key for info in self.storage.list(self.catalogue.layout.root)]

    def others(self) -> list[str]:
        return [info.key for info in self.storage.list("") if info.key not in self.keys()]

    def wait_until_gone(self) -> None:
        wait_for(lambda: self.world.get(DATABASE_BACKUPS, "shop") is None, timeout_s=90)

    def told(self) -> dict[str, str]:
        path = EVENTS.path(self.world.namespace)
        items: list[dict[str, Any]] = self.world.server.request("GET", path).body["items"]
        return {one["reason"]: one["message"] for one in items}


@pytest.fixture
def bench(world: World, controller: Controller, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(world, tmp_path)
    yield bench
    bench.pod.end()


def test_an_object_goes_and_nothing_of_it_is_left(bench: Bench) -> None:
    others = bench.others()
    assert len(bench.keys()) >= 3 * 3 + 1

    bench.world.delete(DATABASE_BACKUPS, "shop")
    assert bench.world.get(DATABASE_BACKUPS, "shop")["metadata"]["finalizers"] == [FINALIZER]

    bench.wait_until_gone()
    assert bench.keys() == []
    assert bench.others() == others
    wait_for(lambda: bench.told().get("DataDeleted") == "nas: deleted 3 backups")


def test_the_class_may_be_gone_first(bench: Bench) -> None:
    bench.world.delete(DATABASE_BACKUP_STORAGE_CLASSES, bench.world.class_name)
    bench.world.wait_for_condition("Ready", "False", "DependencyMissing")

    bench.world.delete(DATABASE_BACKUPS, "shop")

    bench.wait_until_gone()
    assert bench.keys() == []


def test_what_another_cluster_owns_stays_and_the_object_goes(bench: Bench) -> None:
    bench.catalogue.adopt("another-cluster")
    before = bench.keys()

    bench.world.delete(DATABASE_BACKUPS, "shop")

    bench.wait_until_gone()
    assert bench.keys() == before
    message = wait_for(lambda: bench.told().get("DataRetained"))
    assert f"nas: {bench.folder}/{bench.world.namespace}/shop/" in message
    assert "cluster another-cluster writes backups" in message


def test_with_retain_everything_stays(bench: Bench) -> None:
    bench.world.change(
        DATABASE_BACKUPS, "shop", lambda raw: raw["spec"].update(deletionPolicy="Retain")
    )
    wait_for(lambda: "finalizers" not in bench.world.get(DATABASE_BACKUPS, "shop")["metadata"])
    before = bench.keys()

    bench.world.delete(DATABASE_BACKUPS, "shop")

    bench.wait_until_gone()
    bench.world.wait_until_quiet()
    assert bench.keys() == before
