"""One database, its locations and its configuration, driven through the real command line.

A test acts through `World.cli` and `World.runner` alone, as a person does, and
then looks at what is there: objects, sessions, processes, files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, define

from tests.integration.jobs.commands import Done, Runner, eventually
from tests.integration.jobs.places import Place, stock
from tests.integration.jobs.processes import Process, marked
from tests.servers.postgres import PostgresServer

BIN = Path(sys.executable).parent
CLUSTER = "2f0b6e54-5f5c-4b1c-8f9d-000000000001"
ROOT = "db/shop/"
MANIFESTS = f"{ROOT}_manifests/"
DATA = f"{ROOT}_data/"
PASSPHRASE = "correct horse battery staple"

_MARK = "DB_BACKUP_TEST_WORLD"


@define(kw_only=True, eq=False)
class World:
    """Everything of one test."""

    folder: Path
    server: PostgresServer
    database: str
    places: Sequence[Place]
    environ: dict[str, str] = Factory(dict)
    runners: list[Runner] = Factory(list)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    # -- arrange --------------------------------------------------------------

    def configure(
        self,
        *,
        locations: Mapping[str, Mapping[str, Any]] | None = None,
        storage: Mapping[str, Any] | None = None,
        database: Mapping[str, Any] | None = None,
        cluster: str | None = CLUSTER,
        metadata: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        """Write the configuration as the controller mounts it.

        Args:
            locations: fields by a location's name, above those of its place.
            storage: further fields of the class. database: fields of the engine's section.
            metadata: of the DatabaseBackup. spec: its further fields.
        """
        self.config.mkdir(exist_ok=True)
        engine, section = self._section()
        backup = {
            "apiVersion": "backup.nect.com/v1",
            "kind": "DatabaseBackup",
            "metadata": {"namespace": "db", "name": "shop", **(metadata or {})},
            "spec": {
                "databaseType": engine,
                "backupStorageClass": "standard",
                "suspend": True,
                "retention": {"keepLast": 100},
                engine: {**section, **(database or {})},
                **spec,
            },
        }
        entries = [{**one.spec, **(locations or {}).get(one.name, {})} for one in self.places]
        class_spec = {"backupLocations": entries, **(storage or {})}
        (self.config / "backup.yaml").write_text(json.dumps(backup, indent=1))
        (self.config / "storageSpec.yaml").write_text(json.dumps(class_spec, indent=1))
        (self.config / "cluster").unlink(missing_ok=True)
        if cluster is not None:
            (self.config / "cluster").write_text(f"{cluster}\n")

    def _section(self) -> tuple[str, dict[str, Any]]:
        """The engine, and its section of the spec; the password lies beside it."""
        secrets = self.config / "secrets" / "shop-db"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "password").write_text(self.server.password + "\n")
        return "postgres", {
            "database": self.database,
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "pass": {"fromSecret": {"name": "shop-db", "key": "password"}},
        }

    def place(self, name: str) -> Place:
        return next(one for one in self.places if one.name == name)

    # -- act ------------------------------------------------------------------

    def cli(
        self,
        *argv: str,
        program: str = "runner",
        timeout_s: float = 90,
        **environ: str,
    ) -> Done:
        """Run a command to its end, without a terminal."""
        started = time.monotonic()
        done = subprocess.run(
            [BIN / program, *argv],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(
            argv=(program, *argv),
            code=done.returncode,
            out=done.stdout,
            err=done.stderr,
            seconds=time.monotonic() - started,
        )

    @contextlib.contextmanager
    def started(self, *argv: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """A command that still runs; it is killed at the end if it does then."""
        process = subprocess.Popen(
            [BIN / "runner", *argv],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @contextlib.contextmanager
    def runner(self, *, wait: bool = True, **environ: str) -> Iterator[Runner]:
        """`runner run`; ended at once, and cleanly, at the end."""
        log = self.folder / f"runner-{len(self.runners)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [BIN / "runner", "run"],
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        runner = Runner(process=process, log_file=log)
        self.runners.append(runner)
        try:
            if wait:
                runner.wait_ready()
            yield runner
        finally:
            runner.end()

    def back_up(self) -> str:
        """A backup that has to succeed; returns its id."""
        outcome = self.cli("backup-now", "--json").must(0).outcome()
        assert outcome["success"], outcome
        backup_id: str = outcome["backupId"]
        return backup_id

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.cli("status", "--json").must(0).json()
        return status

    def wait_idle(self) -> None:
        """Wait until the runner has no job: ready it is before its first look is over."""
        eventually(lambda: not self.status()["running"], say=lambda: self.runners[-1].log)

    # -- look -----------------------------------------------------------------

    def backups(self, place: Place | None = None) -> list[str]:
        """Ids of the committed backups, by the objects alone."""
        places = [place] if place else self.places
        return sorted(
            {
                key.removeprefix(MANIFESTS).removesuffix(".json")
                for one in places
                for key in one.all_keys()
                if key.startswith(MANIFESTS)
            }
        )

    def data_of(self, place: Place, backup_id: str) -> list[str]:
        return [key for key in place.all_keys() if key.startswith(f"{DATA}{backup_id}/")]

    def stock(self) -> dict[str, dict[str, str]]:
        """Every place's manifests and data, by their hash: what no later fault may touch."""
        return {
            place.name: stock(place, only=lambda key: key.startswith((MANIFESTS, DATA)))
            for place in self.places
        }

    def assert_nothing_lost(self, before: Mapping[str, Mapping[str, str]]) -> None:
        """Every object of `before` is there, byte by byte."""
        now = self.stock()
        for name, objects in before.items():
            for key, digest in objects.items():
                assert now[name].get(key) == digest, f"{name} lost or changed {key}"

    def assert_all_restorable(self) -> None:
        """No manifest without a backup that can be read whole, in any place."""
        if any(self.backups(place) for place in self.places):
            holders = [place.name for place in self.places if self.backups(place)]
            for name in holders:
                self.cli("verify", "--all", "--location", name).must(0)

    def assert_no_half_backup(self) -> None:
        """Data lies only where a manifest names it."""
        for place in self.places:
            committed = set(self.backups(place))
            there = {
                key.removeprefix(DATA).partition("/")[0]
                for key in place.all_keys()
                if key.startswith(DATA)
            }
            assert there <= committed, f"{place.name} has data without a manifest: {there}"

    def assert_nothing_left(self) -> None:
        """No process, session, lock, snapshot, half-made database, upload or file is left."""
        eventually(lambda: self.leftovers() == [], say=lambda: f"left behind: {self.leftovers()}")

    def leftovers(self) -> list[str]:
        found = [f"process {one.pid}: {one.words}" for one in self.processes()]
        found += self._leftovers_on_server()
        for place in self.places:
            found += [f"upload in {place.name}: {key}" for key in place.uploads()]
        found += [f"scratch {path}" for path in (self.folder / "tmp").glob("job-*")]
        return found

    def _leftovers_on_server(self) -> list[str]:
        found = []
        with self.server.connect() as connection:
            for query in (
                """
                SELECT concat_ws(' ', 'session', pid, application_name, state, query)
                FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                  AND (application_name LIKE 'db-backup%' OR application_name LIKE 'pg\\_%')
                """,
                "SELECT 'advisory lock of ' || pid FROM pg_locks WHERE locktype = 'advisory'",
                "SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts",
                "SELECT 'slot ' || slot_name FROM pg_replication_slots",
                "SELECT 'database ' || datname FROM pg_database WHERE datname LIKE 'dbb\\_%'",
                """
                SELECT 'barred database ' || datname FROM pg_database
                WHERE NOT datallowconn AND datname <> 'template0'
                """,
            ):
                found += [row[0] for row in connection.execute(query).fetchall()]
        found += [f"snapshot {path}" for path in (self.server.data_dir / "pg_snapshots").iterdir()]
        return found

    def processes(self, program: str = "") -> list[Process]:
        """Those that this world's commands started; of one program if it is named."""
        found = marked(f"{_MARK}={self.folder}")
        return [one for one in found if program in ("", one.program)]

    def find_process(self, program: str, timeout_s: float = 60) -> int:
        """Wait for a job (`runner.jobs.child`) or a tool at its work; returns the newest id."""

        def find() -> int:
            found = (
                process.pid
                for process in self.processes(program)
                # A tool that is asked for its version is gone before anything can be done to it.
                if "--version" not in process.argv
            )
            return max(found, default=0)

        def say() -> str:
            return f"no process of {program} among {[one.words for one in self.processes()]}"

        return eventually(find, say=say, timeout_s=timeout_s)


