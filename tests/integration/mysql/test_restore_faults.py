"""A restore gives the target its data or leaves it as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import (
    BackupError,
    BusyError,
    Cancelled,
    ChecksumMismatch,
    DatabaseUnavailable,
    FormatError,
    IntegrityError,
    TargetExists,
    TruncatedBackup,
)
from engines.interface import Progress, Purpose, Target
from engines.mysql_family import connection, target as targets
from engines.mysql_family.connection import Server
from tests.fakes.streams import MemorySource
from tests.integration.mysql.conftest import Backup, a_backup, left_behind, schemas
from tests.integration.mysql.test_backup_faults import children, fill_large
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import ServerOf, newest
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context
from tests.servers.proxy import TcpProxy

AnySchema = Callable[..., str]


def is_as_before(backup: Backup, before: object) -> bool:
    return (
        fingerprint(backup.server, backup.database) == before
        and schemas(backup.server, backup.database) == [backup.database]
        and left_behind(backup.server) == []
        and children() == []
    )


def test_a_database_with_data_is_refused(backup: Backup, tmp_path: Path) -> None:
    before = fingerprint(backup.server, backup.database)

    with pytest.raises(TargetExists, match="--replace"):
        backup.restore(tmp_path)

    assert is_as_before(backup, before)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_stream_that_fails_before_its_end_leaves_no_trace(
    backup: Backup, tmp_path: Path, at: float, replace: bool
) -> None:
    before = fingerprint(backup.server, backup.database)
    database = backup.database if replace else f"{backup.database}_new"
    for name in backup.facts.streams:
        whole = backup.sink.streams[name]
        streams = {**backup.sink.streams, name: whole[: int(len(whole) * at)]}
        source = MemorySource(streams, {name: ChecksumMismatch("a tag is wrong")})

        with pytest.raises(ChecksumMismatch):
            backup.engine.restore_backup(
                source,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=database, replace=replace),
            )

    assert is_as_before(backup, before)


def test_a_stream_that_ends_early_is_found_by_verify_and_by_restore(
    backup: Backup, tmp_path: Path
) -> None:
    """At a statement's end, and within one: a client would take either for the whole."""
    dump = backup.sink.streams["dump"]
    cuts = {
        "dump": [dump[: dump.rindex(b"INSERT INTO")], dump[: len(dump) // 2], dump[:-45], b""],
        "objects": [backup.sink.streams["objects"][:-5], b""],
    }
    for name, shorter in cuts.items():
        for data in shorter:
            cut = MemorySource({**backup.sink.streams, name: data})
            problems = backup.engine.verify_streams(cut, backup.facts, a_context(tmp_path))
            assert [problem.path for problem in problems] == [name]
            with pytest.raises(IntegrityError):
                backup.engine.restore_backup(
                    cut,
                    backup.facts,
                    a_context(tmp_path),
                    target=Target(database=f"{backup.database}_n"),
                )
    assert schemas(backup.server, backup.database) == [backup.database]
    assert left_behind(backup.server) == []


def test_what_is_missing_in_a_whole_dump_is_found_by_counting(
    backup: Backup, tmp_path: Path
) -> None:
    facts = evolve(backup.facts, counts={**backup.facts.counts, "columns": 99})

    with pytest.raises(IntegrityError, match=r"columns: \d instead of 99"):
        backup.engine.restore_backup(
            backup.source(),
            facts,
            a_context(tmp_path),
            target=Target(database=f"{backup.database}_new"),
        )

    assert schemas(backup.server, backup.database) == [backup.database]


HOSTILE = (
    "\\! touch {file}",
    "system touch {file}",
    "source {file}.sql",
    "USE mysql;",
    "use `mysql`;",
    "CREATE DATABASE dbb_stranger;",
    "DROP DATABASE mysql;",
    "GRANT ALL ON *.* TO root@localhost;",
    "CREATE USER stranger;",
    "SET GLOBAL read_only = 1;",
    "tee {file}",
    "pager touch {file}",
    "\\T {file}",
    "INSERT INTO a VALUES (-1, 'x'); \\! touch {file}",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE a;",
)


def test_a_hostile_dump_does_nothing_outside_of_its_schema(backup: Backup, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    Path(f"{touched}.sql").write_text("CREATE DATABASE dbb_stranger;")
    before = sorted(backup.server.run("SHOW DATABASES"))
    dump = backup.sink.streams["dump"]
    at = dump.index(b"INSERT INTO")
    for line in HOSTILE:
        text = line.replace("{file}", str(touched)).encode()
        hostile = MemorySource(
            {**backup.sink.streams, "dump": dump[:at] + text + b"\n" + dump[at:]}
        )

        with pytest.raises(BackupError):
            backup.engine.restore_backup(
                hostile,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=f"{backup.database}_new"),
            )

        assert not touched.exists(), line
        assert sorted(backup.server.run("SHOW DATABASES")) == before, line
    assert ("stranger",) not in backup.server.run("SELECT user FROM mysql.user")


def test_foreign_text_between_objects_is_refused(backup: Backup, tmp_path: Path) -> None:
    objects = backup.sink.streams["objects"]
    end = objects.index(b"-- db-backup objects completed")
    for at in (0, objects.index(b"SET SESSION"), objects.index(b"\n;;"), end, len(objects)):
        hostile = MemorySource(
            {
                **backup.sink.streams,
                "objects": objects[:at] + b"DROP DATABASE mysql;\n" + objects[at:],
            }
        )
        with pytest.raises(FormatError, match="objects"):
            backup.engine.restore_backup(
                hostile,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=f"{backup.database}_new"),
            )
    assert schemas(backup.server, backup.database) == [backup.database]


def test_cancelled_in_the_middle_leaves_no_trace(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    cancelled = threading.Event()

    def report(progress: Progress) -> None:
        if progress.stage == "data" and progress.done > 5_000_000:
            cancelled.set()

    with pytest.raises(Cancelled):
        backup.engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path, cancelled=cancelled, report=report),
            target=Target(database=f"{database}_new"),
        )

    assert schemas(mysql_server, database) == [database]
    assert left_behind(mysql_server) == []
    assert children() == []


