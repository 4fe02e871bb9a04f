"""A restore gives the target its data or leaves it as it was."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import (
    BusyError,
    Cancelled,
    ChecksumMismatch,
    IntegrityError,
    PreflightFailed,
    TargetExists,
    TruncatedBackup,
)
from engines.interface import Progress, Purpose, Target
from engines.postgres import target as targets
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.postgres.conftest import Backup, databases, fill_small
from tests.integration.postgres.test_backup_faults import children, gone
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import fingerprint

AnyDatabase = Callable[..., str]


def test_a_database_with_data_is_refused(backup: Backup, tmp_path: Path) -> None:
    before = fingerprint(backup.server, backup.database)

    with pytest.raises(TargetExists, match="--replace"):
        backup.restore(tmp_path)

    assert fingerprint(backup.server, backup.database) == before


@pytest.mark.parametrize("at_end", [True, False])
def test_a_stream_that_fails_before_its_end_leaves_no_trace(
    backup: Backup, tmp_path: Path, at_end: bool
) -> None:
    name = backup.facts.streams[-1]
    whole = backup.sink.streams[name]
    streams = {**backup.sink.streams, name: whole if at_end else whole[: len(whole) // 2]}
    source = MemorySource(streams, {name: ChecksumMismatch("a tag is wrong")})
    before = fingerprint(backup.server, backup.database)

    for replace in (False, True):
        database = backup.database if replace else f"{backup.database}_new"
        with pytest.raises(ChecksumMismatch):
            backup.engine.restore_backup(
                source,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=database, replace=replace, parallel=2),
            )

    assert databases(backup.server, backup.database) == [backup.database]
    assert fingerprint(backup.server, backup.database) == before
    assert children() == []
    gone(backup.server)


def test_an_archive_that_ended_early_is_found_by_verify_and_by_restore(
    backup: Backup, tmp_path: Path
) -> None:
    for name in backup.facts.streams:
        if name == "globals":
            continue
        whole = backup.sink.streams[name]
        cut = MemorySource({**backup.sink.streams, name: whole[: len(whole) * 2 // 3]})

        problems = backup.engine.verify_streams(cut, backup.facts, a_context(tmp_path))

        assert [problem.path for problem in problems] == [name]
        with pytest.raises(IntegrityError):
            backup.engine.restore_backup(
                cut,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=f"{backup.database}_n"),
            )
    assert databases(backup.server, backup.database) == [backup.database]


def test_unpacked_data_is_private_and_written_over_nothing(backup: Backup, tmp_path: Path) -> None:
    streams = backup.facts.streams
    last = streams[-1]
    (tmp_path / f".{last}.partial").write_text("of a run that was killed")
    (tmp_path / "notes").write_text("mine")
    context = a_context(tmp_path)

    damaged = dict(backup.sink.streams)
    damaged.pop(last)
    with pytest.raises(IntegrityError):
        backup.engine.unpack(MemorySource(damaged), backup.facts, tmp_path, context)
    with _umask(0):
        backup.engine.unpack(backup.source(), backup.facts, tmp_path, context)

    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {*streams, "notes"}
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in streams} == {0o600}
    (tmp_path / streams[0]).unlink()
    (tmp_path / last).write_text("edited since")
    with pytest.raises(TargetExists, match=last):
        backup.engine.unpack(backup.source(), backup.facts, tmp_path, context)
    assert (tmp_path / last).read_text() == "edited since"
    assert not (tmp_path / streams[0]).exists()


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_streams_that_make_no_backup_are_refused(backup: Backup, tmp_path: Path) -> None:
    fewer = dict(backup.sink.streams)
    fewer.pop(backup.facts.streams[-1])

    with pytest.raises(TruncatedBackup):
        backup.engine.verify_streams(MemorySource(fewer), backup.facts, a_context(tmp_path))
    hostile = evolve(backup.facts, streams=("globals", "../../etc/passwd"))
    with pytest.raises(IntegrityError):
        backup.engine.unpack(backup.source(), hostile, tmp_path, a_context(tmp_path))


def test_cancelled_in_the_middle_leaves_no_database_child_or_session(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path
) -> None:
    database = a_database(postgres16)
    fill_small(postgres16, database, rows=60_000)
    engine = an_engine(postgres16, database)
    sink = MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path), parallel=2)

    for stage in ("data", "indexes and constraints", "analyze"):
        cancelled = threading.Event()

        def cancel(
            progress: Progress, stage: str = stage, event: threading.Event = cancelled
        ) -> None:
            if progress.stage == stage:
                event.set()

        with pytest.raises(Cancelled):
            engine.restore_backup(
                MemorySource(sink.streams),
                facts,
                a_context(tmp_path, cancelled=cancelled, report=cancel),
                target=Target(database=f"{database}_new", parallel=2),
            )

        assert children() == []
        assert databases(postgres16, database) == [database]
        gone(postgres16)


def test_only_one_restore_of_a_target_runs_and_leftovers_of_dead_ones_go(
    backup: Backup, tmp_path: Path
) -> None:
    new = f"{backup.database}_new"
    dead = targets.beside(new, "dead")
    with backup.server.connect() as connection:
        connection.execute(f"CREATE DATABASE {dead}")
        connection.execute("SELECT pg_advisory_lock(%s)", (targets._lock_key(new),))
        with pytest.raises(BusyError, match=new):
            backup.restore(tmp_path, database=new)
        assert databases(backup.server, dead) == [dead]

    backup.restore(tmp_path, database=new)

    assert databases(backup.server, dead) == []


class TestWithoutCreatedb:
    def test_one_stream_goes_into_an_empty_database_in_one_transaction(
        self, backup: Backup, tmp_path: Path, a_role: Callable[..., str], a_database: AnyDatabase
    ) -> None:
        role = a_role()
        empty = a_database(backup.server)
        with backup.server.connect() as connection:
            connection.execute(f"ALTER DATABASE {empty} OWNER TO {role}")
        engine = an_engine(backup.server, empty, user=role, password="pw")
        target = Target(database=empty, owners=False)
        if "dump" not in backup.facts.streams:
            with pytest.raises(PreflightFailed, match="CREATEDB"):
                engine.restore_backup(
                    backup.source(), backup.facts, a_context(tmp_path), target=target
                )
            return
        for error in (ChecksumMismatch("wrong"), None):
            source = MemorySource(backup.sink.streams, {"dump": error} if error else {})
            if error:
                with pytest.raises(ChecksumMismatch):
                    engine.restore_backup(source, backup.facts, a_context(tmp_path), target=target)
                with backup.server.connect(empty) as connection:
                    query = "SELECT to_regclass('public.a')"
                    assert connection.execute(query).fetchone() == (None,)
            else:
                restored = engine.restore_backup(
                    source, backup.facts, a_context(tmp_path), target=target
                )
                assert restored.counts == backup.facts.counts

    def test_a_new_database_is_refused_with_the_statement_that_helps(
        self, backup: Backup, tmp_path: Path, a_role: Callable[..., str]
    ) -> None:
        role = a_role()
        engine = an_engine(backup.server, backup.database, user=role, password="pw")

        problems = engine.preflight(
            a_context(tmp_path),
            purpose=Purpose.RESTORE,
            facts=backup.facts,
            target=Target(database=f"{backup.database}_new", owners=False),
        )

        assert [p.path for p in problems] == ["privileges"]
        assert f'ALTER ROLE "{role}" CREATEDB;' in problems[0].message


def test_missing_roles_without_the_right_to_make_them_are_listed(
    backup: Backup, tmp_path: Path, a_role: Callable[..., str]
) -> None:
    role = a_role("CREATEDB")
    facts = evolve(backup.facts, needs={**backup.facts.needs, "role:absent": "owner"})
    engine = an_engine(backup.server, backup.database, user=role, password="pw")

    problems = engine.preflight(
        a_context(tmp_path),
        purpose=Purpose.RESTORE,
        facts=facts,
        target=Target(database=f"{backup.database}_new"),
    )

    text = " ".join(map(str, problems))
    assert 'CREATE ROLE "absent";' in text
    assert f'GRANT "postgres" TO "{role}";' in text


def test_another_major_and_a_missing_extension_are_refused_by_name(
    backup: Backup, tmp_path: Path
) -> None:
    needs = {**backup.facts.needs, "extension:postgis": "3.3"}
    newer = evolve(backup.facts, server_version="18.1", needs=needs)

    with pytest.raises(PreflightFailed) as caught:
        backup.engine.restore_backup(
            backup.source(), newer, a_context(tmp_path), target=Target(database="whatever")
        )

    assert "PostgreSQL 18" in str(caught.value)
    assert '"postgis" 3.3' in str(caught.value)
    only_18 = next(
        folder
        for major, folder in __import__("tests.servers.postgres", fromlist=["x"])
        .installations()
        .items()
        if major == 18
    )
    engine = an_engine(
        backup.server, backup.database, environ={"POSTGRES_BIN_DIRS": str(only_18), "PATH": ""}
    )
    with pytest.raises(PreflightFailed, match="runner image for postgres 16"):
        engine.restore_backup(
            backup.source(), backup.facts, a_context(tmp_path), target=Target(database="whatever")
        )


def test_the_lines_for_a_restore_by_hand_work(backup: Backup, tmp_path: Path) -> None:
    before = fingerprint(backup.server, backup.database)
    dest = tmp_path / "unpacked"
    dest.mkdir()

    files = backup.engine.unpack(backup.source(), backup.facts, dest, a_context(tmp_path))
    with backup.server.connect() as connection:
        connection.execute(f"DROP DATABASE {backup.database}")
    script = "set -eu\n" + "\n".join(backup.engine.by_hand(backup.facts))
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=dest,
        env=backup.server.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in files) == sorted(backup.facts.streams)
    assert fingerprint(backup.server, backup.database) == before
    assert shlex.split(script.splitlines()[-1])[0] == "vacuumdb"
