"""Finds a dump tool and a client of the right family and series."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from controller.api.errors import PreflightFailed, Problem
from engines.mysql_family import versions
from engines.mysql_family.family import Family
from engines.mysql_family.versions import Series

#: "mysqldump  Ver 9.7.4-2 for Linux", "mariadb-dump  Ver 10.19 Distrib 10.11.18-MariaDB, for",
#: "mariadb-dump from 11.8.9-MariaDB, client 10.20 for".
_MARIADB = re.compile(r"(?:Distrib |from )(\d+\.\d+\S*?)-MariaDB")
_MYSQL = re.compile(r"Ver (\d+\.\d+\.\d+\S*)")


@frozen(kw_only=True)
class Tools:
    """The client programs of one installation."""

    series: Series
    version: str
    dump: str
    client: str


def find_tools(family: Family, environ: Mapping[str, str]) -> Iterator[Tools]:
    """Every installation with both tools, one a series, the wanted ones first.

    Looks into the folders that the family's variable names (separated by colons), then PATH.
    """
    seen: set[Series] = set()
    for folder in _folders(family, environ):
        dump, client = folder / family.dump, folder / family.client
        if not (dump.is_file() and client.is_file()):
            continue
        version = _ask(dump, dump.stat().st_mtime_ns, family.is_mariadb)
        if version is None:
            continue
        series = versions.series_of(version)
        if series not in seen:
            seen.add(series)
            yield Tools(series=series, version=version, dump=str(dump), client=str(client))


def choose(family: Family, environ: Mapping[str, str], series: Series) -> Tools:
    """The tools of the server's series; of the next newer one, if those are not there.

    An older tool does not know what a newer server has.

    Raises: PreflightFailed, naming image and package.
    """
    able = []
    for tools in find_tools(family, environ):
        if tools.series == series:
            return tools
        if tools.series > series:
            able.append(tools)
    if not able:
        raise PreflightFailed([_missing(family, environ, series)])
    return min(able, key=lambda tools: tools.series)


def _missing(family: Family, environ: Mapping[str, str], series: Series) -> Problem:
    here = ", ".join(versions.shown(tools.series) for tools in find_tools(family, environ))
    wanted = versions.shown(series)
    return Problem(
        "client tools",
        f"there is no {family.dump} and {family.client} of {family.title} {wanted} or newer here "
        f"(found: {here or 'none'}). Use the runner image for {family.name} {wanted}, install "
        f"that version of {family.package}, or name its folder in {family.variable}",
    )


def _folders(family: Family, environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _split(environ.get(family.variable, ""))
    yield from _split(environ.get("PATH", ""))


def _split(value: str) -> Iterable[Path]:
    return (Path(part) for part in value.split(os.pathsep) if part)


@functools.cache
def _ask(program: Path, _changed_at_ns: int, is_mariadb: bool) -> str | None:
    """The version of a tool; None if it is the other family's, or does not run here."""
    try:
        done = subprocess.run(
            [program, "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or ("MariaDB" in done.stdout) != is_mariadb:
        return None
    match = (_MARIADB if is_mariadb else _MYSQL).search(done.stdout)
    return match[1] if match else None
