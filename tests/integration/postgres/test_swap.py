"""A restored database takes the place of the one that is there, or leaves it as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import (
    AccessDenied,
    DatabaseUnavailable,
    PreflightFailed,
)
from engines.interface import Purpose, Target
from engines.postgres import swap
from tests.fakes.streams import MemorySink
from tests.integration.postgres.conftest import Backup, databases
from tests.integration.postgres.test_backup_faults import gone
from tests.integration.postgres.test_restore_faults import AnyDatabase
from tests.servers.postgres_engine import a_context, an_engine
from tests.servers.postgres_samples import fingerprint
from tests.servers.proxy import TcpProxy


def test_replace_swaps_under_a_busy_pool_and_carries_privileges_over(
    backup: Backup, tmp_path: Path, a_role: Callable[..., str]
) -> None:
    role = a_role()
    with backup.server.connect(backup.database) as connection:
        connection.execute(f"ALTER DATABASE {backup.database} SET work_mem = '9MB'")
        connection.execute(f"REVOKE CONNECT ON DATABASE {backup.database} FROM PUBLIC")
        connection.execute(f"GRANT CONNECT ON DATABASE {backup.database} TO {role}")
        connection.execute("DELETE FROM public.a")
    stop = threading.Event()
    pool = [threading.Thread(target=_work, args=(backup, role, stop)) for _ in range(5)]
    for worker in pool:
        worker.start()

    try:
        restored = backup.restore(tmp_path, replace=True)
    finally:
        stop.set()
        for worker in pool:
            worker.join()

    with backup.server.connect(backup.database) as connection:
        assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)
        assert connection.execute("SHOW work_mem").fetchone() == ("9MB",)
        acl = connection.execute(
            "SELECT has_database_privilege(%s, current_database(), 'CONNECT'), datacl::text "
            "FROM pg_database WHERE datname = current_database()",
            (role,),
        ).fetchone()
        assert acl[0]
        assert "=Tc/" not in acl[1].replace(f"{role}=", "").replace("postgres=CTc", "")
    assert restored.kept_as.startswith(f"{backup.database}_before_20")
    with backup.server.connect(restored.kept_as) as connection:
        assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (0,)


def _work(backup: Backup, role: str, stop: threading.Event) -> None:
    import psycopg

    while not stop.is_set():
        try:
            with backup.server.connect(backup.database, user=role, password="pw") as connection:
                while not stop.is_set():
                    connection.execute("SELECT 1")
        except psycopg.OperationalError:
            continue


def test_an_empty_database_of_that_name_is_used_and_keeps_its_settings(
    backup: Backup, tmp_path: Path, a_database: AnyDatabase
) -> None:
    empty = a_database(backup.server)
    with backup.server.connect() as connection:
        connection.execute(f"ALTER DATABASE {empty} SET work_mem = '8MB'")

    restored = backup.restore(tmp_path, database=empty)

    assert restored.kept_as is None
    assert databases(backup.server, empty) == [empty]
    with backup.server.connect(empty) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("8MB",)
        assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)


def test_a_replication_slot_on_the_replaced_database_is_a_refusal(
    backup: Backup, tmp_path: Path
) -> None:
    with backup.server.connect(backup.database) as connection:
        slot = f"slot_{backup.database}"
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        try:
            with pytest.raises(PreflightFailed, match=slot):
                backup.restore(tmp_path, replace=True)
        finally:
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def test_connections_are_let_in_when_the_swap_fails(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_args: object, **_kwargs: object) -> None:
        raise DatabaseUnavailable("the server went away")

    monkeypatch.setattr(swap, "_rename", lost)
    with pytest.raises(DatabaseUnavailable):
        backup.restore(tmp_path, replace=True)

    backup.server.connect(backup.database).close()
    assert databases(backup.server, backup.database) == [backup.database]
    gone(backup.server)


@pytest.mark.parametrize("replace", [True, False])
def test_a_swap_whose_answer_is_lost_is_looked_up(
    backup: Backup, tmp_path: Path, replace: bool
) -> None:
    database = backup.database if replace else f"{backup.database}_new"
    with backup.server.connect(backup.database) as connection:
        connection.execute("DELETE FROM public.a")
    with TcpProxy(backup.server.port) as proxy:
        engine = an_engine(backup.server, backup.database, port=proxy.port)
        proxy.cut_after_request = b"COMMIT"

        restored = engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path),
            target=Target(database=database, replace=replace, owners=False),
        )

    assert proxy.cut_after_request is None
    names = {backup.database, database, restored.kept_as} - {None}
    assert databases(backup.server, backup.database) == sorted(names)
    assert (restored.kept_as is not None) == replace
    with backup.server.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM public.a").fetchone() == (2000,)
    gone(backup.server)


def test_a_swap_that_was_not_committed_is_a_failure_and_leaves_the_old_one(
    backup: Backup, tmp_path: Path
) -> None:
    """The connection is lost before its last word: the same error, another truth."""
    before = fingerprint(backup.server, backup.database)
    with TcpProxy(backup.server.port) as proxy:
        engine = an_engine(backup.server, backup.database, port=proxy.port)
        proxy.cut_after_request = b"RENAME TO"

        with pytest.raises(DatabaseUnavailable, match="connection"):
            engine.restore_backup(
                backup.source(),
                backup.facts,
                a_context(tmp_path),
                target=Target(database=backup.database, replace=True, owners=False),
            )

    assert databases(backup.server, backup.database) == [backup.database]
    assert fingerprint(backup.server, backup.database) == before
    gone(backup.server)


def test_a_barred_database_is_told_with_its_cure(backup: Backup, tmp_path: Path) -> None:
    with backup.server.connect() as connection:
        connection.execute(f"ALTER DATABASE {backup.database} ALLOW_CONNECTIONS false")
    try:
        with pytest.raises(DatabaseUnavailable, match="ALLOW_CONNECTIONS true;"):
            backup.engine.create_backup(MemorySink(), a_context(tmp_path))
        with pytest.raises(DatabaseUnavailable, match="ALLOW_CONNECTIONS true;"):
            backup.engine.preflight(a_context(tmp_path), purpose=Purpose.BACKUP)
    finally:
        with backup.server.connect() as connection:
            connection.execute(f"ALTER DATABASE {backup.database} ALLOW_CONNECTIONS true")


def test_a_session_that_may_not_be_ended_is_named_and_nothing_changes(
    backup: Backup, tmp_path: Path, a_role: Callable[..., str]
) -> None:
    role = a_role("CREATEDB")
    with backup.server.connect() as connection:
        connection.execute(f"ALTER DATABASE {backup.database} OWNER TO {role}")
    engine = an_engine(backup.server, backup.database, user=role, password="pw")
    with backup.server.connect(backup.database), pytest.raises(AccessDenied, match="pg_signal"):
        engine.restore_backup(
            backup.source(),
            backup.facts,
            a_context(tmp_path),
            target=Target(database=backup.database, replace=True, owners=False),
        )

    backup.server.connect(backup.database).close()
    assert databases(backup.server, backup.database) == [backup.database]
    gone(backup.server)
