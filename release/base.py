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


def make(suite: str, mirror: str) -> str:
    """Make the image of a release of Debian, in a minute, and return its name.

    Args:
        mirror: of Debian's packages; empty: Debian's own.
    Raises: NotMade, NoDocker.
    """
    if shutil.which("mmdebstrap") is None:
        raise NotMade("there is no mmdebstrap here: apt install mmdebstrap")
    name = NAME.format(suite=suite)
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        archive = Path(folder) / "root.tar"
        _run(["mmdebstrap", *_OPTIONS, suite, str(archive), *([mirror] if mirror else [])])
        _run([docker.program(), "import", str(archive), name])
    return name


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMade(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
