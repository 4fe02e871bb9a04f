"""The cluster of the current context: is it one for trying out, and how it gets images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen

from release import docker
from tests.servers.kubernetes import find_kubernetes_program
from tests.servers.node import addresses, machine

#: Beginnings of the names that tools for one's own machine give to their contexts.
_LOCAL_NAMES = (
    "kind-",
    "k3d-",
    "minikube",
    "docker-desktop",
    "rancher-desktop",
    "colima",
    "orbstack",
)
#: Of these, the ones that take images: the last two have those of the engine already.
_GIVEN = ("kind-", "minikube", "docker-desktop", "orbstack")


class Refused(Exception):
    """What is asked for is not done; the message says why, and what would help."""


@frozen(kw_only=True)
class Cluster:
    """What the current context says.

    Args:
        context: its name.
        server: URL of the API server.
    """

    context: str
    server: str

    @property
    def host(self) -> str:
        return urlsplit(self.server).hostname or ""

    @property
    def is_node(self) -> bool:
        """Whether it is that of `make cluster-up`."""
        return self.host == addresses.ADDRESS

    @property
    def is_local(self) -> bool:
        """An address of this machine says nothing: a tunnel to anywhere has one."""
        return self.context.startswith(_LOCAL_NAMES) or self.is_node

    def check_can_give(self, *, is_registry: bool) -> None:
        """Whether `give` can work at all, to be known before anything is built.

        Raises: Refused.
        """
        if not (is_registry or self.is_node or self.context.startswith(_GIVEN)):
            raise Refused(
                f"how images get to the cluster {self.context} is not known here: name a registry"
                " that it reaches, with LOCAL_IMAGE=localhost:5000/db-backup-controller"
            )

    def give(self, names: Sequence[str], *, is_registry: bool) -> None:
        """Bring images of the container engine to where the cluster finds them.

        Args:
            is_registry: their names are of a registry that the cluster reaches.
        Raises: Refused.
        """
        self.check_can_give(is_registry=is_registry)
        if is_registry:
            for name in names:
                docker.push(name)
        elif self.is_node:
            machine.of_this_machine().load(docker.program(), names)
        elif self.context.startswith("kind-"):
            run(["kind", "load", "docker-image", "--name", self.context[len("kind-") :], *names])
        elif self.context.startswith("minikube"):
            for name in names:
                run(["minikube", "--profile", self.context, "image", "load", name])


def current() -> Cluster:
    """The cluster of the current context.

    Raises: Refused: there is none, or it is not local and nobody said that this is meant.
    """
    try:
        shown = json.loads(kubectl("config", "view", "--minify", "--output=json"))
    except Refused as error:
        raise Refused(
            f"there is no cluster to use ({error}); `make cluster-up` starts one"
        ) from error
    server = shown["clusters"][0]["cluster"]["server"]
    found = Cluster(context=shown["current-context"], server=server)
    if not found.is_local and os.environ.get("ANY_CONTEXT") != "yes":
        raise Refused(
            f"the current context is {found.context} ({found.server}), which does not look like a"
            " cluster for trying out; if it is meant, say ANY_CONTEXT=yes"
        )
    return found


def kubectl(*arguments: str, is_shown: bool = False) -> str:
    """Run kubectl in the current context, and return what it prints.

    Args:
        is_shown: it goes to the person instead.
    Raises: Refused: it failed; ServerMissing: there is none.
    """
    program = shutil.which("kubectl") or str(find_kubernetes_program("kubectl"))
    return run([program, *arguments], is_shown=is_shown)


def run(command: Sequence[str], *, is_shown: bool = False) -> str:
    """Run a program, and return what it prints.

    Raises: Refused: it failed, or is not there.
    """
    try:
        done = subprocess.run(command, capture_output=not is_shown, text=True, check=False)
    except FileNotFoundError as error:
        raise Refused(f"there is no {command[0]} here") from error
    if done.returncode:
        said = (done.stderr or "").strip()
        raise Refused(f"{command[0]} {' '.join(command[1:3])} ended with {done.returncode}: {said}")
    return done.stdout or ""
