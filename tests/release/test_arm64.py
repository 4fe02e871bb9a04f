"""Images for arm64: built by the target that builds any, and what is in them runs.

Run by `make test-arm64`. On another kind of machine all of it is emulated, which takes long, so it
is no part of anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from release.images import CONTROLLER, Image, choose
from tests.release.building import LOAD_ALL, Builder, version
from tests.servers import engine
from tests.servers.fixtures import given

BUILDER = Builder(platform="linux/arm64", prefix="localhost/db-backup-controller-arm64")
#: Whose parts are all Debian's; IMAGES names others.
IMAGES = choose(os.environ.get("IMAGES", "").split() or [CONTROLLER, "postgres:17"])
DUMPS = {"mariadb": "mariadb-dump", "mysql": "mysqldump", "postgres": "pg_dump"}
pytestmark = [
    pytest.mark.timeout(7200),
    pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.key),
]


@pytest.fixture(scope="module")
def built() -> Iterator[Builder]:
    """All images, for as long as the engine is there that has them."""
    for container_engine in given(engine.running()):
        BUILDER.build(container_engine, IMAGES)
        yield BUILDER


def test_the_image_says_what_it_is_for(built: Builder, image: Image) -> None:
    assert built.inspect(image, "{{.Os}}/{{.Architecture}}") == built.platform


def test_its_programs_run(built: Builder, image: Image) -> None:
    program = "controller" if image.key == CONTROLLER else "runner"

    assert built.run(image, "uname", "-m") == "aarch64"
    assert built.run(image, program, "version") == version()
    assert built.run(image, program, "--version") == version()
    if dump := DUMPS.get(image.engine):
        assert image.database_version in built.run(image, dump, "--version")


def test_all_that_is_compiled_can_be_loaded(built: Builder, image: Image) -> None:
    assert int(built.run(image, "python3", "-c", LOAD_ALL)) > 0
