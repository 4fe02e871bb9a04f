"""PostgreSQL of another Debian suite, unpacked into the user's cache folder.

The programs want a newer C library than this machine's; each is started
through the loader that came with it, by a small script in its place.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers import apt

SUITE = "trixie"
MAJOR = 17
_BIN = Path(f"usr/lib/postgresql/{MAJOR}/bin")
_ELSEWHERE = "elf"
#: What the package depends on and a server in a test does without: the cluster
#: scripts and their Perl, the compiler for queries (200 MB), debconf, locales.
_NOT_NEEDED = ("postgresql-common", "postgresql-client-common", "libllvm19", "locales", "ssl-cert")
#: Below usr/share: more than half of what is left.
_UNREAD = ("doc", "locale", "man")

_STARTER = """\
#!/bin/sh
root=${{0%/*}}/../../../../..
exec "$root/usr/lib/{triplet}/{loader}" --library-path "$root/usr/lib/{triplet}" \\
    --argv0 "$0" "${{0%/*}}/../{elsewhere}/{program}" "$@"
"""


def root_folder(cache: Path) -> Path:
    return cache / f"postgresql-{MAJOR}"


def bin_folder(cache: Path) -> Path | None:
    """Where the programs are; None before `unpack`."""
    folder = root_folder(cache) / _BIN
    return folder if (folder / "postgres").is_file() else None


def unpack(cache: Path) -> Path:
    """Download and unpack; 25 MB, half a minute. Returns the folder of the programs.

    Raises: apt.Impossible
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
        packages = apt.download_with_dependencies(
            f"postgresql-{MAJOR}", Path(work), suite=SUITE, but=_NOT_NEEDED
        )
        root = Path(work) / "root"
        root.mkdir()
        for package in packages:
            apt.extract(package, root)
        _make_startable(root)
        apt.run([root / _BIN / "postgres", "--version"])
        # Whole or not there: what is half unpacked never gets the name.
        shutil.rmtree(root_folder(cache), ignore_errors=True)
        root.rename(root_folder(cache))
    return root_folder(cache) / _BIN


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
