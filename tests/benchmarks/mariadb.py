"""MariaDB: a backup and a restore against the pipelines of its own tools, and the memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from tests.benchmarks import memory
from tests.benchmarks.backup import age_recipient, bash_s, bucket, directory
from tests.benchmarks.measure import Row, interleave, ratio
from tests.benchmarks.restore import new_name
from tests.benchmarks.workload import Runner, write_runner
from tests.servers.minio import MinioServer
from tests.servers.mysql import MysqlServer

SERIES = "11.8"
#: A restore takes six times as long as a backup.
RESTORES = 3
#: Without a binary log, as a server comes: writing it would be the larger part of a restore.
OPTIONS = {
    "innodb_buffer_pool_size": "512M",
    "innodb_log_file_size": "1G",
    "innodb_flush_log_at_trx_commit": "1",
    "log_bin": None,
}

DUMP = "mariadb-dump --single-transaction | zstd -1 | age > file"
BACKUP = "one location (filesystem)"
LOAD = "zstd -d | mariadb of such a dump"
RESTORE = "restore, one stream"

# What workload.py gives PostgreSQL: half text that compresses well, half that does not.
_TABLE = """
CREATE TABLE {name} (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    at DATETIME NOT NULL,
    who INT NOT NULL,
    note TEXT NOT NULL,
    body TEXT NOT NULL,
    KEY who (who, at),
    KEY body (body(32))
)
"""
_ROWS = """
INSERT INTO {name} (at, who, note, body)
    SELECT TIMESTAMP'2026-01-01 00:00:00' + INTERVAL seq SECOND, seq % 1000,
           REPEAT(CONCAT('order shipped to customer ', seq % 97, ' '), 4),
           CONCAT(MD5(seq), MD5(seq * 7), MD5(seq * 13))
    FROM seq_1_to_{rows}
"""
_TABLES = 6
_ROW_BYTES = 250


@frozen(kw_only=True)
class Result:
    """What the report says of MariaDB."""

    rows: tuple[Row, ...]
    memory: memory.MemoryRow


def fill(server: MysqlServer, database: str, megabytes: int) -> None:
    """Make `database` hold about so many MB in a dump."""
    server.run(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    rows = megabytes * 1_000_000 // _ROW_BYTES // _TABLES
    for number in range(_TABLES):
        name = f"t{number}"
        server.run(
            "SET unique_checks = 0, foreign_key_checks = 0",
            _TABLE.format(name=name),
            _ROWS.format(name=name, rows=rows),
            f"ANALYZE TABLE {name}",
            database=database,
        )


def run(
    server: MysqlServer,
    database: str,
    store: MinioServer,
    folder: Path,
    *,
    megabytes: int,
    rounds: int,
) -> Result:
    backup = write_runner(folder / "mariadb", server, database, [directory(folder, "mariadb")])
    shell = _Shell(server, database, folder)
    times = interleave({DUMP: shell.dump, BACKUP: lambda: backup.job_s("backup-now")}, rounds)
    rows = [ratio(BACKUP, DUMP, times, target="<= 1.05")]
    restored = {LOAD: shell.load, RESTORE: _restore(server, backup)}
    times = interleave(restored, min(rounds, RESTORES))
    rows.append(ratio(RESTORE, LOAD, times, target="<= 1.05"))
    location = {**bucket(store, "s3"), "storageType": "s3"}
    runner = write_runner(folder / "mariadb-memory", server, database, [location])
    used = memory.measure(runner, megabytes / 1000, 1)
    print(f"  {used}", flush=True)
    return Result(rows=tuple(rows), memory=used)


class _Shell:
    """What a person does without us, with a dump in a file."""

    def __init__(self, server: MysqlServer, database: str, folder: Path) -> None:
        self._server = server
        self._environ = _environment(server)
        self._login = f"--defaults-file={_option_file(server, folder)}"
        self._tool = f"mariadb-dump {self._login} --single-transaction {database}"
        self._recipient = age_recipient(folder, "mariadb-key")
        self._sealed = folder / "mariadb.age"
        self._dump = folder / "mariadb.sql.zst"
        bash_s(f"{self._tool} | zstd -1 -q -o {self._dump}", self._environ)

    def dump(self) -> float:
        line = f"{self._tool} | zstd -1 -q | age -r {self._recipient} > {self._sealed}"
        return bash_s(line, self._environ)

    def load(self) -> float:
        """Into a new database, which goes again."""
        target = new_name()
        self._server.run(f"CREATE DATABASE {target}")
        line = f"zstd -dcq {self._dump} | mariadb {self._login} {target}"
        seconds = bash_s(line, self._environ)
        self._server.run(f"DROP DATABASE {target}")
        return seconds


def _restore(server: MysqlServer, runner: Runner) -> Callable[[], float]:
    def run_once() -> float:
        target = new_name()
        seconds = runner.job_s("restore", "--at", "now", "--database", target)
        server.run(f"DROP DATABASE {target}")
        return seconds

    return run_once


def _environment(server: MysqlServer) -> Mapping[str, str]:
    return {**os.environ, "PATH": f"{server.bin_dir}{os.pathsep}{os.environ.get('PATH', '')}"}


def _option_file(server: MysqlServer, folder: Path) -> Path:
    """The login; TLS as our own `sslMode: preferred` has it."""
    path = folder / "mariadb.cnf"
    path.touch(mode=0o600)
    path.write_text(
        f"[client]\nhost={server.host}\nport={server.port}\nuser={server.user}\n"
        f'password="{server.password}"\nskip-ssl-verify-server-cert\n'
    )
    return path
