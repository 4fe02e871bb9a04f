"""Several streams are of one instant, or there is one stream and it is said why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import BackupError, DatabaseUnavailable, IntegrityError
from engines.interface import BackupFacts, Progress, StreamName, Target
from engines.mysql_family import snapshot
from engines.mysql_family.streams import OBJECTS, SEQUENCES
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.mysql.bank import TOTAL, fill_accounts, money, transfers
from tests.integration.mysql.conftest import Backup, fill_small, left_behind, schemas
from tests.integration.mysql.rights import routines
from tests.integration.mysql.test_backup_faults import children, fill_large, paused_at
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import newest, on_newest
from tests.servers.postgres_engine import a_context

AnySchema = Callable[..., str]
#: The name of what proves it, in the facts.
PROOF = "one instant"
LOCK = "BACKUP STAGE BLOCK_COMMIT"
POSITIONS = "equal positions in the binary log"


@pytest.fixture
def bank(mysql_server: MysqlServer, small: str) -> str:
    """A schema with accounts, on each family's server in turn."""
    fill_accounts(mysql_server, small)
    return small


@pytest.fixture
def a_dumper(mysql_server: MysqlServer, an_account: Callable[..., str]) -> Callable[[str], str]:
    """Makes accounts with the rights to dump a schema and to tell the position, but not to lock."""

    def make(database: str) -> str:
        user = an_account()
        position = "REPLICATION CLIENT" if mysql_server.family == "mysql" else "BINLOG MONITOR"
        mysql_server.run(
            f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{database}`.* TO {user}@'%'",
            routines(mysql_server, database, user),
            f"GRANT {position} ON *.* TO {user}@'%'",
        )
        return user

    return make


def dumped(
    server: MysqlServer, database: str, tmp_path: Path, *, parallel: int = 3, **fields: object
) -> tuple[Backup, list[str], list[Progress]]:
    """A backup in several streams, what was said of it, and the progress."""
    told: list[str] = []
    seen: list[Progress] = []
    engine = an_engine(server, database, **fields)
    sink = MemorySink()
    context = a_context(tmp_path, warn=told.append, report=seen.append)
    facts = engine.create_backup(sink, context, parallel=parallel)
    backup = Backup(server=server, database=database, engine=engine, facts=facts, sink=sink)
    return backup, told, seen


def of_tables(facts: BackupFacts) -> list[StreamName]:
    return [name for name in facts.streams if name not in (OBJECTS, SEQUENCES)]


def restored(backup: Backup, tmp_path: Path) -> str:
    new = f"{backup.database}_new"
    backup.server.run(f"DROP DATABASE IF EXISTS `{new}`")
    an_engine(backup.server, backup.database).restore_backup(
        backup.source(),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=new, parallel=3),
    )
    return new


@pytest.mark.parametrize("options", [{}, {"log_bin": None}], ids=["binary log", "no binary log"])
def test_mariadb_s_streams_show_one_instant_whatever_is_written(
    tmp_path: Path, options: dict[str, str | None]
) -> None:
    for server in given(mysql.running("mariadb", newest("mariadb"), options=options)):
        server.run("CREATE DATABASE shop")
        fill_small(server, "shop")
        fill_accounts(server, "shop")
        by_lock = 0
        for _ in range(5):
            with transfers(server, "shop") as moved:
                backup, told, seen = dumped(server, "shop", tmp_path)

            assert len(of_tables(backup.facts)) == 3
            if backup.facts.position[PROOF] != POSITIONS:  # they are equal by luck, at times
                by_lock += 1
                assert LOCK in backup.facts.position[PROOF]
                assert [LOCK in said.detail for said in seen if said.stage == "lock"] == [True]
                assert ["commits may have waited" in said for said in told] == [True]
            assert ("file" in backup.facts.position) == (not options)
            assert sum(moved) > 20
            assert money(server, restored(backup, tmp_path)) == TOTAL
        assert by_lock


@on_newest("mysql")
def test_mysql_s_streams_show_one_instant_that_is_found_between_writes(
    mysql_server: MysqlServer, bank: str, tmp_path: Path
) -> None:
    seen = {1: 0, 3: 0}
    # As long as a try, so that some fail and some do not; longer ones where tries take longer.
    for pause_s in (0, 0.05, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 1, 2, 4, 8):
        if pause_s >= 1 and all(seen.values()):
            break
        with transfers(mysql_server, bank, 2, pause_s):
            backup, told, _ = dumped(mysql_server, bank, tmp_path)

        number = len(of_tables(backup.facts))
        seen[number] += 1
        assert [said[:17] for said in told] == ([] if number == 3 else ["one stream, not 3"])
        assert (backup.facts.position.get(PROOF) == POSITIONS) == (number == 3)
        assert money(mysql_server, restored(backup, tmp_path)) == TOTAL
    assert all(seen.values())


def test_where_nothing_is_written_no_lock_is_needed(
    mysql_server: MysqlServer, small: str, tmp_path: Path
) -> None:
    backup, told, seen = dumped(mysql_server, small, tmp_path)

    assert backup.facts.position[PROOF] == POSITIONS
    assert len(of_tables(backup.facts)) == 3
    assert told == []
    assert "lock" not in {said.stage for said in seen}


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mariadb", {"binlog_ignore_db": "other"}),
        ("mysql", {"gtid_mode": "OFF"}),
    ],
)
def test_a_position_proves_nothing_where_it_does_not_move_with_every_commit(
    tmp_path: Path, family: str, options: dict[str, str | None]
) -> None:
    for server in given(mysql.running(family, newest(family), options=options)):
        server.run("CREATE DATABASE shop")
        fill_small(server, "shop")

        backup, told, _ = dumped(server, "shop", tmp_path)

        if family == "mariadb":
            assert LOCK in backup.facts.position[PROOF]
        else:
            assert backup.facts.streams == ("dump", "objects")
            assert "gtid_mode = ON" in told[0]


def test_an_xa_commit_is_logged_before_it_is_seen_and_ends_that_proof(tmp_path: Path) -> None:
    for server in given(mysql.running("mariadb", newest("mariadb"))):
        server.run("CREATE DATABASE shop")
        fill_small(server, "shop")
        assert dumped(server, "shop", tmp_path)[0].facts.position[PROOF] == POSITIONS

        server.run("XA START 'x'", "INSERT INTO log (said) VALUES ('x')", "XA END 'x'",
                   "XA PREPARE 'x'", "XA COMMIT 'x'", database="shop")  # fmt: skip

        assert LOCK in dumped(server, "shop", tmp_path)[0].facts.position[PROOF]


def test_a_commit_between_two_snapshots_is_noticed(
    mysql_server: MysqlServer,
    bank: str,
    a_dumper: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "TRIES", 1)
    user = a_dumper(bank)
    noticed = 0
    with transfers(mysql_server, bank):
        for _ in range(10):
            backup, told, _ = dumped(mysql_server, bank, tmp_path, user=user, password="pw")
            noticed += "something was committed" in "".join(told)
            assert (PROOF in backup.facts.position) == (not told)

    assert noticed


@on_newest("mariadb")
def test_without_the_right_to_lock_there_is_one_stream_and_the_grant_is_told(
    mysql_server: MysqlServer,
    bank: str,
    a_dumper: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "TRIES", 0)
    user = a_dumper(bank)

    with transfers(mysql_server, bank):
        backup, told, seen = dumped(mysql_server, bank, tmp_path, user=user, password="pw")

    assert backup.facts.streams == ("dump", "objects")
    assert PROOF not in backup.facts.position
    assert "lock" not in {said.stage for said in seen}
    (said,) = told
    assert said.startswith("one stream, not 3")
    assert money(mysql_server, restored(backup, tmp_path)) == TOTAL
    mysql_server.run(said[said.index("GRANT ") :].partition(";")[0])
    with transfers(mysql_server, bank):
        again, told, _ = dumped(mysql_server, bank, tmp_path, user=user, password="pw")
    assert len(of_tables(again.facts)) == 3
    assert LOCK in again.facts.position[PROOF]


@on_newest("mariadb")
def test_a_lock_that_does_not_come_is_given_up_and_leaves_nobody_waiting(
    mysql_server: MysqlServer, bank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another backup has it."""
    monkeypatch.setattr(snapshot, "TRIES", 0)
    with mysql_server.connect(bank) as other, other.cursor() as cursor:
        cursor.execute("BACKUP STAGE START")
        with transfers(mysql_server, bank) as moved:
            started = time.monotonic()
            backup, told, _ = dumped(mysql_server, bank, tmp_path)
            assert time.monotonic() - started < 3 * snapshot.LOCK_WAIT_S
            before = sum(moved)
            time.sleep(0.5)
            assert sum(moved) > before

    assert backup.facts.streams == ("dump", "objects")
    assert any("was not to be had within 2 s" in said for said in told)
    assert money(mysql_server, restored(backup, tmp_path)) == TOTAL


@on_newest("mariadb")
def test_the_lock_waits_for_no_query_and_no_transaction_and_fails_none(
    mysql_server: MysqlServer, bank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "TRIES", 0)
    query = "SELECT SLEEP(0.1) FROM account0 LIMIT 60"
    reader = threading.Thread(target=lambda: mysql_server.run(query, database=bank))
    reader.start()
    time.sleep(0.5)
    with mysql_server.connect(bank) as writer, writer.cursor() as cursor:
        writer.begin()
        cursor.execute("INSERT INTO log (said) VALUES ('while it lasts')")
        with transfers(mysql_server, bank):
            backup, _, _ = dumped(mysql_server, bank, tmp_path)
        assert reader.is_alive()
        writer.commit()
    reader.join()

    assert LOCK in backup.facts.position[PROOF]
    new = restored(backup, tmp_path)
    assert mysql_server.run("SELECT * FROM log WHERE said LIKE 'while%'", database=new) == []


@on_newest("mariadb")
def test_readers_that_are_too_slow_to_begin_hold_nobody_up(
    mysql_server: MysqlServer, bank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "TRIES", 0)
    monkeypatch.setattr(snapshot, "HELD_S", 0.02)

    with transfers(mysql_server, bank):
        backup, told, _ = dumped(mysql_server, bank, tmp_path)

    assert backup.facts.streams == ("dump", "objects")
    assert any("one stream" in said and snapshot.LOCK in said for said in told)
    assert money(mysql_server, restored(backup, tmp_path)) == TOTAL
    assert children() == []


def test_nobody_is_locked_out_for_one_stream(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run("CREATE TABLE only (id INT PRIMARY KEY)", database=database)

    for parallel in (1, 8):
        backup, told, seen = dumped(mysql_server, database, tmp_path, parallel=parallel)
        assert backup.facts.streams == ("dump", "objects")
        assert backup.facts.engine_version == "1"
        assert told == []
        assert "lock" not in {said.stage for said in seen}


def test_ddl_in_the_middle_is_found_whatever_stream_it_is_in(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    fill_large(mysql_server, database)
    for statement in ("ALTER TABLE zz_last ADD extra INT", "CREATE TABLE zz_new (id INT)"):
        engine = an_engine(mysql_server, database)

        def alter(statement: str = statement) -> None:
            mysql_server.run(statement, database=database)

        sink = MemorySink()
        with pytest.raises(DatabaseUnavailable, match="altered while it was being dumped"):
            engine.create_backup(
                sink, a_context(tmp_path, report=paused_at(1_000_000, alter)), parallel=3
            )
        assert sink.streams == {}
        assert children() == []


def test_names_that_differ_by_case_alone_are_all_there(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    """The tools take them for one when they are told what to leave out."""
    database = a_schema(mysql_server)
    names = ("t", "T", "u", "ü", "Ü", "µ", "õ")
    for name in names:
        mysql_server.run(f"CREATE TABLE `{name}` (id INT PRIMARY KEY)", database=database)

    backup, _, _ = dumped(mysql_server, database, tmp_path, parallel=8)

    new = restored(backup, tmp_path)
    assert sorted(mysql_server.run(f"SHOW TABLES FROM `{new}`")) == sorted((n,) for n in names)
    assert len(of_tables(backup.facts)) > 2


def test_a_damaged_stream_of_several_restores_nothing(
    mysql_server: MysqlServer, small: str, tmp_path: Path
) -> None:
    backup, _, _ = dumped(mysql_server, small, tmp_path)
    name = of_tables(backup.facts)[1]
    whole = backup.sink.streams[name]
    inserted = whole.index(b"INSERT INTO")
    statement = whole[inserted : whole.index(b";\n", inserted) + 2]
    for damaged, error in (
        (whole[: len(whole) // 2], IntegrityError),
        (whole.replace(statement, statement * 2), BackupError),  # each row twice: a duplicate key
    ):
        source = MemorySource({**backup.sink.streams, name: damaged})
        with pytest.raises(error):
            backup.engine.restore_backup(
                source,
                backup.facts,
                a_context(tmp_path),
                target=Target(database=f"{small}_new", parallel=3),
            )
        assert schemas(mysql_server, small) == [small]
        assert left_behind(mysql_server) == []
        assert children() == []
    cut = MemorySource({**backup.sink.streams, name: whole[: len(whole) // 2]})
    (problem,) = backup.engine.verify_streams(cut, backup.facts, a_context(tmp_path))
    assert problem.path == name


def test_progress_of_a_restore_is_the_sum_and_never_falls(
    mysql_server: MysqlServer, small: str, tmp_path: Path
) -> None:
    backup, _, dumping = dumped(mysql_server, small, tmp_path)
    seen: list[Progress] = []

    backup.engine.restore_backup(
        backup.source(),
        backup.facts,
        a_context(tmp_path, report=seen.append),
        target=Target(database=f"{small}_new", parallel=2),
    )

    total = sum(len(backup.sink.streams[name]) for name in of_tables(backup.facts))
    for progress in (dumping, seen):
        moved = [said.done for said in progress if said.stage in ("dump", "data")]
        assert moved == sorted(moved)
        assert moved[-1] == total
    assert {said.total for said in seen if said.stage == "data"} == {total}
