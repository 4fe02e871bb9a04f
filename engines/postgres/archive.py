"""pg_dump's custom-format archives without a server: read, check, unpack, explain."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from controller.api.errors import FormatError, Problem, TruncatedBackup
from engines import process
from engines.interface import (
    BackupFacts,
    JobContext,
    Progress,
    StreamName,
    StreamReader,
    StreamSource,
)
from engines.postgres import globals as database_globals, versions
from engines.postgres.dump import DUMP, ENGINE, GLOBALS, SCHEMA
from engines.postgres.quoting import conninfo_value, identifier, literal
from engines.postgres.tools import Tools

_FIRST_TRY_BYTES = 1 << 20
#: A table of contents takes about 1 KiB an object: a million objects.
_MAX_CONTENTS_BYTES = 1 << 30
_DATA = re.compile(r"data-\d{3,}")


#: What needs no quoting as the name of a database in a connection string.
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def check_streams(source: StreamSource, facts: BackupFacts) -> None:
    """Refuse what this engine did not write, before anything is done with it.

    Raises: FormatError, TruncatedBackup.
    """
    if facts.engine != ENGINE or facts.engine_version != versions.LAYOUT:
        raise FormatError(
            f"this is a backup of {facts.engine}, layout {facts.engine_version}; known is "
            f"{ENGINE}, layout {versions.LAYOUT}: use a newer runner"
        )
    rest = list(facts.streams)
    for name in rest:
        if name not in (GLOBALS, DUMP, SCHEMA) and not _DATA.fullmatch(name):
            raise FormatError(f'"{name}" is not a stream of {ENGINE}')
    one, many = {GLOBALS, DUMP}, {GLOBALS, SCHEMA}
    if set(rest) != one and not (many < set(rest) and DUMP not in rest):
        raise FormatError(f"these streams do not make a backup: {', '.join(rest)}")
    absent = set(rest) - set(source.names())
    if absent:
        raise TruncatedBackup(f"streams are missing: {', '.join(sorted(absent))}")


def archive_major(facts: BackupFacts) -> int:
    """Major of the pg_dump that wrote the archives.

    Raises: FormatError.
    """
    try:
        return versions.major_of(facts.tool_versions["pg_dump"])
    except (KeyError, ValueError) as error:
        raise FormatError("the manifest does not say which pg_dump wrote the backup") from error


def data_streams(facts: BackupFacts) -> list[StreamName]:
    return [name for name in facts.streams if name not in (GLOBALS, SCHEMA)]


def is_one_stream(facts: BackupFacts) -> bool:
    return DUMP in facts.streams


def read_globals(source: StreamSource) -> database_globals.Globals:
    reader = source.open(GLOBALS)
    try:
        parts, size = [], 0
        while data := reader.read(process.BLOCK_BYTES):
            size += len(data)
            if size > database_globals.MAX_BYTES:
                raise FormatError('the stream "globals" is larger than any that was written')
            parts.append(data)
    finally:
        reader.close()
    return database_globals.decode(b"".join(parts))


def save_contents(
    source: StreamSource, facts: BackupFacts, tools: Tools, context: JobContext
) -> Path:
    """A file in the scratch folder that pg_restore can take definitions from.

    That is the stream "schema", or the head of the one stream: an archive
    begins with its table of contents, which holds every definition. A file
    can be read more than once and by several workers, a stream cannot.
    """
    path = context.scratch / "contents"
    name = DUMP if is_one_stream(facts) else SCHEMA
    reader = source.open(name)
    try:
        with path.open("wb") as file:
            if name == SCHEMA:
                while data := reader.read(process.BLOCK_BYTES):
                    file.write(data)
                return path
            wanted = _FIRST_TRY_BYTES
            while wanted <= _MAX_CONTENTS_BYTES:
                ended = _fill(file, reader, wanted)
                file.flush()
                if _lists(tools, path, context.cancelled):
                    return path
                if ended:
                    break
                wanted *= 4
    finally:
        reader.close()
    raise TruncatedBackup(f'pg_restore finds no table of contents in the stream "{name}"')


def _fill(file: BinaryIO, reader: StreamReader, size: int) -> bool:
    """Append until the file has `size` bytes; True if the stream ended before."""
    while (missing := size - file.tell()) > 0:
        data = reader.read(min(missing, process.BLOCK_BYTES))
        if not data:
            return True
        file.write(data)
    return False


def listing(tools: Tools, path: Path, cancelled: threading.Event) -> Iterator[str]:
    """The lines of an archive's table of contents, one at a time: there may be a million.

    Raises: ProcessFailed, Cancelled.
    """
    with process.Child(_lister(tools, path), cancelled, stdout=True) as child:
        yield from _lines(child.output())
        child.check()


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _lists(tools: Tools, path: Path, cancelled: threading.Event) -> bool:
    try:
        process.run(_lister(tools, path), cancelled)
    except process.ProcessFailed:
        return False
    return True


def _lister(tools: Tools, path: Path) -> process.Command:
    argv = [tools.path("pg_restore"), "--list", str(path)]
    return process.Command(argv=argv, environment={"LC_ALL": "C"})


def verify(
    source: StreamSource,
    facts: BackupFacts,
    tools: Tools,
    environment: Mapping[str, str],
    context: JobContext,
) -> list[Problem]:
    """Let pg_restore write every archive out to nowhere, which reads all of it.

    It finds an archive that ends early, also one whose pg_dump said 0;
    ``--list`` would not, it reads the table of contents alone.
    """
    problems = []
    try:
        read_globals(source)
    except FormatError as error:
        problems.append(Problem(GLOBALS, str(error)))
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        context.report(Progress(stage="verify", done=done))

    for name in facts.streams:
        if name == GLOBALS:
            continue
        command = process.Command(
            argv=[tools.path("pg_restore"), "--file=/dev/null"], environment=environment
        )
        reader = source.open(name)
        try:
            process.feed_from(command, reader, context.cancelled, moved)
        except process.ProcessFailed as failed:
            problems.append(Problem(name, f"the archive is damaged or ends early: {failed}"))
            _drain(reader, context)
        finally:
            reader.close()
    return problems


def _drain(reader: StreamReader, context: JobContext) -> None:
    """Read the rest for its own verdict."""
    while not context.cancelled.is_set() and reader.read(process.BLOCK_BYTES):
        continue


def by_hand(facts: BackupFacts) -> list[str]:
    """Shell lines for a person with the unpacked files and PostgreSQL's own tools.

    PGHOST, PGUSER and PGPASSWORD say where.
    """
    database = facts.database
    conninfo = database
    if not _PLAIN_NAME.fullmatch(database):
        conninfo = f"dbname={conninfo_value(database)}"
    into = f"--exit-on-error --dbname={shlex.quote(conninfo)}"
    lines = [
        f"# With the tools of PostgreSQL {facts.server_version.split('.')[0]}, the server's major.",
        '# The file "globals" (JSON) holds the roles with their attributes and memberships,',
        "# and the database's owner, privileges, locale and settings; no passwords.",
        "# Roles that the database refers to; one that exists already says so and is kept:",
    ]
    for key in facts.needs:
        kind, _, name = key.partition(":")
        if kind == "role":
            statement = shlex.quote(f"CREATE ROLE {identifier(name)}")
            lines.append(f"psql --dbname=postgres --command={statement} || true")
    encoding = facts.needs.get("encoding", "UTF8")
    create = (
        f"CREATE DATABASE {identifier(database)} TEMPLATE template0 ENCODING {literal(encoding)}"
    )
    lines.append('# The locale is in "globals" too; add it if the server\'s own is another:')
    lines.append(f"psql --dbname=postgres --command={shlex.quote(create)}")
    if is_one_stream(facts):
        lines.append(f"pg_restore {into} {DUMP}")
    else:
        lines.append(f"pg_restore {into} --section=pre-data {SCHEMA}")
        lines += [f"pg_restore {into} {name}" for name in data_streams(facts)]
        lines.append(f"pg_restore {into} --section=post-data {SCHEMA}")
    lines.append(f"vacuumdb --analyze-in-stages --dbname={shlex.quote(conninfo)}")
    return lines
