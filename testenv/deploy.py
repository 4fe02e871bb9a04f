"""Builds the images and installs the charts into the current context."""

from __future__ import annotations

import os
from pathlib import Path

from release import docker, images, version
from testenv.cluster import Cluster, Refused, run
from tests.servers import engine
from tests.servers.helm import CHART, RELEASE, find_helm
from tests.servers.provider import find_program

NAMESPACE = "testenv"
TESTENV_CHART = CHART.parent / "testenv"
#: Database of the test environment -> the runner's image that it needs.
ENGINE_IMAGES = {"postgres": "postgres:17"}
_HUGE_ROWS = 10_000_000
_SERVERS_IMAGE = "localhost/db-backup-testenv:dev"


def controller(cluster: Cluster) -> None:
    """Install what is checked out, with images built here.

    Raises: Refused, NotBuilt, NoDocker, NotMade, NoVersion, ServerMissing.
    """
    registry = os.environ.get("LOCAL_IMAGE", "")
    cluster.check_can_give(is_registry=bool(registry))
    find_helm()
    prefix = registry or images.DEFAULT_PREFIX
    release = version.describe(images.REPOSITORY, version.with_changes(images.REPOSITORY))
    wanted = images.choose([images.CONTROLLER, *ENGINE_IMAGES.values()])
    with engine.running() as container_engine:
        names = []
        for image in wanted:
            print(f"building {image.name(prefix, release)} ...", flush=True)
            names.append(
                images.build(
                    image,
                    prefix=prefix,
                    release=release,
                    sources=container_engine.sources(image.suite),
                    options=container_engine.build_options,
                )
            )
        print(f"giving them to {registry or cluster.context} ...", flush=True)
        cluster.give(names, is_registry=bool(registry))
    print("installing the chart ...", flush=True)
    helm(
        *("upgrade", "--install", "--create-namespace", "--namespace", RELEASE, "--wait"),
        *("--set", f"image.repo={prefix}", "--set", f"image.tag={release}", RELEASE, str(CHART)),
    )


def test_environment(cluster: Cluster, *, database: str, is_huge: bool) -> None:
    """Install a database with test data, MinIO and what backs the one up to the other.

    Raises: the same.
    """
    if database not in ENGINE_IMAGES:
        known = ", ".join(ENGINE_IMAGES)
        raise Refused(f"TESTENV_DATABASE: {database!r} is not there yet; it can be {known}")
    options = [f"database={database}"]
    if is_huge:
        options.append(f"rows={_HUGE_ROWS}")
    if cluster.is_node:
        # It reaches no registry.
        _give_servers(cluster)
        options += [f"{name}.image={_SERVERS_IMAGE}" for name in ("postgres", "minio")]
    print("installing the test environment ...", flush=True)
    helm(
        *("upgrade", "--install", "--create-namespace", "--namespace", NAMESPACE, "--wait"),
        *("--timeout", "30m" if is_huge else "5m"),
        *(part for option in options for part in ("--set", option)),
        *(NAMESPACE, str(TESTENV_CHART)),
    )


def helm(*arguments: str) -> None:
    run([str(find_helm()), *arguments])


def _give_servers(cluster: Cluster) -> None:
    """One image with both servers, of Debian's package and of the program that the tests use."""
    minio = find_program("minio", variable="DB_BACKUP_TEST_MINIO")
    if minio is None:
        raise Refused("no minio program found: make test-servers")
    print(f"building {_SERVERS_IMAGE} ...", flush=True)
    with engine.running() as container_engine:
        sources = container_engine.sources(images.NEWEST_SUITE)
        base_image = sources.base_image.format(suite=images.NEWEST_SUITE)
        options = ["--tag", _SERVERS_IMAGE, *container_engine.build_options]
        options += ["--build-arg", f"BASE_IMAGE={base_image}"]
        options += ["--build-arg", f"DEBIAN_MIRROR={sources.debian_mirror}"]
        docker.build(Path(__file__).parent / "Dockerfile", minio.parent, options)
        cluster.give([_SERVERS_IMAGE], is_registry=False)