def test_a_connection_that_hangs_ends_with_the_job(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LAST_CONNECT_TIMEOUT_S", 1)
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    cancelled = threading.Event()
    with TcpProxy(mysql_server.port) as proxy:

        def report(progress: Progress) -> None:
            if progress.stage == "data" and progress.done > 5_000_000 and not proxy.is_hanging:
                proxy.is_hanging = True
                threading.Timer(1.0, cancelled.set).start()

        started = time.monotonic()
        with pytest.raises(Cancelled):
            an_engine(mysql_server, database, port=proxy.port).restore_backup(
                backup.source(),
                backup.facts,
                a_context(tmp_path, cancelled=cancelled, report=report),
                target=Target(database=f"{database}_new"),
            )
        assert time.monotonic() - started < 30
    # It could not be dropped, and is by the next restore.
    backup.restore(tmp_path, database=f"{database}_new")
    assert left_behind(mysql_server) == []
    assert children() == []


def test_a_connection_that_is_cut_leaves_no_trace(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    with TcpProxy(mysql_server.port) as proxy:
        cuts = []

        def report(progress: Progress) -> None:
            if progress.stage == "data" and progress.done > 5_000_000 and not cuts:
                cuts.append(proxy.cut())

        with pytest.raises(DatabaseUnavailable):
            an_engine(mysql_server, database, port=proxy.port).restore_backup(
                backup.source(),
                backup.facts,
                a_context(tmp_path, report=report),
                target=Target(database=f"{database}_new"),
            )

    assert schemas(mysql_server, database) == [database]
    assert left_behind(mysql_server) == []


def test_two_restores_of_one_target_never_meet(backup: Backup, tmp_path: Path) -> None:
    name = f"{backup.database}_new"
    context = a_context(tmp_path)
    server: Server
    with (
        backup.engine._server(context) as server,  # type: ignore[attr-defined]
        targets.exclusive(server, name),
        pytest.raises(BusyError, match="another restore"),
    ):
        backup.restore(tmp_path, database=name)

    backup.restore(tmp_path, database=name)


def test_what_a_killed_restore_left_goes_with_the_next_one(backup: Backup, tmp_path: Path) -> None:
    name = f"{backup.database}_new"
    left = targets.beside(name, "dead")
    others = targets.beside("another", "alive")
    backup.server.run(f"CREATE DATABASE {left}", f"CREATE TABLE {left}.t (id INT)")
    backup.server.run(f"CREATE DATABASE {others}")

    backup.restore(tmp_path, database=name)

    assert left_behind(backup.server) == [others]


def test_the_other_family_s_backup_is_refused_by_name(
    backup: Backup, server_of: ServerOf, tmp_path: Path
) -> None:
    family = "mysql" if backup.server.family == "mariadb" else "mariadb"
    other = an_engine(server_of(family, newest(family)), "x")

    with pytest.raises(FormatError, match=f"this is a backup of {backup.server.family}"):
        evolve(backup, engine=other).restore(tmp_path, database="x")


def test_tools_that_are_missing_are_named_with_image_and_package(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    variable = f"{mysql_server.family.upper()}_BIN_DIRS"
    engine = an_engine(mysql_server, database, environ={"PATH": "/nowhere", variable: "/no"})

    (problem,) = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)

    assert f"the runner image for {mysql_server.family} {mysql_server.series}" in problem.message
    assert variable in problem.message
    package = {"mysql": "mysql-community-client from MySQL's own", "mariadb": "mariadb-client"}
    assert f"install that version of {package[mysql_server.family]}" in problem.message


def test_the_printed_commands_restore_by_hand(backup: Backup, tmp_path: Path) -> None:
    server = backup.server
    folder = tmp_path / "hand"
    folder.mkdir()
    before = fingerprint(server, backup.database)
    server.run(f"DROP DATABASE `{backup.database}`")

    backup.restore_by_hand(folder)

    assert fingerprint(server, backup.database) == before


def test_a_dump_is_loaded_statement_by_statement(backup: Backup) -> None:
    """A transaction a table costs MariaDB twice the CPU, and would have to be undone."""
    assert b"INSERT INTO `a`" in backup.sink.streams["dump"]
    assert b"AUTOCOMMIT=0" not in backup.sink.streams["dump"].upper()


def test_a_truncated_manifest_of_streams_is_refused(backup: Backup, tmp_path: Path) -> None:
    with pytest.raises(TruncatedBackup, match="objects"):
        backup.engine.verify_streams(MemorySource({"dump": b""}), backup.facts, a_context(tmp_path))