def base_environ(folder: Path, **further: str) -> dict[str, str]:
    """The environment of all commands of a world: nothing of the test's own credentials in it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "GOOGLE_", "MINIO_", "PG"))
    }
    return kept | {
        "CONFIG_DIR": str(folder / "config"),
        "CONTROL_DIR": str(folder / "run"),
        "LISTEN": "127.0.0.1:0",
        "LOG_LEVEL": "INFO",
        "TMPDIR": str(folder / "tmp"),
        "AWS_EC2_METADATA_DISABLED": "true",
        _MARK: str(folder),
        **further,
    }


def fingerprint(server: PostgresServer, database: str) -> dict[str, tuple[int, str]]:
    """Table -> its rows, and a checksum over them."""
    found = {}
    with server.connect(database) as connection:
        tables = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        ).fetchall()
        for (table,) in tables:
            count, total = connection.execute(
                f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text "
                f"FROM {table} t".replace("%", "%%")
            ).fetchone()
            found[table] = (count, total)
    return found


def client_bin_dirs_with(folder: Path, server: PostgresServer, scripts: Mapping[str, str]) -> str:
    """A folder that has the server's client tools, some of them replaced by shell scripts."""
    folder.mkdir()
    for tool in ("pg_dump", "pg_restore", "psql", "vacuumdb"):
        text = scripts.get(tool, 'exec "$REAL/{tool}" "$@"'.replace("{tool}", tool))
        path = folder / tool
        path.write_text(f"#!/bin/sh\nREAL='{server.bin_dir}'\n{text}\n")
        path.chmod(0o755)
    return str(folder)


def needs(program: str, package: str) -> str:
    """The path of a program, or a skip that names its package."""
    import pytest

    path = shutil.which(program)
    if path is None:
        if os.environ.get("DB_BACKUP_TEST_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{program} is missing: apt install {package} (or make test-servers)")
        pytest.skip(f"{program} is missing: apt install {package} (or make test-servers)")
    return path
