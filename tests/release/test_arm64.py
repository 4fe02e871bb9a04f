"""Images for arm64: built by the target that builds any, and what is in them runs.

Run by `make test-arm64`. On another kind of machine all of it is emulated, which takes long, so it
is no part of anything else.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from release import docker
from release.images import CONTROLLER, REPOSITORY, Image, choose
from release.version import describe
from tests.servers import engine
from tests.servers.fixtures import given

PLATFORM = "linux/arm64"
PREFIX = "localhost/db-backup-controller-arm64"
#: Whose parts are all Debian's; IMAGES names others.
IMAGES = choose(os.environ.get("IMAGES", "").split() or [CONTROLLER, "postgres:17"])
DUMPS = {"mariadb": "mariadb-dump", "mysql": "mysqldump", "postgres": "pg_dump"}
# What a wheel has compiled is for one kind of machine, and is not looked at before it is loaded.
LOAD_ALL = """
import ctypes, pathlib, sysconfig
files = list(pathlib.Path(sysconfig.get_path("purelib")).rglob("*.so"))
for file in files:
    ctypes.CDLL(str(file))
print(len(files))
"""
pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.key),
]


@pytest.fixture(scope="module")
def built() -> Iterator[None]:
    """All images, for as long as the engine is there that has them."""
    for container_engine in given(engine.running()):
        sources = container_engine.sources(*{one.suite for one in IMAGES}, platform=PLATFORM)
        options = [
            *shlex.split(os.environ.get("BUILD_OPTIONS", "")),
            *container_engine.build_options,
        ]
        subprocess.run(
            [
                *("make", "--no-print-directory", "images", f"PLATFORMS={PLATFORM}"),
                *(f"IMAGES={' '.join(image.key for image in IMAGES)}", f"IMAGE_PREFIX={PREFIX}"),
                *(f"BASE_IMAGE={sources.base_image}", f"BUILD_OPTIONS={shlex.join(options)}"),
                f"VERSION={version()}",
            ],
            cwd=REPOSITORY,
            check=True,
        )
        yield


@functools.cache
def version() -> str:
    """That of the checkout, or the one that `make test-arm64 VERSION=...` says."""
    return os.environ.get("VERSION") or describe(REPOSITORY)


def run(image: Image, *command: str) -> str:
    """What a program of an image prints, as a pod would run it."""
    done = subprocess.run(
        [
            *(docker.program(), "run", "--rm", "--platform", PLATFORM, "--network=none"),
            *("--read-only", "--cap-drop=ALL", image.name(PREFIX, version()), *command),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.usefixtures("built")
def test_the_image_says_what_it_is_for(image: Image) -> None:
    name = image.name(PREFIX, version())
    command = [docker.program(), "inspect", "--format={{.Os}}/{{.Architecture}}", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == PLATFORM


@pytest.mark.usefixtures("built")
def test_its_programs_run(image: Image) -> None:
    program = "controller" if image.key == CONTROLLER else "runner"

    assert run(image, "uname", "-m") == "aarch64"
    assert run(image, program, "version") == version()
    assert run(image, program, "--version") == version()
    if dump := DUMPS.get(image.key.partition(":")[0]):
        assert image.database_version in run(image, dump, "--version")


@pytest.mark.usefixtures("built")
def test_all_that_is_compiled_can_be_loaded(image: Image) -> None:
    assert int(run(image, "python3", "-c", LOAD_ALL)) > 0
