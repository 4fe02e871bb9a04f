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


class NoDocker(Exception):
    """There is none that can build; the message says what would help."""


class BuildFailed(Exception):
    """The message is the end of what the build said."""


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
    if subprocess.run([docker, "buildx", "version"], capture_output=True, check=False).returncode:
        told = subprocess.run([docker, "--version"], capture_output=True, text=True, check=False)
        major = re.search(r"version (\d+)", told.stdout)
        return major is not None and int(major[1]) <= _LAST_WITH_BUILDKIT
    return True
