"""What `restore` chooses, refuses and leaves alone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World, client_bin_dirs_with, fingerprint
from tests.servers.postgres import PostgresServer


def _zulu(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _add_row(world: World, number: int) -> None:
    with world.server.connect(world.database) as connection:
        connection.execute("INSERT INTO customer VALUES (%s, 'late')", (number,))


def _last_customer(server: PostgresServer, database: str) -> int:
    with server.connect(database) as connection:
        (row,) = connection.execute("SELECT max(id) FROM customer").fetchall()
    return int(row[0])


def _databases(server: PostgresServer, prefix: str) -> list[str]:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", (prefix,)
        ).fetchall()
    return [name for (name,) in rows]


def test_at_chooses_by_the_instant_of_the_snapshot(make_world: MakeWorld) -> None:
    world = make_world("folder")
    _add_row(world, 1001)
    first = world.back_up()
    _add_row(world, 1002)
    second = world.back_up()
    rows = world.cli("list", "--json").must(0).json()
    at = {row["id"]: datetime.fromisoformat(row["stateOf"]) for row in rows}
    new = f"{world.database}_new"

    # Exactly its instant is its own; a microsecond earlier is the one before.
    for moment, wanted, last in (
        (at[second], second, 1002),
        (at[second] - timedelta(microseconds=1), first, 1001),
        (at[first], first, 1001),
    ):
        done = world.cli("restore", "--at", _zulu(moment), "--database", new).must(0)
        assert wanted in done.out
        assert _last_customer(world.server, new) == last
        with world.server.connect() as connection:
            connection.execute(f'DROP DATABASE "{new}"')
    # The same instant in another zone's clock.
    elsewhere = (at[first] + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S.%f+05:30")
    world.cli("restore", "--at", elsewhere, "--dry-run", "--database", new).must(0, first)
    world.cli("restore", "--name", first, "--dry-run", "--database", new).must(0, first)
    # Neither too early, nor the future, nor a time that may mean anything.
    early = world.cli("restore", "--at", _zulu(at[first] - timedelta(microseconds=1)))
    early.must(78, first, "oldest")
    future = _zulu(datetime.now(UTC) + timedelta(hours=1))
    world.cli("restore", "--at", future, "--database", new).must(64, "future")
    naive = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    world.cli("restore", "--at", naive, "--database", new).must(64, "offset", f"{naive}Z")
    world.cli("restore", "--at", "yesterday").must(64, "is not a time")
    absent = world.cli("restore", "--name", "2020-01-01T00-00-00Z-abcd")
    absent.must(78, "there is no backup", first, second)
    world.cli("restore").must(64, "--at", "--name")
    world.cli("restore", "--at", "now", "--name", first).must(64)
    assert _databases(world.server, world.database) == [world.database]


def test_dry_run_prints_the_plan_and_touches_nothing(make_world: MakeWorld) -> None:
    world = make_world("folder", "s3")
    backup_id = world.back_up()
    stock = {place.name: place.all_keys() for place in world.places}
    before = fingerprint(world.server, world.database)

    new = f"{world.database}_new"
    done = world.cli("restore", "--at", "now", "--database", new, "--dry-run")
    done.must(0, backup_id, " ago", "folder", new, "to download", "nothing was changed")
    replace = world.cli("restore", "--at", "now", "--replace", "--dry-run")
    replace.must(0, "kept under a dated name")
    chosen = world.cli("restore", "--at", "now", "--database", new, "--dry-run", "--from", "s3")
    assert "folder" not in chosen.must(0, "s3").out
    world.cli("restore", "--at", "now", "--from", "nowhere", "--dry-run").must(64, "s3")

    assert _databases(world.server, world.database) == [world.database]
    assert fingerprint(world.server, world.database) == before
    assert {place.name: place.all_keys() for place in world.places} == stock


def test_existing_data_is_never_written_to_without_replace(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.back_up()
    _add_row(world, 5000)
    before = fingerprint(world.server, world.database)

    world.cli("restore", "--at", "now").must(78, "--replace", "--database")
    world.cli("restore", "--at", "now", "--replace").must(64, "--yes")

    assert fingerprint(world.server, world.database) == before
    assert _databases(world.server, world.database) == [world.database]


@contextlib.contextmanager
def _busy_pool(world: World, size: int = 6) -> Iterator[list[str]]:
    """Clients that are always connected, and come back at once when they are sent away."""
    stop = threading.Event()
    seen: list[str] = []

    def client() -> None:
        while not stop.is_set():
            try:
                with world.server.connect(world.database, application_name="pool") as connection:
                    while not stop.wait(0.01):
                        (row,) = connection.execute("SELECT count(*) FROM customer").fetchall()
                        seen.append(str(row[0]))
            except psycopg.Error:
                stop.wait(0.005)

    threads = [threading.Thread(target=client, name=f"pool-{n}") for n in range(size)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_replace_wins_against_a_pool_that_reconnects_at_once(make_world: MakeWorld) -> None:
    world = make_world("folder")
    with world.server.connect() as connection:
        connection.execute(f"ALTER DATABASE \"{world.database}\" SET work_mem = '7MB'")
        connection.execute(f'REVOKE CONNECT ON DATABASE "{world.database}" FROM PUBLIC')
        connection.execute(f'GRANT CONNECT ON DATABASE "{world.database}" TO pg_monitor')
    before = fingerprint(world.server, world.database)
    world.back_up()
    _add_row(world, 6000)
    changed = fingerprint(world.server, world.database)

    with _busy_pool(world):
        done = world.cli("restore", "--at", "now", "--replace", "--yes").must(0)
        restored = fingerprint(world.server, world.database)

    assert restored == before
    (kept,) = [n for n in _databases(world.server, world.database) if n != world.database]
    assert kept in done.out
    assert fingerprint(world.server, kept) == changed
    with world.server.connect(world.database) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
    with world.server.connect() as connection:
        acls = connection.execute(
            "SELECT array_agg(a::text ORDER BY a::text) FROM pg_database, unnest(datacl) a"
            " WHERE datname = ANY(%s) GROUP BY datname",
            ([world.database, kept],),
        ).fetchall()
    assert acls[0] == acls[1]
    assert "pg_monitor=c/postgres" in acls[0][0]


def test_names_that_break_careless_quoting_come_back_and_run_nothing(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder")
    before = fingerprint(world.server, world.database)
    assert r'public."; \! touch x"' in before
    world.back_up()
    odd = f"{world.database}_\"; \\! touch z 'q' $1 %s"

    world.cli("restore", "--at", "now", "--database", odd).must(0)
    world.cli("verify").must(0)

    assert fingerprint(world.server, odd) == before
    for folder in (world.folder, world.folder / "tmp"):
        assert not {"x", "y", "z"} & {path.name for path in folder.iterdir()}


def test_failed_restore_leaves_the_target_as_it_was(make_world: MakeWorld) -> None:
    """pg_restore dies in the middle of the indexes: nothing is swapped, nothing is left."""
    world = make_world("folder", "folder")
    world.back_up()
    _add_row(world, 7000)
    before = fingerprint(world.server, world.database)
    tools = client_bin_dirs_with(
        world.folder / "tools",
        world.server,
        {
            "pg_restore": 'case "$*" in *--section=post-data*) '
            'echo "pg_restore: error: no space left on device" >&2; exit 1;; esac\n'
            'exec "$REAL/pg_restore" "$@"'
        },
    )

    for argv in (("--replace", "--yes"), ("--database", f"{world.database}_new")):
        done = world.cli("restore", "--at", "now", *argv, POSTGRES_BIN_DIRS=tools)
        done.must(70, "no space left on device")
        # An engine's error is no reason to try another location.
        assert "trying the next" not in done.said

    assert fingerprint(world.server, world.database) == before
    assert _databases(world.server, world.database) == [world.database]
    world.assert_nothing_left()


def test_restore_without_owners_goes_where_the_roles_are_unknown(make_world: MakeWorld) -> None:
    world = make_world("folder")
    role = f"{world.database}_owner"
    with world.server.connect() as connection:
        connection.execute(f"CREATE ROLE {role}")
    try:
        with world.server.connect(world.database) as connection:
            connection.execute(f"ALTER TABLE customer OWNER TO {role}")
        world.back_up()
        for argv, owner in (((), role), (("--no-owner",), "postgres")):
            new = f"{world.database}_new{len(argv)}"
            world.cli("restore", "--at", "now", "--database", new, *argv).must(0)
            with world.server.connect(new) as connection:
                found = connection.execute(
                    "SELECT tableowner FROM pg_tables WHERE tablename = 'customer'"
                ).fetchone()
            assert found == (owner,)
    finally:
        with world.server.connect() as connection:
            for name in _databases(world.server, world.database):
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            connection.execute(f"DROP ROLE {role}")


def test_two_restores_of_one_target_do_not_meet(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.back_up()
    new = f"{world.database}_new"
    gate = world.folder / "gate"
    tools = client_bin_dirs_with(
        world.folder / "tools",
        world.server,
        {
            "pg_restore": 'case "$1" in --list) exec "$REAL/pg_restore" "$@";; esac\n'
            f"until [ -e '{gate}' ]; do sleep 0.1; done\n"
            'exec "$REAL/pg_restore" "$@"'
        },
    )

    with world.started(
        "restore", "--at", "now", "--database", new, POSTGRES_BIN_DIRS=tools
    ) as first:
        world.find_process("pg_restore")
        # From another machine: here the commands take turns without asking the server.
        elsewhere = str(world.folder / "elsewhere")
        second = world.cli("restore", "--at", "now", "--database", new, CONTROL_DIR=elsewhere)
        second.must(69, "running")
        gate.touch()
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 0, said

    assert fingerprint(world.server, new) == fingerprint(world.server, world.database)


def test_a_restore_that_was_killed_is_named_in_the_status(make_world: MakeWorld) -> None:
    world = make_world("folder")
    backup_id = world.back_up()
    with world.server.connect() as connection:
        connection.execute(f'DROP DATABASE "{world.database}"')
    gate = world.folder / "gate"
    tools = client_bin_dirs_with(
        world.folder / "tools",
        world.server,
        {
            "pg_restore": 'case "$*" in *--section=pre-data*) '
            f"until [ -e '{gate}' ]; do sleep 0.1; done;; esac\n"
            'exec "$REAL/pg_restore" "$@"'
        },
    )

    with world.runner(POSTGRES_BIN_DIRS=tools):
        with world.started("restore", "--at", "now") as client:
            world.find_process("pg_restore")
            assert world.status()["status"]["lastRestore"]["database"] == world.database
            os.kill(world.find_process("runner.jobs.child"), signal.SIGKILL)
            said, _ = client.communicate(timeout=60)
            assert client.returncode == 75, said
            assert f"restore {backup_id} failed" in said
        lost = world.status()["status"]["lastRestore"]
        assert (lost["database"], lost["backupId"]) == (world.database, backup_id)
        assert not lost["succeeded"]
        world.cli("status").must(0, f"into {world.database}, failed: ")
        gate.touch()
        world.cli("restore", "--at", "now").must(0)
        world.cli("status").must(0, f"into {world.database}, succeeded")


def test_a_job_killed_in_the_swap_leaves_the_old_database_open(make_world: MakeWorld) -> None:
    """A session that does not end keeps the swap waiting, and there the job is killed."""
    world = make_world("folder")
    world.back_up()
    before = fingerprint(world.server, world.database)
    replace = ("restore", "--at", "now", "--replace", "--yes")

    with world.server.connect(world.database) as lasting:
        stuck = lasting.info.backend_pid
        os.kill(stuck, signal.SIGSTOP)
        try:
            with world.started(*replace) as client:
                eventually(
                    lambda: _rows(
                        world,
                        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'ALTER%RENAME TO%' AND "
                        "state = 'active' UNION ALL SELECT 1 FROM pg_database "
                        "WHERE NOT datallowconn AND datname <> 'template0'",
                    ),
                    say=lambda: "no swap began",
                )
                os.kill(world.find_process("runner.jobs.child"), signal.SIGKILL)
                said, _ = client.communicate(timeout=60)
                assert client.returncode == 75, said
        finally:
            os.kill(stuck, signal.SIGCONT)

    eventually(
        lambda: (
            not _rows(
                world, "SELECT FROM pg_stat_activity WHERE application_name LIKE 'db-backup%'"
            )
        ),
        say=lambda: "sessions of the killed job live",
    )
    assert fingerprint(world.server, world.database) == before
    world.back_up()
    world.cli(*replace).must(0)
    assert fingerprint(world.server, world.database) == before


def _rows(world: World, query: str) -> bool:
    with world.server.connect() as connection:
        return bool(connection.execute(query).fetchall())
