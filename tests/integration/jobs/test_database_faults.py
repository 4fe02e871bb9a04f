"""The way to the database is cut or blocked, locks are queued, time runs out."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg

from tests.integration.jobs.commands import Done, eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World, fingerprint
from tests.servers.proxy import TcpProxy


def _behind(world: World, proxy: TcpProxy, **spec: object) -> None:
    world.configure(database={"host": "127.0.0.1", "port": proxy.port}, **spec)


def _assert_as_before(world: World, older: str, stock: dict[str, dict[str, str]]) -> None:
    """The ended backup left nothing, and took nothing."""
    assert world.backups() == [older]
    world.assert_no_half_backup()
    world.assert_nothing_lost(stock)


def test_connection_cut_in_the_middle_of_a_dump(
    make_world: MakeWorld, slow_database: TcpProxy
) -> None:
    world = make_world("folder", "minio", large=True)
    _behind(world, slow_database)
    older = world.back_up()
    stock = world.stock()

    slow_database.cut_after_bytes = 9_000_000
    done = world.cli("backup-now").must(75, "connection")

    # It is the database's fault, and no location is blamed for it.
    assert "locations hold" not in done.said
    assert "location folder failed" not in done.said
    _assert_as_before(world, older, stock)
    world.assert_nothing_left()
    world.back_up()
    world.assert_all_restorable()


def test_database_that_is_not_there(make_world: MakeWorld, slow_database: TcpProxy) -> None:
    world = make_world("folder")
    _behind(world, slow_database)
    older = world.back_up()
    stock = world.stock()

    slow_database.is_refusing = True
    world.cli("backup-now").must(75, f"127.0.0.1:{slow_database.port}")
    world.cli("doctor").must(75, "FAIL  database", "ok    location folder")
    world.cli("list").must(0, older)
    slow_database.is_refusing = False
    world.configure(database={"pass": {"value": "wrong-password"}})
    wrong = world.cli("backup-now").must(78, "spec.postgres.pass")
    assert "wrong-password" not in wrong.said
    world.configure(database={"database": "no_such_database"})
    world.cli("backup-now").must(78, "no_such_database", "does not exist")

    _assert_as_before(world, older, stock)


def test_a_password_that_is_rotated_while_a_job_logs_in(
    make_world: MakeWorld, slow_database: TcpProxy
) -> None:
    """A failed login reads the configuration again, and tries once more if it changed."""
    world = make_world("folder")
    role = f"rotated_{secrets.token_hex(3)}"
    password = world.config / "secrets" / "shop-db" / "password"
    world.configure(database={"host": "127.0.0.1", "port": slow_database.port, "user": role})

    def log_in(*, rotated_to: str, mounted: str) -> Done:
        """Run a backup whose first login is under way when the password changes."""
        slow_database.is_hanging = True
        before = slow_database.accepted_count
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(world.cli, "backup-now")
            eventually(lambda: slow_database.accepted_count > before, say=lambda: "nobody logs in")
            with world.server.connect() as connection:
                connection.execute(f"ALTER ROLE {role} PASSWORD '{rotated_to}'")
            password.write_text(mounted)
            slow_database.is_hanging = False
            return done.result()

    try:
        with world.server.connect() as connection:
            connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'the-first-one'")
        password.write_text("the-first-one")
        log_in(rotated_to="the-second-one", mounted="the-second-one").must(0, "succeeded")
        # Changed, and wrong again: that was the one more try.
        log_in(rotated_to="the-third-one", mounted="another-one").must(78, "spec.postgres.pass")
        assert len(world.backups()) == 1
    finally:
        with world.server.connect() as connection:
            connection.execute(f"DROP ROLE IF EXISTS {role}")


def test_hung_database_is_ended_by_the_stall_watchdog(
    make_world: MakeWorld, slow_database: TcpProxy
) -> None:
    world = make_world("folder", "minio", large=True)
    _behind(world, slow_database, stallTimeout="15s")
    older = world.back_up()
    stock = world.stock()

    slow_database.bytes_per_s = 1e6
    with world.runner() as runner:
        with world.started("backup-now") as client:
            world.find_process("pg_dump")
            time.sleep(0.5)
            slow_database.is_hanging = True
            started = time.monotonic()
            said, _ = client.communicate(timeout=90)
            assert client.returncode == 75, said
            assert "no progress for 15 s" in said
            assert time.monotonic() - started < 36
        assert runner.metric("last_job_success", job_type="backup") == 0
        eventually(
            lambda: not world.processes("pg_dump"),
            say=lambda: "pg_dump lives",
        )
        slow_database.is_hanging = False
        slow_database.bytes_per_s = None
        slow_database.cut()
        _assert_as_before(world, older, stock)
        world.back_up()
    world.assert_all_restorable()


def test_deadline_ends_a_long_backup(make_world: MakeWorld, slow_database: TcpProxy) -> None:
    world = make_world("folder", "minio", large=True)
    _behind(world, slow_database)
    older = world.back_up()
    stock = world.stock()
    _behind(world, slow_database, timeout="4s")

    slow_database.bytes_per_s = 1e6
    done = world.cli("backup-now").must(75, "4 s", "spec.timeout")

    assert done.seconds < 40
    slow_database.bytes_per_s = None
    _assert_as_before(world, older, stock)
    world.assert_nothing_left()


def test_hung_restore_leaves_nothing(make_world: MakeWorld, slow_database: TcpProxy) -> None:
    world = make_world("folder", large=True)
    _behind(world, slow_database, stallTimeout="15s")
    world.back_up()
    before = fingerprint(world.server, world.database)
    new = f"{world.database}_new"

    slow_database.bytes_per_s = 1e6
    with world.started("restore", "--at", "now", "--database", new) as client:
        world.find_process("pg_restore")
        time.sleep(1.5)
        slow_database.is_hanging = True
        said, _ = client.communicate(timeout=90)
        assert client.returncode == 75, said
    slow_database.is_hanging = False
    slow_database.bytes_per_s = None
    slow_database.cut()
    # Over the blocked way nothing could be dropped; the next restore finds it.
    _behind(world, slow_database)
    world.cli("restore", "--at", "now", "--database", new).must(0)

    assert fingerprint(world.server, new) == before
    assert fingerprint(world.server, world.database) == before


@contextlib.contextmanager
def _queued(world: World, statement: str) -> Iterator[list[datetime]]:
    """A statement that waits for an exclusive lock until it gets it."""
    ended: list[datetime] = []
    failed: list[psycopg.Error] = []

    def run() -> None:
        try:
            with world.server.connect(world.database) as connection:
                connection.execute(statement)
                (row,) = connection.execute("SELECT clock_timestamp()").fetchall()
                ended.append(row[0])
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="queued")
    thread.start()
    try:
        yield ended
    finally:
        thread.join(60)
    assert not failed


def test_truncate_and_alter_that_queue_up_do_not_empty_a_backup(
    make_world: MakeWorld, slow_database: TcpProxy
) -> None:
    """A dump shows one instant: with the rows of all tables before it, or of none after."""
    world = make_world("folder", large=True)
    _behind(world, slow_database, runner={"parallelism": 2})
    before = fingerprint(world.server, world.database)
    slow_database.bytes_per_s = 1e6

    with world.started("backup-now") as client:
        world.find_process("pg_dump")
        with (
            _queued(world, "TRUNCATE sale, customer") as truncated_at,
            _queued(world, "ALTER TABLE bulk ALTER id TYPE bigint"),
        ):
            slow_database.bytes_per_s = 6e6
            said, _ = client.communicate(timeout=90)
            assert client.returncode == 0, said
    slow_database.bytes_per_s = None
    after = fingerprint(world.server, world.database)
    assert after != before
    (row,) = world.cli("list", "--json").must(0).json()
    new = f"{world.database}_new"
    world.cli("restore", "--at", "now", "--database", new).must(0)

    is_before = datetime.fromisoformat(row["stateOf"]) < truncated_at[0]
    assert fingerprint(world.server, new) == (before if is_before else after)


def test_a_lock_that_is_held_is_waited_for_and_named(make_world: MakeWorld) -> None:
    world = make_world("folder")
    # A try to lock takes 10 s; each one is shown, and that is progress.
    world.configure(stallTimeout="15s")

    with world.server.connect(world.database, autocommit=False) as connection:
        connection.execute("LOCK TABLE sale IN ACCESS EXCLUSIVE MODE")
        with world.started("backup-now") as client:
            with world.server.connect() as observer:
                eventually(
                    lambda: observer.execute(
                        "SELECT pid FROM pg_locks WHERE NOT granted"
                    ).fetchone(),
                    say=lambda: "nobody waits for the lock",
                )
            time.sleep(25)
            # Waiting for a lock is shown, and is no stall.
            assert client.poll() is None, client.communicate()
            connection.rollback()
            said, _ = client.communicate(timeout=60)
            assert client.returncode == 0, said
    assert "lock" in said
    world.assert_all_restorable()


def test_a_long_statement_of_a_restore_is_no_stall(make_world: MakeWorld) -> None:
    """A REFRESH, like a foreign key's check, takes its time and no view counts it."""
    world = make_world("folder")
    busy = """
        CREATE OR REPLACE FUNCTION busy() RETURNS int LANGUAGE plpgsql AS $$
        DECLARE until timestamptz := clock_timestamp() + '{} s';
        BEGIN WHILE clock_timestamp() < until LOOP END LOOP; RETURN 1; END $$
    """
    with world.server.connect(world.database) as connection:
        connection.execute(busy.format(0))
        connection.execute("CREATE MATERIALIZED VIEW slow AS SELECT busy()")
        connection.execute(busy.format(20))
    world.back_up()
    world.configure(stallTimeout="15s")
    new = f"{world.database}_new"

    world.cli("restore", "--at", "now", "--database", new).must(0)

    with world.server.connect(new) as connection:
        assert connection.execute("SELECT * FROM slow").fetchone() == (1,)
