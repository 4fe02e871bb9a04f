"""A container engine to build images with: the one that is there, or one of its own for as long.

One's own has a network of no containers: what is built uses that of the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve, frozen

from release import base, docker
from release.sources import Sources
from tests.servers import apt, cgroups
from tests.servers.cache import cache_dir
from tests.servers.provider import ServerMissing, ServerProcess, child_of, start_process

_START_TIMEOUT_S = 30.0
#: What stays of layers that no image has: enough for the next build of each image.
_CACHE = "3GB"


@frozen
class Engine:
    """A container engine that answers.

    Args:
        build_options: what every `docker build` with it needs.
    """

    build_options: tuple[str, ...] = ()

    def has_image(self, name: str, *, platform: str = "") -> bool:
        """Whether it is here, and for a platform such as `linux/arm64` if one is named."""
        command = [docker.program(), "image", "inspect", "--format={{.Os}}/{{.Architecture}}", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode == 0 and platform in {"", done.stdout.strip()}

    def pull(self, name: str, *, platform: str = "") -> bool:
        """Whether a registry gave it."""
        command = [docker.program(), "pull", "--quiet", *docker.for_platform(platform), name]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def sources(self, *suites: str, platform: str = "") -> Sources:
        """Where builds get things from: a registry's base, if it can be had, else one made here.

        Args:
            suites: the releases of Debian that are built on. They have one base: where that of
                one is missing, all are made here that are not there yet.
            platform: such as `linux/arm64`; empty: the engine's own.
        Raises: NotMade.
        """
        sources = Sources.from_environment(os.environ)
        names = [sources.base_image.format(suite=suite) for suite in suites]
        if all(
            self.has_image(name, platform=platform) or self.pull(name, platform=platform)
            for name in names
        ):
            return sources
        mirror = sources.debian_mirror or apt.mirror_of_this_machine() or ""
        made = base.name(platform)
        for suite in suites:
            if not self.has_image(made.format(suite=suite)):
                base.make(suite, mirror, platform=platform)
        return evolve(sources, base_image=made)


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """Raises ServerMissing."""
    try:
        answers = docker.answers()
    except docker.NoDocker as error:
        raise ServerMissing(str(error)) from error
    if answers:
        yield Engine()
        return
    with own(cache_dir() / "docker") as started:
        yield started


@contextlib.contextmanager
def own(folder: Path) -> Iterator[Engine]:
    """One that nobody else uses; what it built is in `folder` the next time.

    Raises: ServerMissing.
    """
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise ServerMissing("no container engine answers, and one's own needs root and dockerd")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / "lock"), _own(folder):
        yield Engine(build_options=("--network=host",))


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait for another run of this machine: one daemon alone may use the folder.

    The kernel lets go of the lock when its process ends, however that comes about.
    """
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run, which builds images in {file.parent} ...", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _own(folder: Path) -> Iterator[None]:
    """A daemon with a view of its own of processes and mounts, ended by one process id.

    Args:
        folder: kept from run to run: what was built once is not built again.
    """
    state = folder / "exec"
    if state.exists():  # of one that was killed: its process ids are others' in the next one's view
        shutil.rmtree(state)
    state.mkdir(mode=0o700)
    socket = state / "docker.sock"
    daemon = [
        *("dockerd", f"--data-root={folder / 'data'}", f"--exec-root={state}"),
        *(f"--pidfile={state / 'dockerd.pid'}", f"--host=unix://{socket}"),
        *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
    ]
    with contextlib.ExitStack() as stack:
        stack.callback(_set_host, os.environ.get("DOCKER_HOST"))
        _set_host(f"unix://{socket}")
        process = start_process(
            [
                *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--"),
                *("sh", "-c", 'mount -t tmpfs tmpfs /run; exec "$@"', "sh", *daemon),
            ],
            log_file=folder / "log",
            is_ready=docker.answers,
            timeout_s=_START_TIMEOUT_S,
        )
        stack.callback(cgroups.remove, "docker")
        stack.callback(_end, process)
        stack.callback(_forget_the_old)
        yield


def _forget_the_old() -> None:
    """Each commit leaves images of its own: what nobody built for two days goes."""
    prune = (docker.program(), "image", "prune", "--all", "--force", "--filter=until=48h")
    subprocess.run(prune, capture_output=True, check=False)
    prune = (docker.program(), "builder", "prune", "--force", f"--keep-storage={_CACHE}")
    subprocess.run(prune, capture_output=True, check=False)


def _end(process: ServerProcess) -> None:
    """Let the daemon close its files; it ends, and with it who has waited for it."""
    if daemon := child_of(process.pid):
        os.kill(daemon, signal.SIGTERM)
    process.wait()


def _set_host(url: str | None) -> None:
    if url is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = url
