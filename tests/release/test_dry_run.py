"""A release, rehearsed: what hosted CI publishes, into a registry of this machine, and from there.

`make release-dry-run`; ``IMAGES="controller postgres:17"`` and the other variables of `make images`
count here, too. Needs Docker, or its daemon and root, and nothing of a cluster: containers of the
published images do, with the account and the environment of their pods, what a kubelet would have
them do.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from controller.api.names import child_name
from controller.kube.resource import DEPLOYMENTS
from release import docker
from release.images import CONTROLLER, Image, choose
from release.version import describe
from tests.integration.controller.world import World, wait_for
from tests.integration.release.installing import PAGES, ROOT, documented, jobs_are_run, publish
from tests.servers import engine
from tests.servers.fixtures import given
from tests.servers.helm import RELEASE, VARIABLE, Helm
from tests.servers.kubernetes import KubernetesServer
from tests.servers.provider import free_port
from tests.servers.registry import Registry

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
IMAGES = choose(os.environ.get("IMAGES", "").split())
# Images that were never built here.
pytestmark = pytest.mark.timeout(3600)


@functools.cache
def version() -> str:
    """That of the checkout, or the one that `make release-dry-run VERSION=...` says."""
    return os.environ.get("VERSION") or describe(ROOT)


def named(image: Image, registry: Registry) -> str:
    return image.name(f"{registry.address}/db-backup-controller", version())


@frozen
class Containers:
    """Containers of published images, which may do what the pods of a chart may."""

    server: KubernetesServer
    folder: Path

    def run(self, image: str, *command: str) -> str:
        """What a command prints, in a container of an image that comes from the registry."""
        done = subprocess.run(
            [docker.program(), "run", "--rm", "--network=host", "--pull=always", image, *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def argv(self, namespace: str, pod: Mapping[str, Any], **environment: str) -> list[str]:
        """The command that does what a kubelet would do of a pod."""
        (container,) = pod["containers"]
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        token = self.server.token_for(namespace, pod["serviceAccountName"])
        for name, text in (
            ("token", token),
            ("namespace", namespace),
            ("ca.crt", self.server.ca_file.read_text()),
        ):
            (folder / name).write_text(text)
            (folder / name).chmod(0o644)
        given = {one["name"]: one["value"] for one in container.get("env", ()) if "value" in one}
        given |= {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.port),
        } | environment
        security = pod["securityContext"]
        return [
            *(docker.program(), "run", "--rm", "--network=host", "--pull=always", "--read-only"),
            *("--cap-drop=ALL", f"--user={security['runAsUser']}:{security['runAsGroup']}"),
            f"--volume={folder}:{ACCOUNT_FOLDER}:ro",
            *(f"--env={name}={text}" for name, text in given.items()),
            *(container["image"], *container["command"]),
        ]

    def run_pod(self, namespace: str, pod: Mapping[str, Any]) -> tuple[int, str]:
        """Run a pod to its end; the code, and what it said."""
        argv = self.argv(namespace, pod)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    @contextlib.contextmanager
    def serving(self, namespace: str, pod: Mapping[str, Any]) -> Iterator[int]:
        """Run a pod that serves; the port of its metrics."""
        port, name = free_port(), f"dry-run-{secrets.token_hex(4)}"
        program, *arguments = self.argv(namespace, pod, POD_NAME=name, LISTEN=f"127.0.0.1:{port}")
        arguments.insert(1, f"--name={name}")
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
        try:
            yield port
        finally:
            subprocess.run([program, "stop", name], capture_output=True, check=False)
            process.wait(60)


@pytest.fixture(scope="module")
def containers(
    kubernetes_server: KubernetesServer, tmp_path_factory: pytest.TempPathFactory
) -> Containers:
    folder = tmp_path_factory.mktemp("accounts")
    # The user of a container has to come in.
    for one in (folder, *folder.parents[:2]):
        one.chmod(0o755)
    return Containers(kubernetes_server, folder)


@pytest.fixture(scope="module")
def published(local_registry: Registry, helm: Helm) -> Iterator[Registry]:
    """The registry, after the two targets that hosted CI calls."""
    for container_engine in given(engine.running()):
        base_image = container_engine.sources(*{image.suite for image in IMAGES}).base_image
        options = [
            *shlex.split(os.environ.get("BUILD_OPTIONS", "")),
            *container_engine.build_options,
        ]
        build = {"BASE_IMAGE": base_image, "BUILD_OPTIONS": shlex.join(options)}
        publish("push-images", local_registry, version(), **build)
        # Helm trusts the registry's certificate by it; a build would take it for its own, too.
        trust = {"SSL_CERT_FILE": str(local_registry.ca_file), VARIABLE: str(helm.program)}
        publish("push-chart", local_registry, version(), **trust)
        yield local_registry


def labels_of(registry: Registry, repository: str, tag: str) -> dict[str, str]:
    manifest = registry.manifest(repository, tag)
    found: dict[str, str] = json.loads(registry.blob(repository, manifest["config"]["digest"]))[
        "config"
    ]["Labels"]
    return found


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.key)
def test_an_image_is_there_and_tells_its_version(
    published: Registry, containers: Containers, image: Image
) -> None:
    repository, _, tag = (
        named(image, published).removeprefix(f"{published.address}/").partition(":")
    )
    program = "controller" if image.key == CONTROLLER else "runner"

    labels = labels_of(published, repository, tag)

    assert labels["org.opencontainers.image.version"] == version()
    assert containers.run(named(image, published), program, "version") == version()
    assert containers.run(named(image, published), program, "--version") == version()


def test_the_chart_is_there_and_every_tag_has_the_version(published: Registry) -> None:
    assert published.tags(f"charts/{RELEASE}") == [version()]
    names = sorted(named(image, published) for image in IMAGES)
    repositories = {name.partition("/")[2].rpartition(":")[0] for name in names}
    tags = [
        f"{published.address}/{one}:{tag}" for one in repositories for tag in published.tags(one)
    ]
    assert sorted(tags) == names


def test_the_command_of_the_readme_installs_a_controller_that_makes_runners_of_its_version(
    published: Registry,
    containers: Containers,
    kubernetes_server: KubernetesServer,
    helm: Helm,
    tmp_path: Path,
) -> None:
    _, *arguments = documented(PAGES[0], published, version())
    kubeconfig = kubernetes_server.kubeconfig()
    with jobs_are_run(kubernetes_server, containers.run_pod) as said:
        done = helm.run(*arguments, kubeconfig=kubeconfig, ca_file=published.ca_file)
    assert done.returncode == 0, (done.stderr, said)
    path = DEPLOYMENTS.path(RELEASE, RELEASE)
    pod = kubernetes_server.request("GET", path).body["spec"]["template"]["spec"]
    (runner, *_) = [image for image in IMAGES if image.key != CONTROLLER]
    world = World(kubernetes_server, tmp_path)
    world.create_class(backupLocations=[a_location()])

    with containers.serving(RELEASE, pod) as port:
        wait_for(lambda: f'controller_build_info{{version="{version()}"}} 1.0' in metrics(port))
        world.create_backup(databaseVersion=runner.database_version)
        found = wait_for(lambda: world.get(DEPLOYMENTS, child_name(world.namespace, "shop")))

    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["image"] == named(runner, published)


def a_location() -> dict[str, Any]:
    keys = ("storageAccessKeyID", "storageSecretAccessKey")
    location = {"name": "s3", "storageType": "s3", "storageBucket": "backups"}
    return location | {key: {"value": "a-text"} for key in keys}


def metrics(port: int) -> str:
    """Nothing while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
