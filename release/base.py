"""A base image without a registry: a smallest Debian, made of its packages.

It is what `debian:<release>-slim` is, but for who made it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from release import docker

#: What the images of this project take, after `make base-images`.
NAME = "localhost/debian:{suite}-slim"
#: Unlike `docker import` it can make an image for another platform than the engine's own.
_DOCKERFILE = "FROM scratch\nADD root.tar /\n"
# As Debian's own slim images: no documentation but the licences.
_EXCLUDED = ("doc/*", "man/*", "info/*", "locale/*")
_PIN = (
    'mkdir -p "$1/etc/apt/preferences.d"; printf'
    ' "Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n"'
    ' > "$1/etc/apt/preferences.d/usr-is-merged"'
)
_OPTIONS = (
    "--variant=apt",
    # The other package of the two that it may be brings all of Perl.
    "--include=usr-is-merged",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    f"--setup-hook={_PIN}",
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    *(f"--dpkgopt=path-exclude=/usr/share/{path}" for path in _EXCLUDED),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


class NotMade(Exception):
    """It cannot be made here; the message says what would help."""


def name(platform: str) -> str:
    """What `make` calls it, with `{suite}`; for a platform, so that both can be there."""
    return f"{NAME}-{_architecture(platform)}" if platform else NAME


def make(suite: str, mirror: str, *, platform: str = "") -> str:
    """Make the image of a release of Debian, in a minute, and return its name.

    Args:
        mirror: of Debian's packages; empty: Debian's own.
        platform: such as `linux/arm64`, whose programs have to run here, emulated if need be;
            empty: this machine's.
    Raises: NotMade, NoDocker.
    """
    made = name(platform).format(suite=suite)
    options = ["--tag", made, *docker.for_platform(platform)]
    if shutil.which("mmdebstrap") is None:
        raise NotMade("there is no mmdebstrap here: apt install mmdebstrap")
    command = ["mmdebstrap", *_OPTIONS]
    if platform:
        command.append(f"--arch={_architecture(platform)}")
    with tempfile.TemporaryDirectory(prefix="base-") as temporary:
        folder = Path(temporary)
        command += [suite, str(folder / "root.tar"), *([mirror] if mirror else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            cure = f"\n{docker.EMULATION}" if platform else ""
            raise NotMade(f"mmdebstrap failed: {done.stderr.strip()[-2000:]}{cure}")
        (folder / "Dockerfile").write_text(_DOCKERFILE)
        try:
            docker.build(folder / "Dockerfile", folder, options)
        except docker.BuildFailed as failed:
            raise NotMade(str(failed)) from failed
    return made


def _architecture(platform: str) -> str:
    """As Debian calls it, and for the platforms of a release Docker, too."""
    return platform.removeprefix("linux/")
