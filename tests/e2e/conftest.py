"""One node a run, with the images of this very tree and the chart; one namespace a test.

Databases and buckets are servers of the machine, which pods reach through proxies
on its end of the wire.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from attrs import define

from controller.api.version import version as installed_version
from release import docker, images, version
from tests.e2e.kubectl import Kubectl
from tests.e2e.tenant import (
    CONTROLLER,
    MariadbTenant,
    PostgresTenant,
    Tenant,
    a_class,
    a_location,
    a_secret,
    unique,
)
from tests.servers import engine, mysql_samples, postgres_samples
from tests.servers.fixtures import given
from tests.servers.helm import CHART, RELEASE, Helm
from tests.servers.minio import MinioServer
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import ServerOf
from tests.servers.node import addresses
from tests.servers.node.machine import Machine, of_this_machine
from tests.servers.postgres import PostgresServer
from tests.servers.provider import ServerMissing, skip_or_fail
from tests.servers.proxy import TcpProxy

MAJOR = 17
ENGINE_IMAGE = f"postgres:{MAJOR}"
MARIADB_IMAGE = "mariadb:11.8"
# Images that were never built here, on a machine that does something else, too.
_TIMEOUT_S = 1200
_FIGURES: dict[str, str] = {}
Uninstall = Callable[[], None]
_Kind = TypeVar("_Kind", bound=Tenant)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What docs/benchmarks.md has a table of."""
    if _FIGURES:
        terminalreporter.section("measured")
    for what, figure in _FIGURES.items():
        terminalreporter.line(f"{what}: {figure}")


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """What was measured -> how much."""
    return _FIGURES


@define(kw_only=True, eq=False)
class Release:
    """The images of what is checked out, in the node.

    Args:
        name: of the release; the tag of the controller's image.
    """

    node: Machine
    name: str

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.node.programs.kubectl, self.node.kubeconfig)


@pytest.fixture(scope="session")
def node() -> Iterator[Machine]:
    """A node that is just up; it is gone afterwards, with everything in it."""
    try:
        machine = of_this_machine()
    except ServerMissing as missing:
        skip_or_fail(missing)
    machine.up()
    try:
        yield machine
    finally:
        machine.down()


@pytest.fixture(scope="session")
def release(node: Machine, figures: dict[str, str]) -> Release:
    try:
        name = version.describe(images.REPOSITORY)
    except version.NoVersion:
        # A clone without its history: by what this environment is installed as.
        name = installed_version()
    _load_images(node, name, images.CONTROLLER, ENGINE_IMAGE, figures=figures)
    return Release(node=node, name=name)


@pytest.fixture(scope="session")
def next_release(node: Machine, release: Release) -> str:
    """The same code under another name, as its images say."""
    name = "0.0.0-g0000000"
    _load_images(node, name, images.CONTROLLER, ENGINE_IMAGE)
    return name


def _load_images(
    node: Machine, release_name: str, *keys: str, figures: dict[str, str] | None = None
) -> None:
    """Build the images and give them to the node."""
    for container_engine in given(engine.running()):
        sources = container_engine.sources(images.NEWEST_SUITE)
        built = {
            image.key: images.build(
                image,
                prefix=images.DEFAULT_PREFIX,
                release=release_name,
                sources=sources,
                options=container_engine.build_options,
            )
            for image in images.choose(keys)
        }
        node.load(docker.program(), list(built.values()))
        if figures is not None:
            for key, name in built.items():
                figures[f"image {key}"] = f"{images.size_bytes(name) / 1e6:.0f} MB"


