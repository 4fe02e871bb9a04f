"""MariaDB and MySQL: backups and restores against the pipelines of their own tools, and memory."""

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

#: A restore takes several times as long as a backup.
RESTORES = 3
BACKUP = "one location (filesystem)"
BACKUP_TWO = "one location, two streams"
RESTORE = "restore, one stream"
RESTORE_TWO = "restore, two streams"


@frozen(kw_only=True)
class Subject:
    """One of the family.

    Args:
        options: of the server. log: what the report says of its binary log.
        numbers: a table with a column seq from 1 to {rows}.
        dump, client: the tools; `more` is what mysqldump needs to be quiet about GTIDs.
    """

    family: str
    title: str
    series: str
    options: Mapping[str, str | None]
    log: str
    settings: str
    numbers: str
    dump: str
    client: str
    more: str = ""

    @property
    def pipeline(self) -> str:
        return f"{self.dump} --single-transaction | zstd -1 | age > file"

    @property
    def load(self) -> str:
        return f"zstd -d | {self.client} of such a dump"


_COMMON = {"innodb_buffer_pool_size": "512M", "innodb_flush_log_at_trx_commit": "1"}
#: Without a binary log, as a server comes: writing it would be the larger part of a restore.
MARIADB = Subject(
    family="mariadb",
    title="MariaDB",
    series="11.8",
    options={**_COMMON, "innodb_log_file_size": "1G", "log_bin": None},
    log="no binary log, so two readers need a lock, of 0.1 s",
    settings="unique_checks = 0, foreign_key_checks = 0",
    numbers="seq_1_to_{rows}",
    dump="mariadb-dump",
    client="mariadb",
)
#: With one, as a server comes: without it nothing proves that two readers see one instant.
MYSQL = Subject(
    family="mysql",
    title="MySQL",
    series="9.7",
    options={**_COMMON, "innodb_redo_log_capacity": "1G"},
    log="a binary log, which it does not sync",
    settings="cte_max_recursion_depth = 100000000",
    numbers=(
        "(WITH RECURSIVE s (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < {rows})"
        " SELECT seq FROM s) numbers"
    ),
    dump="mysqldump",
    client="mysql",
    more="--set-gtid-purged=OFF",
)
SUBJECTS = {subject.family: subject for subject in (MARIADB, MYSQL)}

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
           CONCAT(SHA2(seq, 256), LEFT(SHA2(seq * 7, 256), 32))
    FROM {numbers}
"""
_TABLES = 6
_ROW_BYTES = 250


@frozen(kw_only=True)
class Result:
    """What the report says of one."""

    rows: tuple[Row, ...]
    memory: memory.MemoryRow


def fill(subject: Subject, server: MysqlServer, database: str, megabytes: int) -> None:
    """Make `database` hold about so many MB in a dump."""
    server.run(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    rows = megabytes * 1_000_000 // _ROW_BYTES // _TABLES
    for number in range(_TABLES):
        name = f"t{number}"
        server.run(
            f"SET {subject.settings}",
            _TABLE.format(name=name),
            _ROWS.format(name=name, numbers=subject.numbers.format(rows=rows)),
            f"ANALYZE TABLE {name}",
            database=database,
        )


def run(
    subject: Subject,
    server: MysqlServer,
    database: str,
    store: MinioServer,
    folder: Path,
    *,
    megabytes: int,
    rounds: int,
) -> Result:
    one, two = (
        write_runner(
            folder / f"{subject.family}-{streams}",
            server,
            database,
            [directory(folder, f"{subject.family}-{streams}")],
            parallelism=streams,
        )
        for streams in (1, 2)
    )
    shell = _Shell(subject, server, database, folder)
    times = interleave(
        {
            subject.pipeline: shell.dump,
            BACKUP: lambda: one.job_s("backup-now"),
            BACKUP_TWO: lambda: two.job_s("backup-now"),
        },
        rounds,
    )
    rows = [
        ratio(BACKUP, subject.pipeline, times, target="<= 1.05"),
        ratio(BACKUP_TWO, BACKUP, times, target="<= 1.00"),
    ]
    restored = {
        subject.load: shell.load,
        RESTORE: _restore(server, one),
        RESTORE_TWO: _restore(server, two),
    }
    times = interleave(restored, min(rounds, RESTORES))
    rows += [
        ratio(RESTORE, subject.load, times, target="<= 1.05"),
        ratio(RESTORE_TWO, subject.load, times, target="<= 0.80"),
    ]
    location = {**bucket(store, "s3"), "storageType": "s3"}
    runner = write_runner(folder / f"{subject.family}-memory", server, database, [location])
    used = memory.measure(runner, megabytes / 1000, 1)
    print(f"  {used}", flush=True)
    return Result(rows=tuple(rows), memory=used)


class _Shell:
    """What a person does without us, with a dump in a file."""

    def __init__(self, subject: Subject, server: MysqlServer, database: str, folder: Path) -> None:
        self._server = server
        self._environ = _environment(server)
        login = f"--defaults-file={_option_file(server, folder)}"
        self._client = f"{subject.client} {login}"
        self._tool = f"{subject.dump} {login} --single-transaction {subject.more} {database}"
        self._recipient = age_recipient(folder, f"{subject.family}-key")
        self._sealed = folder / f"{subject.family}.age"
        self._dump = folder / f"{subject.family}.sql.zst"
        bash_s(f"{self._tool} | zstd -1 -q -o {self._dump}", self._environ)

    def dump(self) -> float:
        line = f"{self._tool} | zstd -1 -q | age -r {self._recipient} > {self._sealed}"
        return bash_s(line, self._environ)

    def load(self) -> float:
        """Into a new database, which goes again."""
        target = new_name()
        self._server.run(f"CREATE DATABASE {target}")
        line = f"zstd -dcq {self._dump} | {self._client} {target}"
        seconds = bash_s(line, self._environ)
        _drop(self._server, target)
        return seconds


def _restore(server: MysqlServer, runner: Runner) -> Callable[[], float]:
    def run_once() -> float:
        target = new_name()
        seconds = runner.job_s("restore", "--at", "now", "--database", target)
        _drop(server, target)
        return seconds

    return run_once


def _drop(server: MysqlServer, database: str) -> None:
    """With what the binary log has of it, which would fill the disk."""
    server.run(f"DROP DATABASE {database}")
    if server.family == "mysql":
        server.run("FLUSH BINARY LOGS")
        ((newest, *_),) = server.run("SHOW BINARY LOGS")[-1:]
        server.run(f"PURGE BINARY LOGS TO '{newest}'")


def _environment(server: MysqlServer) -> Mapping[str, str]:
    return {**os.environ, "PATH": f"{server.bin_dir}{os.pathsep}{os.environ.get('PATH', '')}"}


def _option_file(server: MysqlServer, folder: Path) -> Path:
    """The login; TLS as our own `sslMode: preferred` has it."""
    path = folder / f"{server.family}.cnf"
    path.touch(mode=0o600)
    tls = "skip-ssl-verify-server-cert\n" if server.family == "mariadb" else ""
    path.write_text(
        f"[client]\nhost={server.host}\nport={server.port}\nuser={server.user}\n"
        f'password="{server.password}"\n{tls}'
    )
    return path
