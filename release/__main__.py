"""`make images`, `push-images`, `base-images`: builds with Docker, told by the environment."""

from __future__ import annotations

import os
import shlex
import sys

from release import base, docker, images, version
from release.docker import NoDocker
from release.sources import Sources


def main(arguments: list[str]) -> int:
    if arguments in (["images"], ["push-images"]):
        return _build_images(is_pushed=arguments == ["push-images"])
    if arguments == ["base-images"]:
        return _make_bases()
    print("usage: python -m release images|push-images|base-images", file=sys.stderr)
    return 2


def _build_images(*, is_pushed: bool) -> int:
    """One that fails keeps none of the others from being built."""
    given = os.environ
    platforms = given.get("PLATFORMS", "")
    is_on_several = is_pushed and bool(platforms)
    try:
        release = given.get("VERSION") or version.describe(images.REPOSITORY)
        chosen = images.choose(given.get("IMAGES", "").split())
        _platform_options(platforms, is_on_several=is_on_several)
    except (version.NoVersion, images.NotBuilt, NoDocker) as error:
        print(error, file=sys.stderr)
        return 2
    prefix = given.get("IMAGE_PREFIX") or images.DEFAULT_PREFIX
    sources = Sources.from_environment(given)
    failed = []
    for image in chosen:
        print(f"{image.name(prefix, release)} ...", flush=True)
        try:
            # Not every database project has packages for all.
            its_own = images.platforms_of(image, platforms, sources)
            options = shlex.split(given.get("BUILD_OPTIONS", ""))
            options += _platform_options(its_own, is_on_several=is_on_several)
            name = images.build(
                image, prefix=prefix, release=release, sources=sources, options=options
            )
            if is_pushed and not is_on_several:
                docker.push(name)
        except (images.NotBuilt, docker.BuildFailed, NoDocker) as error:
            print(error, file=sys.stderr)
            failed.append(image.key)
        else:
            size = its_own if is_on_several else f"{images.size_bytes(name) / 1e6:.0f} MB"
            print(f"{name}: {size}{', pushed' if is_pushed else ''}", flush=True)
    if failed:
        print(f"not {'pushed' if is_pushed else 'built'}: {', '.join(failed)}", file=sys.stderr)
    if failed and platforms:
        print(docker.EMULATION, file=sys.stderr)
    return 1 if failed else 0


def _platform_options(platforms: str, *, is_on_several: bool) -> list[str]:
    """Raises: NoDocker."""
    return (docker.on_platforms if is_on_several else docker.for_platform)(platforms)


def _make_bases() -> int:
    platform = os.environ.get("PLATFORMS", "")
    suites = dict.fromkeys(image.suite for image in images.images())
    for suite in suites:
        print(f"Debian {suite} ...", flush=True)
        try:
            made = base.make(suite, os.environ.get("DEBIAN_MIRROR", ""), platform=platform)
        except (base.NotMade, NoDocker) as error:
            print(error, file=sys.stderr)
            return 1
        print(made, flush=True)
    told = f" PLATFORMS={platform}" if platform else ""
    print(f"next: make images BASE_IMAGE={base.name(platform)}{told}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
