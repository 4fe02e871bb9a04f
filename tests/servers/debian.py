"""PostgreSQL of another Debian suite, unpacked into the user's cache folder.

Nothing is installed and no root is needed: apt resolves and downloads with
lists, state and cache of its own, dpkg unpacks. The programs want a newer C
library than this machine's; each is started through the loader that came
with it, by a small script in its place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SUITE = "trixie"
MAJOR = 17
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BIN = Path(f"usr/lib/postgresql/{MAJOR}/bin")
_ELSEWHERE = "elf"
#: What the package depends on and a server in a test does without: the cluster
#: scripts and their Perl, the compiler for queries (200 MB), debconf, locales.
_NOT_NEEDED = ("postgresql-common", "postgresql-client-common", "libllvm19", "locales", "ssl-cert")
#: Below usr/share: more than half of what is left.
_UNREAD = ("doc", "locale", "man")

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
_STARTER = """\
#!/bin/sh
root=${{0%/*}}/../../../../..
exec "$root/usr/lib/{triplet}/{loader}" --library-path "$root/usr/lib/{triplet}" \\
    --argv0 "$0" "${{0%/*}}/../{elsewhere}/{program}" "$@"
"""


class Impossible(Exception):
    """It cannot be had here; the message says what would help."""


def root_folder(cache: Path) -> Path:
    return cache / f"postgresql-{MAJOR}"


def bin_folder(cache: Path) -> Path | None:
    """Where the programs are; None before `unpack`."""
    folder = root_folder(cache) / _BIN
    return folder if (folder / "postgres").is_file() else None


def unpack(cache: Path) -> Path:
    """Download and unpack; 25 MB, half a minute. Returns the folder of the programs.

    Raises: Impossible
    """
    mirror = _mirror()
    if mirror is None or not _KEYRING.is_file():
        raise Impossible(
            f"needs a Debian machine; elsewhere install PostgreSQL {MAJOR} with its client tools, "
            "or name their folder in POSTGRES_BIN_DIRS"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
        packages = _download(Path(work), mirror)
        root = Path(work) / "root"
        root.mkdir()
        for package in packages:
            _run(["dpkg-deb", "--extract", package, root])
        _make_startable(root)
        _run([root / _BIN / "postgres", "--version"])
        # Whole or not there: what is half unpacked never gets the name.
        shutil.rmtree(root_folder(cache), ignore_errors=True)
        root.rename(root_folder(cache))
    return root_folder(cache) / _BIN


def _mirror() -> str | None:
    """The Debian mirror that this machine uses, from apt's own sources."""
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            found = re.search(r"(?<=\s)[a-z+]+:\S+/debian/?(?=\s|$)", line)
            if found and not line.lstrip().startswith("#"):
                return found[0]
    return None


def _download(work: Path, mirror: str) -> list[Path]:
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    architecture = _run(["dpkg", "--print-architecture"]).strip()
    (work / "apt.conf").write_text(_CONFIGURATION.format(work, architecture))
    (work / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {SUITE} main\n")
    (work / "status").write_text(
        "\n".join(
            f"Package: {name}\nStatus: install ok installed\nVersion: 99:0\n"
            f"Architecture: {architecture}\nMaintainer: nobody\nDescription: not needed\n"
            for name in _NOT_NEEDED
        )
    )
    for words in (
        ("update", "-qq"),
        ("install", "-qq", "--download-only", "--no-install-recommends", f"postgresql-{MAJOR}"),
    ):
        _run(["apt-get", "-y", *words], APT_CONFIG=str(work / "apt.conf"))
    return sorted((work / "cache/archives").glob("*.deb"))


def _make_startable(root: Path) -> None:
    """Put a script in the place of each program, and the program beside."""
    (loader,) = (root / "usr/lib").glob("*-linux-gnu*/ld-linux*.so.*")
    elsewhere = root / _BIN.parent / _ELSEWHERE
    elsewhere.mkdir()
    for program in _programs(root / _BIN):
        program.rename(elsewhere / program.name)
        program.write_text(
            _STARTER.format(
                triplet=loader.parent.name,
                loader=loader.name,
                elsewhere=_ELSEWHERE,
                program=program.name,
            )
        )
        program.chmod(0o755)
    libraries = root / _BIN.parent / "lib"
    for part in libraries.glob("llvmjit*"):
        part.unlink()  # without its compiler it would be an error, absent it is not
    for folder in (libraries / "bitcode", *(root / "usr/share" / name for name in _UNREAD)):
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                yield path


def _run(argv: list[str | Path], **environment: str) -> str:
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Impossible(f"{argv[0]} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout
