"""Packages of a suite of Debian or Ubuntu, without root: nothing of the machine is changed.

apt resolves and downloads with lists, state and cache of its own, dpkg unpacks.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

_KEYRINGS = Path("usr/share/keyrings")
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


@frozen(kw_only=True)
class Archive:
    """Where a distribution has its packages.

    Args:
        title: for people.
        path: what its mirrors end with.
        variable: environment variable with a mirror, before that of apt's own sources.
        public: the mirror if neither names one; None: then there is none.
        keyring: name of the file with its keys.
        keyring_package: Debian's, of the suite `keyring_suite`, for machines without that file.
    """

    title: str
    path: str
    variable: str
    keyring: str
    keyring_package: str
    keyring_suite: str = ""
    public: str | None = None


DEBIAN = Archive(
    title="Debian",
    path="debian",
    variable="DEBIAN_MIRROR",
    keyring="debian-archive-keyring.gpg",
    keyring_package="debian-archive-keyring",
)
UBUNTU = Archive(
    title="Ubuntu",
    path="ubuntu",
    variable="UBUNTU_MIRROR",
    public="http://archive.ubuntu.com/ubuntu",
    keyring="ubuntu-archive-keyring.gpg",
    keyring_package="ubuntu-keyring",
    keyring_suite="trixie",
)


def download(
    packages: Sequence[str], work: Path, *, suite: str, archive: Archive = DEBIAN
) -> list[Path]:
    """Download packages, without what they depend on.

    Args:
        work: an empty folder.
    Raises: Impossible
    """
    _update(work, suite, (), archive)
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
    needed: Sequence[str],
    alone: Sequence[str],
    work: Path,
    *,
    suite: str,
    archive: Archive = DEBIAN,
) -> list[Path]:
    """Download packages with all that they depend on, and others without.

    Args:
        work: an empty folder.
    Raises: Impossible
    """
    _update(work, suite, (), archive)
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


def _update(work: Path, suite: str, installed: Iterable[str], archive: Archive = DEBIAN) -> None:
    mirror, keyring = mirror_of_this_machine(archive), _keyring(work, archive)
    if mirror is None or keyring is None:
        raise Impossible(
            f"needs a machine of {archive.title}, or the package {archive.keyring_package} and"
            f" {archive.variable}"
        )
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    architecture = run(["dpkg", "--print-architecture"]).strip()
    (work / "apt.conf").write_text(_CONFIGURATION.format(work, architecture))
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
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


def _keyring(work: Path, archive: Archive) -> Path | None:
    """The archive's keys: this machine's, else out of a package of Debian; None: there are none.

    That Debian's lists are signed makes those keys as good as the machine's own.
    """
    here = "/" / _KEYRINGS / archive.keyring
    if here.is_file():
        return here
    if not archive.keyring_suite:
        return None
    elsewhere = work / "keyring"
    elsewhere.mkdir()
    for package in download([archive.keyring_package], elsewhere, suite=archive.keyring_suite):
        extract(package, elsewhere)
    return elsewhere / _KEYRINGS / archive.keyring


def mirror_of_this_machine(archive: Archive = DEBIAN) -> str | None:
    """The mirror that the archive's variable or apt's own sources name; None: there is none."""
    if named := os.environ.get(archive.variable):
        return named
    line = re.compile(rf"(?<=\s)[a-z+]+:\S+/{archive.path}/?(?=\s|$)")
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if not file.is_file():
            continue
        for text in file.read_text(errors="replace").splitlines():
            found = line.search(text)
            if found and not text.lstrip().startswith("#"):
                return found[0]
    return archive.public
