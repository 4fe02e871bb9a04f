"""A server that works shows it; one that waits for somebody does not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import Factory, define

from engines.postgres import progress
from engines.postgres.connection import Server, Session
from tests.integration.postgres.test_backup_faults import wait_for
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine

AnyDatabase = Callable[..., str]

#: `busy` is at work until the test lets it go.
_TABLES = """
CREATE FUNCTION public.busy(a int, b bigint) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE until timestamptz := clock_timestamp() + '30 s';
BEGIN
  WHILE clock_timestamp() < until AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = 'go')
  LOOP END LOOP;
  RETURN a = b;
END $$;
CREATE TABLE public.t (a int);
INSERT INTO public.t VALUES (1);
CREATE TABLE public.locked ();
CREATE TABLE public.p (a int PRIMARY KEY);
INSERT INTO public.p VALUES (1);
"""


@define
class Counted:
    """Counts signs."""

    changed: threading.Condition = Factory(threading.Condition)
    count: int = 0

    def sign(self, *, at_work: str, waits: bool) -> None:
        del at_work, waits
        with self.changed:
            self.count += 1
            self.changed.notify_all()

    def wait_for_more(self, number: int, timeout_s: float) -> bool:
        with self.changed:
            wanted = self.count + number
            return self.changed.wait_for(lambda: self.count >= wanted, timeout_s)


@define
class Watched:
    server: PostgresServer
    database: str
    session: Session
    signs: Counted


@pytest.fixture
def watched(
    postgres16: PostgresServer,
    a_database: AnyDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Watched]:
    monkeypatch.setattr(progress, "PERIOD_S", 0.1)
    database = a_database(postgres16)
    with postgres16.connect(database) as connection:
        connection.execute(_TABLES)
    signs = Counted()
    made = an_engine(postgres16, database)._server(a_context(tmp_path), "signs")
    with contextlib.ExitStack() as stack:
        server: Server = stack.enter_context(made)
        session = stack.enter_context(contextlib.closing(server.session(database)))
        stack.enter_context(progress.watched(server, database, signs))
        yield Watched(server=postgres16, database=database, session=session, signs=signs)


@contextlib.contextmanager
def _running(watched: Watched, statement: str) -> Iterator[None]:
    """The statement runs in our session during the block, which has to let it end."""
    worker = threading.Thread(target=lambda: watched.session.execute(statement), name="statement")
    worker.start()
    try:
        wait_for(
            watched.server,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND "
            "application_name LIKE 'db-backup%signs' AND query NOT LIKE '%pg_stat_progress%')",
        )
        yield
    finally:
        worker.join(60)
    assert not worker.is_alive()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE public.t ADD CONSTRAINT slow CHECK (public.busy(a, 1))",
        "CREATE MATERIALIZED VIEW public.m AS SELECT public.busy(a, 1) FROM public.t",
        "SELECT pg_sleep(4)",
    ],
)
def test_a_long_statement_that_no_view_counts_is_a_sign_of_life(
    watched: Watched, statement: str
) -> None:
    with _running(watched, statement):
        is_alive = watched.signs.wait_for_more(5, timeout_s=25)
        _let_go(watched)

    assert is_alive
    with watched.server.connect(watched.database) as connection:
        connection.execute("ROLLBACK PREPARED 'go'")


def _let_go(watched: Watched) -> None:
    with watched.server.connect(watched.database) as connection:
        connection.execute("BEGIN; CREATE TABLE public.go (); PREPARE TRANSACTION 'go'")


def test_the_check_of_a_large_foreign_key_is_a_sign_of_life(watched: Watched) -> None:
    with watched.server.connect(watched.database) as connection:
        connection.execute(
            "CREATE TABLE public.f AS SELECT 1 AS a FROM generate_series(1, 5000000);"
            "ALTER TABLE public.f ALTER a SET NOT NULL"
        )
    statement = "ALTER TABLE public.f ADD FOREIGN KEY (a) REFERENCES public.p"
    before = watched.signs.count

    with _running(watched, statement):
        pass

    assert watched.signs.count >= before + 3


def test_a_statement_that_waits_for_a_lock_is_none(watched: Watched) -> None:
    with watched.server.connect(watched.database, autocommit=False) as other:
        other.execute("LOCK TABLE public.locked IN ACCESS EXCLUSIVE MODE")
        with _running(watched, "SELECT * FROM public.locked"):
            waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            wait_for(watched.server, waiting)
            watched.signs.wait_for_more(1, timeout_s=2)  # that it waits is told once
            is_alive = watched.signs.wait_for_more(2, timeout_s=1.5)
            other.rollback()

    assert not is_alive


@pytest.mark.parametrize(
    "copy",
    [
        "COPY public.t FROM STDIN",
        "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 300000)) TO STDOUT",
    ],
)
def test_a_copy_that_waits_for_us_is_none(watched: Watched, copy: str) -> None:
    """Who stalls then is a location, which must not pass for the server at work."""
    waits = """
        SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Client'
                       AND state = 'active' AND query LIKE 'COPY %')
    """
    with watched.session.cursor().copy(copy) as open_copy:
        wait_for(watched.server, waits)
        watched.signs.wait_for_more(1, timeout_s=2)
        is_alive = watched.signs.wait_for_more(2, timeout_s=1.5)
        for _ in open_copy if "STDOUT" in copy else ():
            continue

    assert not is_alive
