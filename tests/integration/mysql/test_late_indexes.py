"""Indexes come back as they were, to the byte and in their order, whenever a restore makes them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from attrs import evolve, frozen

from engines.interface import StreamName, Target
from engines.mysql_family import versions
from tests.fakes.streams import MemoryReader, MemorySource
from tests.integration.mysql.conftest import Backup, a_backup, left_behind
from tests.integration.mysql.indexes import KINDS, ODD_VALUES, TABLES, Sample
from tests.integration.mysql.odd_definitions import NAMES, TEXTS
from tests.integration.mysql.shapes import assert_sound, found_by_keys, quoted, shapes
from tests.integration.mysql.test_foreign_keys import doubles_backquotes
from tests.integration.mysql.test_parallel import dumped, of_tables
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_fixtures import NEWEST
from tests.servers.postgres_engine import a_context

MakeSchema = Callable[..., str]
pytestmark = pytest.mark.usefixtures("all_wait")
SAMPLES = (*KINDS, *TABLES, *TEXTS, ODD_VALUES)


def of_family(family: str, series: str) -> list[Sample]:
    return [
        one
        for one in SAMPLES
        if one.family in ("", family) and versions.series_of(series) >= one.since
    ]


def on_each(samples: Callable[[str, str], Iterable[Sample]]) -> pytest.MarkDecorator:
    """Each sample on the newest server of each family that knows it."""
    return pytest.mark.parametrize(
        ("mysql_server", "sample"),
        [
            pytest.param((family, ""), one, id=f"{family}-{one.id}")
            for family, series in NEWEST.items()
            for one in samples(family, series)
        ],
        indirect=["mysql_server"],
    )


@on_each(of_family)
def test_a_table_is_as_it_was(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, sample: Sample
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(*sample.statements("t"), database=database)
    before = shapes(mysql_server, database)
    found = found_by_keys(mysql_server, database, "t", sample.finds)
    assert found.keys() == sample.finds.keys()
    backup = a_backup(mysql_server, database, tmp_path)

    backup.restore(tmp_path, replace=True)

    assert shapes(mysql_server, database) == before
    assert found_by_keys(mysql_server, database, "t", sample.finds) == found
    assert_sound(mysql_server, database)
    assert left_behind(mysql_server) == []


@frozen
class InBits:
    """A source that gives so few bytes at a time that nothing arrives in one piece."""

    source: MemorySource
    size_bytes: int

    def names(self) -> tuple[StreamName, ...]:
        return tuple(self.source.names())

    def size(self, name: StreamName, /) -> int:
        return self.source.size(name)

    def open(self, name: StreamName, /) -> BitReader:
        return BitReader(self.source.open(name), self.size_bytes)


@frozen
class BitReader:
    reader: MemoryReader
    size_bytes: int

    def read(self, size: int = -1, /) -> bytes:
        return self.reader.read(self.size_bytes if size < 0 else min(size, self.size_bytes))

    def close(self) -> None:
        self.reader.close()


@pytest.mark.parametrize(
    ("streams", "size_bytes"), [(1, 1 << 20), (1, 3), (2, 1 << 20), (2, 5)], ids="{}".format
)
def test_all_tables_at_once_are_as_they_were(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, streams: int, size_bytes: int
) -> None:
    """One after the other in a dump, and none is taken for a part of another one."""
    database = a_schema(mysql_server)
    samples = of_family(mysql_server.family, mysql_server.series)
    for sample in samples:
        make = (one.replace("TRIGGER told", f"TRIGGER `told {sample.id}`") for one in sample.make)
        mysql_server.run(*evolve(sample, make=tuple(make)).statements(sample.id), database=database)
    before = shapes(mysql_server, database)
    assert len(before) == len(samples)
    backup, _, _ = dumped(mysql_server, database, tmp_path, parallel=streams)
    assert len([name for name in of_tables(backup.facts) if name != "sequences"]) == streams

    restored = backup.engine.restore_backup(
        InBits(backup.source(), size_bytes),
        backup.facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True, parallel=2),
    )

    assert shapes(mysql_server, database) == before
    assert restored.kept_as is not None
    kept = shapes(mysql_server, restored.kept_as)
    assert {name: rows for name, (_, rows) in kept.items()} == {
        name: rows for name, (_, rows) in before.items()
    }
    assert_sound(mysql_server, database)


def test_names_are_taken_for_nothing_else(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path
) -> None:
    database = a_schema(mysql_server)
    finds = {}
    for number, name in enumerate(NAMES):
        table = name if len(name) < 64 else f"long {number}"
        finds[table] = {name: "b = 1", "k": f"{quoted(name)} = 2"}
        column = quoted(name)
        key = f", CONSTRAINT {column} FOREIGN KEY (b) REFERENCES {quoted(table)} ({column})"
        if "`" in name and not doubles_backquotes(mysql_server):
            key = ""  # no backup is made of it
        mysql_server.run(
            "SET SESSION foreign_key_checks = 0",
            f"CREATE TABLE {quoted(table)} (id INT PRIMARY KEY, {column} INT, b INT, KEY z (b),"
            f" UNIQUE KEY u ({column}), KEY k ({column}), KEY {column} (b, {column}), CONSTRAINT"
            f" {quoted(name[:60] + str(number))} CHECK ({column} < 9){key})",
            f"INSERT INTO {quoted(table)} VALUES (1, 2, 1), (2, 3, 1)",
            f"CREATE TABLE parts{number} ({column} INT, KEY z ({column}), KEY {column} ({column}))"
            f" PARTITION BY LIST ({column}) (PARTITION {quoted(name[:20])} VALUES IN (1))",
            database=database,
        )
    before = shapes(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    backup.restore(tmp_path, replace=True)

    assert shapes(mysql_server, database) == before
    for table, conditions in finds.items():
        found = found_by_keys(mysql_server, database, table, conditions)
        assert found.keys() == conditions.keys()
    assert_sound(mysql_server, database)


#: What an older tool, or a hand, may have made of a definition; each makes the same table.
IN_OTHER_WORDS: dict[str, Callable[[bytes], bytes]] = {
    "lower case": lambda made: made.replace(b"  KEY", b"  key").replace(b"PRIMARY", b"primary"),
    "INDEX": lambda made: made.replace(b"  KEY", b"  INDEX"),
    "one line": lambda made: made.replace(b",\n  ", b", ").replace(b"\n", b" "),
    "other line ends": lambda made: made.replace(b"\n", b"\r\n"),
    "further spaces": lambda made: re.sub(rb"KEY (`\w+`) \((`\w+`)", rb"KEY\t\1  ( \2  ASC ", made),
    "no names": lambda made: made.replace(b"KEY `b` (`b`)", b"KEY (`b`)"),
    "no quotes": lambda made: made.replace(b"KEY `b` (`b`)", b"KEY b (b)"),
    "if it is not there": lambda made: made.replace(b"TABLE `t`", b"TABLE IF NOT EXISTS `t`"),
    "a comment": lambda made: made.replace(b"  KEY `b`", b"  /* KEY `x` (`y`),\n */ KEY `b`"),
    "a line of comment": lambda made: made.replace(b"  KEY `b`", b"  -- it's\n  KEY # `x`\n `b`"),
    "by version": lambda made: made.replace(b"KEY `b` (`b`),", b"/*!50001 KEY `b` (`b`), */"),
    "a key before columns": lambda made: re.sub(
        rb"(?s)\(\n(.*),\n(  KEY `a` [^\n]*),\n", rb"(\n\2,\n\1,\n", made
    ),
}


@pytest.mark.parametrize("change", IN_OTHER_WORDS.values(), ids=IN_OTHER_WORDS.keys())
def test_a_definition_in_other_words_makes_the_same_table(
    mysql_server: MysqlServer,
    a_schema: MakeSchema,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
) -> None:
    database = a_schema(mysql_server)
    mysql_server.run(
        "CREATE TABLE s (id INT PRIMARY KEY)",
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(50) COMMENT 'KEY `b` is, (it''s',"
        " UNIQUE KEY d (a, id), KEY a (a), KEY b (b), KEY c (b, a),"
        " CONSTRAINT e FOREIGN KEY (a) REFERENCES s (id))",
        "INSERT INTO s VALUES (1)",
        "INSERT INTO t VALUES (1, 1, '),\\n  KEY `b` (`b`),'), (2, 1, 'CREATE TABLE `t` (')",
        "CREATE TABLE u (id INT PRIMARY KEY, a INT, KEY a (a))",
        database=database,
    )
    before = shapes(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    dump = backup.sink.streams["dump"]
    at = dump.index(b"CREATE TABLE `t`")
    end = dump.index(b";\n", at)
    changed = change(dump[at:end])
    assert changed != dump[at:end]
    source = MemorySource({**backup.sink.streams, "dump": dump[:at] + changed + dump[end:]})

    backup.engine.restore_backup(
        source,
        backup.facts,
        a_context(tmp_path),
        target=Target(database=database, replace=True),
    )

    assert shapes(mysql_server, database) == before
    assert_sound(mysql_server, database)


@pytest.mark.parametrize(
    "options",
    [(), ("--skip-opt", "--create-options"), ("--complete-insert", "--skip-extended-insert")],
    ids=["opt", "skip-opt", "complete-insert"],
)
def test_a_dump_of_other_options_is_loaded_as_well(
    mysql_server: MysqlServer, a_schema: MakeSchema, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Among them those of earlier releases: tables are locked, and what may be is in one commit."""
    database = a_schema(mysql_server)
    samples = [one for one in KINDS if one in of_family("", "0.0")]
    for sample in samples:
        mysql_server.run(*sample.statements(sample.id), database=database)
    before = shapes(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)
    dump = with_the_tool(backup, tmp_path, "--hex-blob", *options)
    assert b"LOCK TABLES" in dump or options
    source = MemorySource({**backup.sink.streams, "dump": dump})

    backup.engine.restore_backup(
        source, backup.facts, a_context(tmp_path), target=Target(database=database, replace=True)
    )

    assert shapes(mysql_server, database) == before
    assert_sound(mysql_server, database)


def with_the_tool(backup: Backup, folder: Path, *options: str) -> bytes:
    """What the family's dump tool writes of itself."""
    server = backup.server
    login = folder / "login.cnf"
    login.write_text(
        f"[client]\nuser=root\npassword={server.password}\nhost=127.0.0.1\nport={server.port}\n"
        "[client-mariadb]\nskip-ssl\n"
    )
    name = {"mariadb": "mariadb-dump", "mysql": "mysqldump"}[server.family]
    ids = ["--set-gtid-purged=OFF"] if server.family == "mysql" else []
    done = subprocess.run(
        [server.bin_dir / name, f"--defaults-file={login}", *ids, *options, backup.database],
        capture_output=True,
        check=True,
    )
    return done.stdout
