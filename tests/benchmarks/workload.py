"""A PostgreSQL database of a given size, and the configuration of a runner for a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.servers.mysql import MysqlServer
from tests.servers.postgres import PostgresServer

_BIN = Path(sys.executable).parent
PASSPHRASE = "benchmark passphrase"  # a constant: nothing secret is stored

# Half text that compresses well, half that does not, over several tables with indexes:
# about what a business database is.
_TABLE = """
CREATE TABLE {name} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    who int NOT NULL,
    note text NOT NULL,
    body text NOT NULL
);
INSERT INTO {name} (at, who, note, body)
    SELECT timestamptz '2026-01-01' + i * interval '1 s', i % 1000,
           repeat('order shipped to customer ' || i % 97 || ' ', 4),
           md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text)
    FROM generate_series(1, {rows}) i;
CREATE INDEX ON {name} (who, at);
CREATE INDEX ON {name} (md5(body));
"""
_TABLES = 6
_ROW_BYTES = 230


def fill(server: PostgresServer, database: str, megabytes: int) -> None:
    """Make `database` hold about so many MB in a dump."""
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    rows = megabytes * 1_000_000 // _ROW_BYTES // _TABLES
    with server.connect(database) as connection:
        connection.execute("SET synchronous_commit = off")
        for number in range(_TABLES):
            connection.execute(_TABLE.format(name=f"t{number}", rows=rows))
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


@frozen(kw_only=True)
class Runner:
    """A configuration directory, and how to call a runner with it."""

    config: Path
    environ: Mapping[str, str]

    def command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_BIN / "runner", *argv],
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
        )

    def outcome(self, *argv: str) -> dict[str, Any]:
        """Run a job; returns its outcome, `wall_s` of the whole command included."""
        started = time.perf_counter()
        done = self.command(*argv, "--json")
        wall_s = time.perf_counter() - started
        last = json.loads(done.stdout.splitlines()[-1])
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
        outcome: dict[str, Any] = last["outcome"]
        return {**outcome, "wall_s": wall_s}

    def job_s(self, *argv: str) -> float:
        """Seconds of a job from its start to its end: preflight, commit and retention included."""
        outcome = self.outcome(*argv)
        ended, began = (datetime.fromisoformat(outcome[key]) for key in ("finishedAt", "startedAt"))
        return (ended - began).total_seconds()


def write_runner(
    folder: Path,
    server: PostgresServer | MysqlServer,
    database: str,
    locations: Sequence[Mapping[str, Any]],
    *,
    parallelism: int = 1,
) -> Runner:
    config = folder / "config"
    (config / "secrets" / "db").mkdir(parents=True)
    (config / "secrets" / "db" / "password").write_text(server.password)
    (config / "cluster").write_text("bench")
    user: object = server.user
    if isinstance(server, MysqlServer):
        engine, user, programs = server.family, {"value": server.user}, server.bin_dirs()
    else:
        engine, programs = "postgres", {"POSTGRES_BIN_DIRS": str(server.bin_dir)}
    backup = {
        "metadata": {"namespace": "bench", "name": database},
        "spec": {
            "databaseType": engine,
            "backupStorageClass": "bench",
            "suspend": True,
            "compression": {"level": 1},
            "retention": {"keepLast": 1, "minimumKeep": 1},
            "runner": {"parallelism": parallelism},
            engine: {
                "database": database,
                "host": server.host,
                "port": server.port,
                "user": user,
                "pass": {"fromSecret": {"name": "db", "key": "password"}},
            },
        },
    }
    (config / "backup.yaml").write_text(yaml.safe_dump(backup))
    (config / "storageSpec.yaml").write_text(
        yaml.safe_dump({"backupLocations": [dict(location) for location in locations]})
    )
    # As in an image, where all is compiled: a job would spend 0.3 s of its start on that here.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environ = {
        **inherited,
        **programs,
        "CONFIG_DIR": str(config),
        "CONTROL_DIR": str(folder / "run"),
        "LISTEN": "127.0.0.1:0",
        "LOG_LEVEL": "WARNING",
    }
    return Runner(config=config, environ=environ)
