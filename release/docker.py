"""The container engine's own program, and building with it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: The last one with BuildKit inside of the program; from the next on it is the plugin buildx.
_LAST_WITH_BUILDKIT = 22
#: The cure, where a build for another platform fails.
EMULATION = (
    "What is built for another platform than this machine's is emulated while it is built, if that"
    " is set up: apt install qemu-user-static"
)


class NoDocker(Exception):
    """There is none that can build; the message says what would help."""


class BuildFailed(Exception):
    """The message is the end of what the build, or the push, said."""


def build(dockerfile: Path, context: Path, options: Sequence[str]) -> None:
    """Build an image.

    Raises: BuildFailed, NoDocker.
    """
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            [program(), "build", "--file", dockerfile, *options, context],
            env=os.environ | {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        log.seek(0)
        if done.returncode:
            raise BuildFailed(log.read()[-4000:].strip())


def push(name: str) -> None:
    """Push an image of the engine to the registry that its name begins with.

    Raises: BuildFailed, NoDocker.
    """
    done = subprocess.run(
        [program(), "push", "--quiet", name], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildFailed(f"it was built, and not pushed: {done.stderr.strip()}")


def for_platform(platform: str) -> list[str]:
    """Options of a build for one platform, such as `linux/arm64`; empty: the engine's own.

    Raises: NoDocker: an engine keeps an image of one platform only.
    """
    if "," in platform:
        raise NoDocker("PLATFORMS names several: only make push-images builds for more than one")
    return ["--platform", platform] if platform else []


def on_platforms(platforms: str) -> list[str]:
    """Options of a build for several platforms; it pushes them, since an engine keeps only one.

    Raises: NoDocker: only buildx builds so.
    """
    if not _has_buildx(program()):
        raise NoDocker("PLATFORMS needs docker's plugin buildx, which is not here")
    return ["--platform", platforms, "--push"]


@functools.cache
def program() -> str:
    """The first docker of PATH that has BuildKit.

    Raises: NoDocker.
    """
    found = [shutil.which("docker", path=folder) for folder in os.get_exec_path()]
    for one in found:
        if one and _has_buildkit(one):
            return one
    if any(found):
        raise NoDocker("docker has no BuildKit here: install its plugin buildx")
    raise NoDocker("there is no docker here: install it (docker.io on Debian)")


def answers() -> bool:
    """Whether an engine listens where the program asks."""
    asked = subprocess.run([program(), "version"], capture_output=True, check=False)
    return asked.returncode == 0


def _has_buildkit(docker: str) -> bool:
    if _has_buildx(docker):
        return True
    told = subprocess.run([docker, "--version"], capture_output=True, text=True, check=False)
    major = re.search(r"version (\d+)", told.stdout)
    return major is not None and int(major[1]) <= _LAST_WITH_BUILDKIT


def _has_buildx(docker: str) -> bool:
    asked = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
    return asked.returncode == 0
