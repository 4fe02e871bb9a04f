"""Builds the images and installs the charts into the current context."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import yaml

from release import docker, images, version
from release.images import Image, NotBuilt
from release.sources import Sources
from testenv.cluster import Cluster, Refused, run
from tests.servers import engine
from tests.servers.helm import CHART, RELEASE, find_helm
from tests.servers.provider import find_program

NAMESPACE = "testenv"
TESTENV_CHART = CHART.parent / "testenv"
#: Database of the test environment -> the runner's image that it needs.
ENGINE_IMAGES = {
    "cockroach": "cockroach:all",
    "mariadb": "mariadb:11.8",
    "mysql": "mysql:9.7",
    "postgres": "postgres:17",
}
#: Database -> release of Debian with its server and client of the chart's version, and their
#: packages. Of another one the only source is the image that the chart names.
_DEBIAN_PACKAGES = {
    "mariadb": (images.NEWEST_SUITE, "mariadb-server-core mariadb-client-core"),
    "mysql": ("sid", "mysql-server-core mysql-client-core"),
    "postgres": (images.NEWEST_SUITE, "postgresql-17"),
}
_HUGE_ROWS = 10_000_000
_SERVERS_IMAGE = "localhost/db-backup-testenv"


def database_for(cluster: Cluster, environ: Mapping[str, str]) -> str:
    """Which database the test environment has.

    Where nothing is asked for CockroachDB; its server comes from a registry of images alone, which
    the node of `make cluster-up` does not reach.
    """
    return environ.get("TESTENV_DATABASE") or ("postgres" if cluster.is_node else "cockroach")


def controller(cluster: Cluster, *, database: str) -> None:
    """Install what is checked out, with images built here: all, or those that IMAGES names.

    Args:
        database: whose runner's image is always built, as the controller's.
    Raises: Refused, NotBuilt, NoDocker, NotMade, NoVersion, ServerMissing.
    """
    _check_is_known(database)
    registry = os.environ.get("LOCAL_IMAGE", "")
    cluster.check_can_give(is_registry=bool(registry))
    find_helm()
    needed = (images.CONTROLLER, ENGINE_IMAGES[database])
    wanted = wanted_images(os.environ.get("IMAGES", ""), needed)
    release = _release()
    _build_and_give(cluster, wanted, needed, release)
    print("installing the chart ...", flush=True)
    helm(
        *("upgrade", "--install", "--create-namespace", "--namespace", RELEASE, "--wait"),
        *("--set", f"image.repo={_prefix()}", "--set", f"image.tag={release}"),
        *(RELEASE, str(CHART)),
    )


def test_environment(cluster: Cluster, *, database: str, is_huge: bool) -> None:
    """Install a database with test data, MinIO and what backs the one up to the other.

    Raises: the same.
    """
    _check_is_known(database)
    options = [f"database={database}"]
    if is_huge:
        options.append(f"rows={_HUGE_ROWS}")
    if cluster.is_node:
        # It reaches no registry.
        options += [f"{name}.image={image}" for name, image in _give_servers(cluster, database)]
    print("installing the test environment ...", flush=True)
    helm(
        *("upgrade", "--install", "--create-namespace", "--namespace", NAMESPACE, "--wait"),
        *("--timeout", "30m" if is_huge else "5m"),
        *(part for option in options for part in ("--set", option)),
        *(NAMESPACE, str(TESTENV_CHART)),
    )


def helm(*arguments: str) -> None:
    run([str(find_helm()), *arguments])


def _check_is_known(database: str) -> None:
    if database not in ENGINE_IMAGES:
        known = ", ".join(ENGINE_IMAGES)
        raise Refused(f"TESTENV_DATABASE: {database!r} is not there yet; it can be {known}")


def _prefix() -> str:
    return os.environ.get("LOCAL_IMAGE") or images.DEFAULT_PREFIX


def _release() -> str:
    return version.describe(images.REPOSITORY, version.with_changes(images.REPOSITORY))


def wanted_images(named: str, needed: Sequence[str]) -> Sequence[Image]:
    """Those that IMAGES names and those that are needed; all where it names none.

    Raises: NotBuilt: there is none of that name.
    """
    keys = [*needed, *named.split()] if named.split() else []
    return images.choose(list(dict.fromkeys(keys)))


def _build_and_give(
    cluster: Cluster, wanted: Sequence[Image], needed: Collection[str], release: str
) -> None:
    """Build images and bring them to the cluster.

    Args:
        needed: keys of those that nothing works without.
    """
    registry = os.environ.get("LOCAL_IMAGE", "")
    with engine.running() as container_engine:
        sources = container_engine.sources(*{image.suite for image in wanted})
        names = []
        for image in buildable(wanted, needed, sources):
            print(f"building {image.name(_prefix(), release)} ...", flush=True)
            names.append(
                images.build(
                    image,
                    prefix=_prefix(),
                    release=release,
                    sources=sources,
                    options=container_engine.build_options,
                )
            )
        print(f"giving them to {registry or cluster.context} ...", flush=True)
        cluster.give(names, is_registry=bool(registry))


def buildable(
    wanted: Sequence[Image], needed: Collection[str], sources: Sources
) -> Sequence[Image]:
    """Those whose packages can be had from here; says which others are left out.

    A machine that does not reach every database project can try out the others.

    Raises: NotBuilt: one is needed.
    """
    left_out = images.unreachable(wanted, sources)
    for key in needed:
        if key in left_out:
            raise NotBuilt(f"{key}: {left_out[key]}")
    for why in dict.fromkeys(left_out.values()):
        keys = ", ".join(key for key, its_why in left_out.items() if its_why == why)
        print(f"left out: {keys}: {why}", flush=True)
    return [image for image in wanted if image.key not in left_out]


def _give_servers(cluster: Cluster, database: str) -> list[tuple[str, str]]:
    """Part of the chart -> image of its server, which the node has now."""
    minio = find_program("minio", variable="DB_BACKUP_TEST_MINIO")
    if minio is None:
        raise Refused("no minio program found: make test-servers")
    with engine.running() as container_engine:
        built = _build_servers(container_engine, database, minio)
        found = {"minio": built, database: built}
        if database not in _DEBIAN_PACKAGES:
            found[database] = _pull(container_engine, database)
        cluster.give(sorted(set(found.values())), is_registry=False)
    return list(found.items())


def _build_servers(container_engine: engine.Engine, database: str, minio: Path) -> str:
    """One image with both servers, of Debian's packages and of the program that the tests use."""
    name = f"{_SERVERS_IMAGE}:{database}"
    print(f"building {name} ...", flush=True)
    suite, packages = _DEBIAN_PACKAGES.get(database, (images.NEWEST_SUITE, ""))
    sources = container_engine.sources(suite)
    base_image = sources.base_image.format(suite=suite)
    options = ["--tag", name, *container_engine.build_options]
    options += ["--build-arg", f"BASE_IMAGE={base_image}"]
    options += ["--build-arg", f"DEBIAN_MIRROR={sources.debian_mirror}"]
    options += ["--build-arg", f"PACKAGES={packages}"]
    docker.build(Path(__file__).parent / "Dockerfile", minio.parent, options)
    return name


def _pull(container_engine: engine.Engine, database: str) -> str:
    values = yaml.safe_load((TESTENV_CHART / "values.yaml").read_text())
    name: str = values[database]["image"]
    print(f"pulling {name} ...", flush=True)
    if not (container_engine.has_image(name) or container_engine.pull(name)):
        raise Refused(
            f"TESTENV_DATABASE: the server of {database} comes as {name} alone, which has to be"
            f" pulled, and no registry gave it; {' and '.join(_DEBIAN_PACKAGES)} need none"
        )
    return name