@pytest.fixture(scope="session")
def install(release: Release, helm: Helm) -> Callable[..., None]:
    """The command of docs/install.md, with further options."""

    def run(*options: str) -> None:
        done = helm.run(
            *("upgrade", "--install", "--create-namespace", "--namespace", CONTROLLER),
            *("--set", f"image.repo={images.DEFAULT_PREFIX}", "--set", f"image.tag={release.name}"),
            *options,
            *(RELEASE, CHART),
            kubeconfig=release.node.kubeconfig,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def installed(release: Release, install: Callable[..., None], figures: dict[str, str]) -> Kubectl:
    """A cluster in which the chart is installed and the controller is up."""
    began = time.monotonic()
    install("--wait")
    figures["from helm install to a controller that is ready"] = _seconds(began)
    return release.kubectl


@pytest.fixture
def uninstall(release: Release, helm: Helm, install: Callable[..., None]) -> Iterator[Uninstall]:
    """`helm uninstall`; whatever a test installs instead, the release is there again after it."""

    def run() -> None:
        done = helm.run(
            *("uninstall", RELEASE, "--namespace", CONTROLLER, "--wait", "--ignore-not-found"),
            kubeconfig=release.node.kubeconfig,
        )
        assert done.returncode == 0, done.stderr

    yield run
    install("--wait")


@pytest.fixture(scope="session")
def storage(installed: Kubectl, minio_server: MinioServer) -> Iterator[TcpProxy]:
    """MinIO, where pods reach it, and the Secrets of every class."""
    keys = {
        "access_key_id": minio_server.access_key,
        "secret_access_key": minio_server.secret_key,
    }
    installed.apply(
        a_secret(CONTROLLER, "backup-s3", **keys),
        a_secret(CONTROLLER, "backup-encryption", passphrase="correct horse battery staple"),
    )
    with TcpProxy(minio_server.port, listen_host=addresses.HOST) as proxy:
        yield proxy


@pytest.fixture
def tenant(
    installed: Kubectl,
    storage: TcpProxy,
    minio_server: MinioServer,
    postgres17: PostgresServer,
    a_database: Callable[[PostgresServer], str],
) -> Iterator[PostgresTenant]:
    """A filled database and a class with one bucket; the object itself is the test's to create."""
    yield from _of_postgres(installed, storage, minio_server, postgres17, a_database(postgres17))


@pytest.fixture
def mariadb_tenant(
    installed: Kubectl,
    release: Release,
    figures: dict[str, str],
    storage: TcpProxy,
    minio_server: MinioServer,
    server_of: ServerOf,
    a_schema: Callable[[MysqlServer], str],
) -> Iterator[MariadbTenant]:
    """The same of MariaDB, and its runner's image."""
    _load_images(release.node, release.name, MARIADB_IMAGE, figures=figures)
    server = server_of("mariadb", "11.8")
    database = a_schema(server)
    mysql_samples.fill(server, database)
    with TcpProxy(server.port, listen_host=addresses.HOST) as wire:
        one = MariadbTenant(
            kubectl=installed,
            namespace=unique("webshop"),
            server=server,
            database=database,
            wire=wire,
            storage_class=unique("standard"),
            bucket=minio_server.new_bucket(),
        )
        yield from _with_its_class(one, storage)


@pytest.fixture
def protected(tenant: PostgresTenant) -> PostgresTenant:
    """The same as `tenant`, with the object, its runner and its first backup."""
    return _protect(tenant)


@pytest.fixture(scope="module")
def watched(
    installed: Kubectl, storage: TcpProxy, minio_server: MinioServer, postgres17: PostgresServer
) -> Iterator[PostgresTenant]:
    """The same as `protected`, one for all tests that only look."""
    database = unique("watched").replace("-", "_")
    with postgres17.connect() as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    try:
        for one in _of_postgres(installed, storage, minio_server, postgres17, database):
            yield _protect(one)
    finally:
        with postgres17.connect() as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def _of_postgres(
    kubectl: Kubectl,
    storage: TcpProxy,
    minio_server: MinioServer,
    server: PostgresServer,
    database: str,
) -> Iterator[PostgresTenant]:
    """Fill the database, and have a class for it."""
    postgres_samples.fill(server, database)
    with TcpProxy(server.port, listen_host=addresses.HOST) as wire:
        one = PostgresTenant(
            kubectl=kubectl,
            namespace=unique("webshop"),
            server=server,
            database=database,
            wire=wire,
            storage_class=unique("standard"),
            bucket=minio_server.new_bucket(),
        )
        yield from _with_its_class(one, storage)


def _with_its_class(one: _Kind, storage: TcpProxy) -> Iterator[_Kind]:
    one.kubectl.apply(a_class(one.storage_class, a_location(one.bucket, storage.port)))
    try:
        yield one
    finally:
        one.wire.bytes_per_s = None
        one.remove()


def _protect(tenant: PostgresTenant) -> PostgresTenant:
    tenant.create()
    tenant.wait_for("Ready")
    tenant.first_backup()
    return tenant


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
