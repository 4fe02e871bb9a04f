"""Images by the target that builds any, and their programs as a pod would run them."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from release import docker
from release.images import REPOSITORY, Image
from release.version import describe
from tests.servers.engine import Engine

#: For `python3 -c`. What a wheel has compiled is for one kind of machine, and is not looked at
#: before it is loaded.
LOAD_ALL = """
import ctypes, pathlib, sysconfig
files = list(pathlib.Path(sysconfig.get_path("purelib")).rglob("*.so"))
for file in files:
    ctypes.CDLL(str(file))
print(len(files))
"""


@functools.cache
def version() -> str:
    """That of the checkout, or the one that `make ... VERSION=...` says."""
    return os.environ.get("VERSION") or describe(REPOSITORY)


@frozen(kw_only=True)
class Builder:
    """Builds images, and starts what is in them.

    Args:
        prefix: of their names.
        platform: such as `linux/arm64`; empty: the engine's own.
        variables: of `make images`, beside those that the environment has.
        options: of `docker build`, beside those that the engine needs.
    """

    prefix: str
    platform: str = ""
    variables: Mapping[str, str] = field(factory=dict)
    options: Sequence[str] = ()

    def build(self, container_engine: Engine, images: Sequence[Image]) -> None:
        """Run `make images`."""
        sources = container_engine.sources(*{one.suite for one in images}, platform=self.platform)
        options = [
            *shlex.split(os.environ.get("BUILD_OPTIONS", "")),
            *container_engine.build_options,
            *self.options,
        ]
        given = {
            "IMAGES": " ".join(image.key for image in images),
            "IMAGE_PREFIX": self.prefix,
            "PLATFORMS": self.platform,
            "VERSION": version(),
            "BASE_IMAGE": sources.base_image,
            "DEBIAN_MIRROR": sources.debian_mirror,
            "BUILD_OPTIONS": shlex.join(dict.fromkeys(options)),
        }
        subprocess.run(
            ["make", "--no-print-directory", "images", *(f"{k}={v}" for k, v in given.items())],
            cwd=REPOSITORY,
            env={**os.environ, **self.variables},
            check=True,
        )

    def name(self, image: Image) -> str:
        return image.name(self.prefix, version())

    def inspect(self, image: Image, template: str) -> str:
        """What the engine knows of an image, as a template of Go has it."""
        command = [docker.program(), "inspect", f"--format={template}", self.name(image)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def start(
        self, image: Image, *command: str, options: Sequence[str] = ("--network=none",)
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of an image to its end, with no more than a pod gives it.

        Args:
            options: of `docker run`.
        """
        return subprocess.run(
            [
                *(docker.program(), "run", "--rm", *docker.for_platform(self.platform)),
                *("--read-only", "--cap-drop=ALL", *options, self.name(image), *command),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, image: Image, *command: str, options: Sequence[str] = ("--network=none",)) -> str:
        """What a program of an image prints that succeeds."""
        done = self.start(image, *command, options=options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()
