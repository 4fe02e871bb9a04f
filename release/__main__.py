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
    sources = Sources.from_environment(given)
    options = shlex.split(given.get("BUILD_OPTIONS", ""))
    platforms = given.get("PLATFORMS", "")
    try:
        release = given.get("VERSION") or version.describe(images.REPOSITORY)
        chosen = images.choose(given.get("IMAGES", "").split())
        is_on_several = is_pushed and bool(platforms)
        options += (docker.on_platforms if is_on_several else docker.for_platform)(platforms)
    except (version.NoVersion, images.NotBuilt, NoDocker) as error:
        print(error, file=sys.stderr)
        return 2
    prefix = given.get("IMAGE_PREFIX") or images.DEFAULT_PREFIX
    failed = []
    for image in chosen:
        print(f"{image.name(prefix, release)} ...", flush=True)
        try:
            name = images.build(
                image, prefix=prefix, release=release, sources=sources, options=options
            )
            if is_pushed and not is_on_several:
                docker.push(name)
        except (images.NotBuilt, docker.BuildFailed, NoDocker) as error:
            print(error, file=sys.stderr)
            failed.append(image.key)
        else:
            size = platforms if is_on_several else f"{images.size_bytes(name) / 1e6:.0f} MB"
            print(f"{name}: {size}{', pushed' if is_pushed else ''}", flush=True)
    if failed:
        print(f"not {'pushed' if is_pushed else 'built'}: {', '.join(failed)}", file=sys.stderr)
    if failed and platforms:
        print(docker.EMULATION, file=sys.stderr)
    return 1 if failed else 0


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
