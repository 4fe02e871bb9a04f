"""Every image: built by the target that builds any, and what is in it runs.

Run by `make test-images`. Client tools come from the database projects' own apt repositories, those
that this machine does not reach from stand-ins, which tests/servers/upstream.py describes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.images import REPOSITORY, Image, choose, size_bytes, unreachable
from release.sources import Sources
from release.version import revision
from tests.release.building import LOAD_ALL, Builder, version
from tests.servers import (
    apt,
    engine,
    mysql,
    mysql_samples,
    postgres,
    postgres_samples,
    upstream,
)
from tests.servers.fixtures import given
from tests.servers.provider import ServerMissing, skip_or_fail

IMAGES = choose(os.environ.get("IMAGES", "").split())
#: Engine -> the programs that it starts, and what they say before their version.
PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "cockroach": {},
    "mariadb": dict.fromkeys(("mariadb", "mariadb-dump"), "(from|Distrib) "),
    "mysql": {"mysql": "Ver ", "mysqldump": "Ver "},
    "postgres": dict.fromkeys(("pg_dump", "pg_restore", "psql"), r"\(PostgreSQL\) "),
}
MOST_BYTES = 250_000_000
MOST_BYTES_OF_THE_CONTROLLER = 150_000_000
#: Says which program, or plugin of one, lacks which library.
LACKING = """
folders=$(ls -d /usr/bin /usr/lib/postgresql /usr/lib/mysql /usr/lib/*/libmariadb3 2>/dev/null)
for file in $(find $folders -type f); do
    ldd "$file" 2>/dev/null | sed -n "s|.*not found|$file: &|p"
done
"""
#: As the samples want it.
DATABASE = "t_0123abcd"
#: Those whose server nobody has without asking for it.
RARE = {"mariadb:11.4", "mysql:8.4"}
pytestmark = pytest.mark.timeout(7200)
of_each = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.key)


@pytest.fixture(scope="module")
def built() -> Iterator[Builder]:
    """All of them, for as long as the engine is there that has them."""
    with contextlib.ExitStack() as stack:
        for container_engine in given(engine.running()):
            try:
                variables = stack.enter_context(upstream.standing_in(unreached()))
            except apt.Impossible as reason:
                skip_or_fail(ServerMissing(str(reason)))
            builder = Builder(
                prefix="localhost/db-backup-controller-all",
                variables=variables,
                # The stand-ins are on loopback.
                options=("--network=host",) if variables else (),
            )
            builder.build(container_engine, IMAGES)
            yield builder


def unreached() -> list[str]:
    """The engines whose projects' repositories do not answer here."""
    silent = unreachable(IMAGES, Sources.from_environment(os.environ))
    return sorted({image.engine for image in IMAGES if image.key in silent})


@of_each
def test_its_programs_run_and_are_of_its_version(built: Builder, image: Image) -> None:
    program = "runner" if image.engine else "controller"

    assert built.run(image, program, "version") == version()
    for name, before in PROGRAMS.get(image.engine, {}).items():
        said = built.run(image, name, "--version")
        assert re.search(rf"{before}{re.escape(image.database_version)}\.\d", said), said


@of_each
def test_nothing_lacks_a_library(built: Builder, image: Image) -> None:
    assert built.run(image, "sh", "-c", LACKING) == ""
    assert int(built.run(image, "python3", "-c", LOAD_ALL)) > 0


@of_each
def test_it_says_what_it_is(built: Builder, image: Image) -> None:
    labels = json.loads(built.inspect(image, "{{json .Config.Labels}}"))
    said = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}

    assert said.pop("description").endswith(image.database_version.replace("all", ""))
    assert said == {
        "title": "-".join(filter(None, ("db-backup-controller", image.engine))),
        "version": version(),
        "revision": revision(REPOSITORY),
        "licenses": "Apache-2.0",
    }
    assert built.inspect(image, "{{.Config.User}}") == "65532:65532"


@of_each
def test_it_has_nothing_to_build_or_install_with(built: Builder, image: Image) -> None:
    assert built.run(image, "id", "-u") == "65532"
    for program in ("cc", "gcc", "ld", "make", "pip", "pip3"):
        assert built.start(image, "sh", "-c", f"command -v {program}").returncode > 0
    assert built.start(image, "python3", "-m", "pip").returncode > 0
    assert built.start(image, "touch", "/tmp/file").returncode > 0, "its root can be written to"


@of_each
def test_it_is_as_small_as_is_said(built: Builder, image: Image) -> None:
    size = size_bytes(built.name(image))
    print(f"{image.key}: {size / 1e6:.0f} MB")

    assert size <= (MOST_BYTES if image.engine else MOST_BYTES_OF_THE_CONTROLLER)


@pytest.mark.parametrize(
    "image",
    [image for image in IMAGES if PROGRAMS.get(image.engine)],
    ids=lambda image: image.key,
)
def test_it_brings_a_database_back(built: Builder, image: Image, tmp_path: Path) -> None:
    """Of a real server of its version, in one container that has no more than a pod."""
    with a_filled_server(image) as (server, fingerprint):
        tmp_path.chmod(0o755)
        (tmp_path / "secrets/shop-db").mkdir(parents=True)
        (tmp_path / "secrets/shop-db/password").write_text(server.password)
        (tmp_path / "cluster").write_text("images\n")
        (tmp_path / "shop.yaml").write_text(yaml.safe_dump_all(objects(image, server)))

        built.run(
            image,
            *("sh", "-c", "backup-now && restore --at now --database copy"),
            options=(
                *("--network=host", "--tmpfs=/tmp", "--tmpfs=/store:uid=65532,mode=0700"),
                *(f"--volume={tmp_path}:/config:ro", "--env=CONFIG_DIR=/config/shop.yaml"),
            ),
        )

        assert fingerprint(server, DATABASE) == fingerprint(server, "copy")


@contextlib.contextmanager
def a_filled_server(image: Image) -> Iterator[tuple[Any, Callable[[Any, str], Any]]]:
    """A server with a database that is filled, and what tells whether two databases are equal."""
    with contextlib.ExitStack() as stack:
        try:
            server: Any = stack.enter_context(running(image))
        except (ServerMissing, postgres.ServerMissing) as missing:
            if image.key in RARE:
                pytest.skip(f"{missing}: make test-versions gets it")
            skip_or_fail(ServerMissing(str(missing)))
        if image.engine == "postgres":
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
            postgres_samples.fill(server, DATABASE)
            yield server, postgres_samples.fingerprint
        else:
            server.run(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
            mysql_samples.fill(server, DATABASE)
            yield server, mysql_samples.fingerprint


def running(image: Image) -> contextlib.AbstractContextManager[Any]:
    """A server by its programs: the engine that images are built with may have no network."""
    series = image.database_version
    if image.engine == "postgres":
        return postgres.running(int(series))
    if series not in mysql.installations(image.engine):
        raise ServerMissing(f"no programs of {image.engine} {series} here")
    return mysql.running(image.engine, series)


def objects(image: Image, server: Any) -> list[dict[str, Any]]:
    """Both of docs/quick-start.md, with a folder of the container."""
    database = {
        "host": server.host,
        "port": server.port,
        "database": DATABASE,
        "user": server.user if image.engine == "postgres" else {"value": server.user},
        "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
    }
    backup = {
        "databaseType": image.engine,
        "backupStorageClass": "folder",
        "suspend": True,
        image.engine: database,
    }
    location = {"name": "folder", "storageType": "filesystem", "path": "/store"}
    return [
        {
            "apiVersion": "backup.nect.com/v1",
            "kind": "DatabaseBackup",
            "metadata": {"namespace": "laptop", "name": "shop"},
            "spec": backup,
        },
        {
            "apiVersion": "backup.nect.com/v1",
            "kind": "DatabaseBackupStorageClass",
            "metadata": {"name": "folder"},
            "spec": {"backupLocations": [location]},
        },
    ]
