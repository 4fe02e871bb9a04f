"""A backup that cannot be whole fails, says why, and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import (
    AccessDenied,
    Cancelled,
    DatabaseUnavailable,
    ObjectNotFound,
    PreflightFailed,
    StorageUnavailable,
)
from engines.interface import Progress, Purpose, Target
from engines.postgres import dump, snapshot
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.postgres.conftest import fill_small
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import leftovers

AnyDatabase = Callable[..., str]


def children() -> list[str]:
    """Client tools that this process started and that still run."""
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [line for line in listed.splitlines() if "pg_dump" in line or "pg_restore" in line]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("fail_at", [0, 100_000])
def test_a_failing_sink_ends_everything(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path, parallel: int, fail_at: int
) -> None:
    database = a_database(postgres16)
    fill_small(postgres16, database)
    sink = MemorySink(fail_at=fail_at, error=StorageUnavailable("the disk is full"))
    before = threading.active_count()

    with pytest.raises(StorageUnavailable, match="full"):
        an_engine(postgres16, database).create_backup(sink, a_context(tmp_path), parallel=parallel)

    assert sink.aborted
    assert set(sink.opened) != set(sink.streams)
    assert children() == []
    assert threading.active_count() == before
    gone(postgres16)


@pytest.mark.parametrize("parallel", [1, 3])
def test_cancelled_in_the_middle_leaves_no_child_and_no_session(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path, parallel: int
) -> None:
    database = a_database(postgres16)
    fill_small(postgres16, database, rows=60_000)
    cancelled = threading.Event()

    def cancel_after_a_while(progress: Progress) -> None:
        if progress.stage == "dump" and progress.done > 1_000_000:
            cancelled.set()
            time.sleep(0.5)  # a location that lags: most of the dump is still to come

    with pytest.raises(Cancelled):
        an_engine(postgres16, database).create_backup(
            MemorySink(),
            a_context(tmp_path, cancelled=cancelled, report=cancel_after_a_while),
            parallel=parallel,
        )

    assert children() == []
    gone(postgres16)


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize(
    "statement", ["TRUNCATE public.a", "ALTER TABLE public.a ALTER id TYPE bigint"]
)
def test_ddl_that_queues_for_a_lock_never_empties_a_backup(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parallel: int,
    statement: str,
) -> None:
    database = a_database(postgres16)
    fill_small(postgres16, database)
    monkeypatch.setattr(dump, "LOCK_WAIT_S", 1.0)
    monkeypatch.setattr(dump, "_PAUSE_S", 0.1)
    held = snapshot.held
    queued: list[threading.Thread] = []

    def held_with_ddl_behind(*args: object, **kwargs: object) -> object:
        """The DDL arrives in the worst moment: the snapshot is out, no child has a lock yet."""
        import contextlib

        @contextlib.contextmanager
        def wrapped():  # noqa: ANN202
            with held(*args, **kwargs) as taken:
                if not queued:
                    queued.append(threading.Thread(target=run_ddl))
                    queued[0].start()
                    wait_for(postgres16, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                yield taken

        return wrapped()

    def run_ddl() -> None:
        with postgres16.connect(database) as connection:
            connection.execute(statement)

    monkeypatch.setattr(dump, "held", held_with_ddl_behind)
    told: list[Progress] = []
    sink = MemorySink()
    engine = an_engine(postgres16, database)

    facts = engine.create_backup(sink, a_context(tmp_path, report=told.append), parallel=parallel)

    queued[0].join()
    # Each may be preceded by a wait for locks, and so is told by itself.
    tries = [(one.stage, one.done) for one in told if one.stage in ("snapshot", "locks")]
    assert tries[:3] == [("snapshot", 1), ("locks", 1), ("locks", 2)]
    assert tries[-1][0] == "snapshot"
    engine.restore_backup(
        MemorySource(sink.streams),
        facts,
        a_context(tmp_path),
        target=Target(database=f"{database}_new"),
    )
    with postgres16.connect(f"{database}_new") as new, postgres16.connect(database) as old:
        query = "SELECT count(*), pg_typeof(min(id))::text FROM public.a"
        assert new.execute(query).fetchone() == old.execute(query).fetchone()


def test_missing_rights_are_named_one_by_one_until_the_backup_works(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    a_role: Callable[..., str],
    tmp_path: Path,
) -> None:
    database = a_database(postgres16)
    role = a_role()
    fill_small(postgres16, database)
    with postgres16.connect(database) as connection:
        connection.execute(
            "CREATE TABLE public.secret (n int);ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY"
        )
        connection.execute("SELECT lo_from_bytea(0, 'x')")
    engine = an_engine(postgres16, database, user=role, password="pw")

    def problems() -> list[str]:
        found = engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)
        return [problem.message for problem in found]

    assert len(problems()) == 3
    with pytest.raises(PreflightFailed, match="pg_read_all_data"):
        engine.create_backup(MemorySink(), a_context(tmp_path))
    for remaining in (2, 1, 0):
        cure = problems()[0].split(": ", 1)[1]
        with postgres16.connect(database) as connection:
            connection.execute(cure.replace("%", "%%"), ())
        assert len(problems()) == remaining
    sink = MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path), parallel=2)
    assert facts.counts["large_objects"] == 1
    with postgres16.connect(database) as connection:
        connection.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def test_a_wrong_password_is_denied_and_not_shown(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path
) -> None:
    engine = an_engine(postgres16, a_database(postgres16), password="hunter2")

    with pytest.raises(AccessDenied, match=r"spec\.postgres\.pass") as caught:
        engine.create_backup(MemorySink(), a_context(tmp_path))

    assert "hunter2" not in str(caught.value)


def test_a_missing_database_and_a_closed_port_say_so(
    postgres16: PostgresServer, tmp_path: Path
) -> None:
    with pytest.raises(ObjectNotFound, match="nowhere"):
        an_engine(postgres16, "nowhere").create_backup(MemorySink(), a_context(tmp_path))
    with pytest.raises(DatabaseUnavailable):
        an_engine(postgres16, "x", port=1).create_backup(MemorySink(), a_context(tmp_path))


def test_the_password_is_in_no_argument_of_any_process(
    postgres16: PostgresServer, a_database: AnyDatabase, tmp_path: Path
) -> None:
    database = a_database(postgres16)
    # More than a pipe holds, so that the tool still runs when it is looked at.
    fill_small(postgres16, database, rows=60_000)
    seen: list[str] = []

    def look(progress: Progress) -> None:
        if not any(database in line for line in seen):
            seen.extend(children())

    an_engine(postgres16, database).create_backup(MemorySink(), a_context(tmp_path, report=look))

    assert [line for line in seen if database in line]
    assert not [line for line in seen if postgres16.password in line]


def test_an_older_client_cannot_dump_and_the_message_names_what_can(
    postgres18: PostgresServer, a_database: AnyDatabase, tmp_path: Path
) -> None:
    environ = {"POSTGRES_BIN_DIRS": "/nowhere", "PATH": ""}
    engine = an_engine(postgres18, a_database(postgres18), environ=environ)

    with pytest.raises(PreflightFailed, match="postgresql-client-18"):
        engine.create_backup(MemorySink(), a_context(tmp_path))


def gone(server: PostgresServer) -> None:
    """Nothing of ours is on the server; a session's end takes the server a moment."""
    deadline = time.monotonic() + 30
    while leftovers(server):
        assert time.monotonic() < deadline, leftovers(server)
        time.sleep(0.05)


def wait_for(server: PostgresServer, query: str) -> None:
    deadline = time.monotonic() + 30
    with server.connect() as connection:
        while not connection.execute(query).fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
