"""Finds pg_dump and pg_restore of the right major."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from controller.api.errors import PreflightFailed, Problem
from engines.postgres import versions

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@frozen(kw_only=True)
class Tools:
    """The client programs of one installation."""

    major: int
    version: str
    bin_dir: Path

    def path(self, name: str) -> str:
        return str(self.bin_dir / name)


def find_tools(environ: Mapping[str, str]) -> Iterator[Tools]:
    """Every installation with pg_dump and pg_restore, one a major, the wanted ones first.

    Looks into POSTGRES_BIN_DIRS (separated by colons), the folders of the
    Debian and Red Hat packages, and PATH last: what Debian has there is a
    wrapper that chooses a version by itself.
    """
    seen: set[int] = set()
    for folder in _folders(environ):
        if not ((folder / "pg_dump").is_file() and (folder / "pg_restore").is_file()):
            continue
        tools = _ask(folder, (folder / "pg_dump").stat().st_mtime_ns)
        if tools is not None and tools.major not in seen:
            seen.add(tools.major)
            yield tools


def for_dump(environ: Mapping[str, str], server_major: int) -> Tools:
    """The oldest client that can dump a server of that major, best the same.

    Raises: PreflightFailed, naming image and package.
    """
    tools = _oldest(environ, server_major)
    if tools is None:
        raise PreflightFailed([_missing(environ, server_major, "a dump needs that major or newer")])
    return tools


def for_restore(environ: Mapping[str, str], server_major: int) -> Tools:
    """The client of exactly the server's major: a newer one sends settings it does not know.

    Raises: PreflightFailed, naming image and package.
    """
    for tools in find_tools(environ):
        if tools.major == server_major:
            return tools
    raise PreflightFailed([_missing(environ, server_major, "a restore needs that very major")])


def for_reading(environ: Mapping[str, str], archive_major: int) -> Tools:
    """A client that can read an archive of that major's pg_dump, without any server.

    Raises: PreflightFailed, naming image and package.
    """
    tools = _oldest(environ, archive_major)
    if tools is None:
        raise PreflightFailed(
            [_missing(environ, archive_major, "its archives need that major or newer to be read")]
        )
    return tools


def _oldest(environ: Mapping[str, str], major: int) -> Tools | None:
    able = []
    for tools in find_tools(environ):
        if tools.major == major:
            return tools
        if tools.major > major:
            able.append(tools)
    return min(able, key=lambda tools: tools.major, default=None)


def _missing(environ: Mapping[str, str], major: int, why: str) -> Problem:
    here = ", ".join(str(number) for number in sorted(t.major for t in find_tools(environ)))
    return Problem(
        "client tools",
        f"there is no pg_dump and pg_restore of PostgreSQL {major} here (found: {here or 'none'}); "
        f"{why}. Use the runner image for postgres {major}, install postgresql-client-{major}, "
        "or name the folder in POSTGRES_BIN_DIRS",
    )


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    yield from _split(environ.get("POSTGRES_BIN_DIRS", ""))
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    yield from sorted(Path("/usr").glob("pgsql-*/bin"), reverse=True)
    yield from _split(environ.get("PATH", ""))


def _split(value: str) -> Iterable[Path]:
    return (Path(part) for part in value.split(os.pathsep) if part)


@functools.cache
def _ask(folder: Path, _changed_at_ns: int) -> Tools | None:
    """The version of what lies in `folder`; None if it does not run here."""
    try:
        done = subprocess.run(
            [folder / "pg_dump", "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout)
    if done.returncode or match is None:
        return None
    return Tools(
        major=versions.major_of(match[1]), version=match[1] + match[2], bin_dir=folder.resolve()
    )
