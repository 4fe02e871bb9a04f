"""Images reach a cluster of kind: its own program, and of its cluster what takes images.

A node of kind is a container with containerd in it, which kind finds by its labels; there is no
Kubernetes in this one, whose image no registry of packages has.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from release import docker, images
from testenv.cluster import Cluster
from tests.integration.jobs.commands import eventually
from tests.servers import engine
from tests.servers.fixtures import given
from tests.servers.provider import ServerMissing, find_program, skip_or_fail

_NODE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG DEBIAN_MIRROR
RUN set -eu; export DEBIAN_FRONTEND=noninteractive; \\
    if [ -n "$DEBIAN_MIRROR" ]; then \\
        find /etc/apt -name '*.sources' -o -name sources.list | xargs -r sed -i -E \\
            "s#https?://[^/ ]+/debian/?( |\\$)#$DEBIAN_MIRROR\\1#"; \\
    fi; \\
    apt-get update -qq; apt-get install -qq -y --no-install-recommends containerd >/dev/null
CMD ["containerd"]
"""


@frozen
class KindNode:
    """The container of a node, and the cluster that its labels say it is of."""

    name: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [docker.program(), "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def images(self) -> list[str]:
        """Those that a kubelet there would find."""
        listed = self.run("ctr", "--namespace=k8s.io", "images", "list", "--quiet")
        assert listed.returncode == 0, listed.stderr
        return listed.stdout.split()


@pytest.fixture
def container_engine() -> Iterator[engine.Engine]:
    yield from given(engine.running())


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have kind on PATH, with a docker that gives a command in a container what the container has.

    kind asks for all capabilities there, which not every machine of tests may give.
    """
    program = find_program("kind", variable="DB_BACKUP_TEST_KIND")
    if program is None:
        skip_or_fail(ServerMissing("no kind program found"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kind").symlink_to(program)
    (folder / "docker").write_text(
        f'#!/bin/bash\nexec {docker.program()} "${{@/#--privileged/-i}}"\n'
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def kind_node(container_engine: engine.Engine, tmp_path: Path) -> Iterator[KindNode]:
    name = f"test-{secrets.token_hex(4)}"
    sources = container_engine.sources(images.NEWEST_SUITE)
    (tmp_path / "Dockerfile").write_text(_NODE)
    options = [
        *(f"--tag=localhost/{name}-node:1", *container_engine.build_options),
        f"--build-arg=BASE_IMAGE={sources.base_image.format(suite=images.NEWEST_SUITE)}",
        f"--build-arg=DEBIAN_MIRROR={sources.debian_mirror}",
    ]
    docker.build(tmp_path / "Dockerfile", tmp_path, options)
    labels = {"cluster": name, "role": "control-plane"}
    command = [docker.program(), "run", "--detach", "--cap-add=SYS_ADMIN", "--network=host"]
    command += [f"--label=io.x-k8s.kind.{key}={text}" for key, text in labels.items()]
    subprocess.run([*command, f"--name={name}", f"localhost/{name}-node:1"], check=True)
    node = KindNode(name)
    try:
        eventually(
            lambda: node.run("ctr", "version").returncode == 0,
            say=lambda: node.run("ctr", "version").stderr,
        )
        yield node
    finally:
        subprocess.run([docker.program(), "rm", "--force", "--volumes", name], check=True)


@pytest.fixture
def an_image(container_engine: engine.Engine, tmp_path: Path) -> str:
    """One of no more than a file, which no registry has."""
    name = f"localhost/test-{secrets.token_hex(4)}:1"
    (tmp_path / "Smallest").write_text("FROM scratch\nCOPY Smallest /\n")
    options = [f"--tag={name}", *container_engine.build_options]
    docker.build(tmp_path / "Smallest", tmp_path, options)
    return name


@pytest.mark.usefixtures("kind")
def test_images_are_given_to_a_node_of_kind(kind_node: KindNode, an_image: str) -> None:
    cluster = Cluster(context=f"kind-{kind_node.name}", server="https://127.0.0.1:1")
    assert an_image not in kind_node.images()

    cluster.give([an_image], is_registry=False)

    assert an_image in kind_node.images()
