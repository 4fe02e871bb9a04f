"""Packages of a Debian suite, without root: nothing of the machine is changed.

apt resolves and downloads with lists, state and cache of its own, dpkg unpacks.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CONFIGURATION = """\
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{0}/state";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
Acquire::Languages "none";
APT::Sandbox::User "";
APT::Architectures "";
APT::Architecture "{1}";
"""


class Impossible(Exception):
    """It cannot be had here; the message says why."""


def download(packages: Sequence[str], work: Path, *, suite: str) -> list[Path]:
    """Download packages, without what they depend on.

    Args:
        work: an empty folder.
    Raises: Impossible
    """
    _update(work, suite, ())
    archives = work / "cache/archives"
    _apt(work, "download", *packages, folder=archives)
    return sorted(archives.glob("*.deb"))


def download_with_dependencies(
    package: str, work: Path, *, suite: str, but: Iterable[str] = ()
) -> list[Path]:
    """Download a package and all that it depends on, as if nothing were installed.

    Args:
        work: an empty folder.
        but: packages to do without.
    Raises: Impossible
    """
    _update(work, suite, but)
    _apt(work, "install", "--download-only", "--no-install-recommends", package)
    return sorted((work / "cache/archives").glob("*.deb"))


def download_together(
    needed: Sequence[str], alone: Sequence[str], work: Path, *, suite: str
) -> list[Path]:
    """Download packages with all that they depend on, and others without.

    Args:
        work: an empty folder.
    Raises: Impossible
    """
    _update(work, suite, ())
    archives = work / "cache/archives"
    _apt(work, "install", "--download-only", "--no-install-recommends", *needed)
    if alone:
        _apt(work, "download", *alone, folder=archives)
    return sorted(archives.glob("*.deb"))


def extract(package: Path, root: Path) -> None:
    """Raises: Impossible"""
    run(["dpkg-deb", "--extract", package, root])


def run(argv: list[str | Path], *, folder: Path | None = None, **environment: str) -> str:
    """Run a program to its end; what it printed.

    Raises: Impossible
    """
    done = subprocess.run(
        argv,
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Impossible(f"{argv[0]} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _update(work: Path, suite: str, installed: Iterable[str]) -> None:
    mirror = mirror_of_this_machine()
    if mirror is None or not _KEYRING.is_file():
        raise Impossible(
            "needs a Debian machine, or the package debian-archive-keyring and DEBIAN_MIRROR"
        )
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    architecture = run(["dpkg", "--print-architecture"]).strip()
    (work / "apt.conf").write_text(_CONFIGURATION.format(work, architecture))
    (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n")
    (work / "status").write_text(
        "\n".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 99:0\n"
            f"Architecture: {architecture}\nMaintainer: nobody\nDescription: not needed\n"
            for name in installed
        )
    )
    _apt(work, "update")


def _apt(work: Path, *words: str, folder: Path | None = None) -> None:
    run(["apt-get", "-y", "-qq", *words], folder=folder, APT_CONFIG=str(work / "apt.conf"))


def mirror_of_this_machine() -> str | None:
    """The Debian mirror that DEBIAN_MIRROR or apt's own sources name; None: there is none."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return named
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            found = re.search(r"(?<=\s)[a-z+]+:\S+/debian/?(?=\s|$)", line)
            if found and not line.lstrip().startswith("#"):
                return found[0]
    return None
