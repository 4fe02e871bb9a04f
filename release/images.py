"""Which images there are, and building them with Docker.

What a build gets from elsewhere is named by the caller, so that it works without any public
registry.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from engines import registry
from release import docker, version
from release.sources import Repository, Sources

REPOSITORY = Path(__file__).parents[1]
#: Of the controller's image, and of an engine's where Debian has no such client tools.
NEWEST_SUITE = "trixie"
CONTROLLER = "controller"
#: Names that no registry serves.
DEFAULT_PREFIX = "localhost/db-backup-controller"


class NotBuilt(Exception):
    """An image could not be built; the message says what would help."""


@frozen(kw_only=True)
class Image:
    """An image of a release.

    Args:
        key: what a person calls it: `controller`, `postgres:17`.
        dockerfile: relative to the repository.
        suite: the release of Debian that it is made of.
        database_version: of an engine's image, its major; else empty.
        is_from_upstream: the tools come from the database project's own apt
            repository, because no Debian has them.
    """

    key: str
    dockerfile: str
    suite: str
    database_version: str = ""
    is_from_upstream: bool = False

    @property
    def engine(self) -> str:
        """Its name in the registry; empty: this is the controller's image."""
        return self.key.partition(":")[0] if self.database_version else ""

    def name(self, prefix: str, release: str) -> str:
        """As the chart and the controller ask for it."""
        if not self.engine:
            return f"{prefix}:{release}"
        return f"{prefix}-{self.engine}:{self.database_version}-{release}"


def images() -> tuple[Image, ...]:
    """The controller's, and one for each major that an engine supports."""
    return (
        Image(key=CONTROLLER, dockerfile="Dockerfile.controller", suite=NEWEST_SUITE),
        *(image for engine in registry.names() for image in _of_engine(engine)),
    )


def _of_engine(engine: str) -> Iterator[Image]:
    versions = importlib.import_module(f"engines.{engine}.versions")
    for major in versions.SUPPORTED:
        suite = versions.DEBIAN_SUITES.get(major)
        yield Image(
            key=f"{engine}:{major}",
            dockerfile=f"engines/{engine}/Dockerfile",
            suite=suite or NEWEST_SUITE,
            database_version=str(major),
            is_from_upstream=suite is None,
        )


def choose(keys: Sequence[str]) -> tuple[Image, ...]:
    """Those images, or all if none is named.

    Raises: NotBuilt: there is none of that name.
    """
    known = {image.key: image for image in images()}
    if unknown := [key for key in keys if key not in known]:
        raise NotBuilt(f"there is no image {', '.join(unknown)}; there are: {', '.join(known)}")
    return tuple(known[key] for key in keys or known)


def build(
    image: Image, *, prefix: str, release: str, sources: Sources, options: Sequence[str] = ()
) -> str:
    """Build an image, and return its name.

    Args:
        options: further ones of `docker build`, such as ``--platform``.
    Raises: NotBuilt, NoDocker.
    """
    name = image.name(prefix, release)
    given = ["--tag", name, *options]
    for key, value in arguments(image, release=release, sources=sources).items():
        given += ["--build-arg", f"{key}={value}"]
    if sources.ca_file:
        given += ["--secret", f"id=ca,src={sources.ca_file}"]
    try:
        docker.build(REPOSITORY / image.dockerfile, REPOSITORY, given)
    except docker.BuildFailed as failed:
        raise NotBuilt(f"{image.key}: {failed}\n{_cure(image, sources)}") from failed
    return name


def arguments(image: Image, *, release: str, sources: Sources) -> dict[str, str]:
    """The arguments of its Dockerfile."""
    given = {
        "BASE_IMAGE": sources.base_image.format(suite=image.suite),
        "DEBIAN_MIRROR": sources.debian_mirror,
        "PIP_INDEX_URL": sources.pip_index,
        "VERSION": release,
        "REVISION": _revision(),
    }
    if image.database_version:
        given["DATABASE_VERSION"] = image.database_version
    if image.is_from_upstream:
        found = repository(image, sources)
        given |= {"APT_REPOSITORY": found.line, "APT_KEY": found.key}
    return given


def repository(image: Image, sources: Sources) -> Repository:
    """Where the tools of an image come from that is `is_from_upstream`."""
    return sources.repository(image.engine, suite=image.suite, series=image.database_version)


def unreachable(wanted: Iterable[Image], sources: Sources) -> dict[str, str]:
    """Keys of images whose tools cannot be had from here -> why, and what would help.

    Each repository is asked once.
    """
    found = {image.key: repository(image, sources) for image in wanted if image.is_from_upstream}
    asked = {one.release_file: one for one in found.values()}
    problems = {file: one.ask(ca_file=sources.ca_file).problem for file, one in asked.items()}
    return {
        key: f"{problems[one.release_file]}; {one.variable} names a mirror"
        for key, one in found.items()
        if problems[one.release_file]
    }


def platforms_of(image: Image, platforms: str, sources: Sources) -> str:
    """Those of some platforms, by comma, that an image's tools are made for.

    Of what does not answer all of them: the build tells why.

    Raises: NotBuilt: none of them.
    """
    if not (platforms and image.is_from_upstream):
        return platforms
    found = repository(image, sources)
    has = found.ask(ca_file=sources.ca_file).architectures
    kept = [one for one in platforms.split(",") if not has or one.removeprefix("linux/") in has]
    if not kept:
        raise NotBuilt(f"{image.key}: {found.url} has packages for {' '.join(sorted(has))} alone")
    return ",".join(kept)


def _revision() -> str:
    """The commit; empty for an archive of the sources, which has none."""
    try:
        return version.revision(REPOSITORY)
    except version.NoVersion:
        return ""


def _cure(image: Image, sources: Sources) -> str:
    """What a person can change who sees this fail."""
    if image.is_from_upstream:
        found = repository(image, sources)
        return (
            f"Its client tools come from {found.url}, which has to be reached from here;"
            f" {found.variable} names a mirror of it."
        )
    return (
        f"It is made from {sources.base_image.format(suite=image.suite)}; BASE_IMAGE names another"
        " one, and `make base-images` makes one without a registry."
    )


def size_bytes(name: str) -> int:
    """How much a built image takes, uncompressed."""
    command = [docker.program(), "image", "inspect", "--format", "{{.Size}}", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
