"""MariaDB and MySQL of Debian's suites, unpacked into the user's cache folder.

Nothing is installed and no root is needed. The programs of a newer suite want
a newer C library than this machine's; each is started through the loader that
came with it, by a small script in the folder `bin`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from attrs import frozen

from tests.servers import apt

_STARTER = """\
#!/bin/sh
root=${{0%/*}}/../root
lib=$root/usr/lib/{triplet}
export MARIADB_PLUGIN_DIR="$lib/libmariadb3/plugin"
exec "{loader}" --library-path "$lib:$root/lib/{triplet}" --argv0 "$0" "$root/{program}" "$@"
"""


@frozen(kw_only=True)
class Packages:
    """Where a series of a family comes from.

    Args:
        needed: packages that are unpacked with what they depend on.
        alone: unpacked without: they depend on Perl, which nothing here runs.
        programs: what gets a starter, below the unpacked root.
    """

    family: str
    series: str
    suite: str
    needed: tuple[str, ...]
    alone: tuple[str, ...]
    programs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.family}-{self.series}"


_MARIADB = {
    "family": "mariadb",
    "needed": ("mariadb-server-core", "mariadb-client-core", "libmariadb3"),
    "alone": ("mariadb-client", "mariadb-server"),
    "programs": ("usr/sbin/mariadbd", "usr/bin/mariadb", "usr/bin/mariadb-dump"),
}
KNOWN = (
    Packages(series="10.11", suite="bookworm", **_MARIADB),
    Packages(series="11.8", suite="trixie", **_MARIADB),
    Packages(
        family="mysql",
        series="9.7",
        suite="sid",
        needed=("mysql-server-core", "mysql-client-core"),
        alone=(),
        programs=("usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqldump"),
    ),
)


def bin_folder(cache: Path, packages: Packages) -> Path | None:
    """Where the programs are; None before `unpack`."""
    folder = cache / packages.name / "bin"
    return folder if folder.is_dir() else None


def unpack(cache: Path, packages: Packages) -> None:
    """Download and unpack: 15 MB for MariaDB, 60 MB for MySQL, 15 s.

    Raises: apt.Impossible
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="apt-", dir=cache) as work:
        archives = apt.download_together(
            packages.needed, packages.alone, Path(work), suite=packages.suite
        )
        whole = Path(work) / packages.name
        root = whole / "root"
        root.mkdir(parents=True)
        for archive in archives:
            apt.extract(archive, root)
        _make_startable(whole, root, packages)
        for program in packages.programs:
            apt.run([whole / "bin" / Path(program).name, "--no-defaults", "--version"])
        # Whole or not there: what is half unpacked never gets the name.
        shutil.rmtree(cache / packages.name, ignore_errors=True)
        whole.rename(cache / packages.name)


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
