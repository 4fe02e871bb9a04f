"""What these tests share: a small schema, a backup of it, and accounts."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from attrs import evolve, frozen

from controller.api.errors import Problem
from engines.interface import BackupFacts, Engine, Purpose, Restored, Target
from engines.mysql_family import indexes
from tests.fakes.streams import MemorySink, MemorySource
from tests.integration.jobs.places import Folder
from tests.integration.jobs.world import World, base_environ
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.postgres_engine import a_context


@frozen(kw_only=True)
class Backup:
    """A backup in memory and the engine that made it."""

    server: MysqlServer
    database: str
    engine: Engine
    facts: BackupFacts
    sink: MemorySink

    def source(self, **errors: Exception) -> MemorySource:
        return MemorySource(self.sink.streams, errors)

    def by(self, user: str) -> Backup:
        """The same for an account of `an_account`, which is to restore it."""
        engine = an_engine(self.server, self.database, user=user, password="pw")
        return evolve(self, engine=engine)

    def refused(self, tmp_path: Path, **target: object) -> Sequence[Problem]:
        """What the engine says before it restores."""
        return self.engine.preflight(
            a_context(tmp_path),
            purpose=Purpose.RESTORE,
            facts=self.facts,
            target=Target(**{"database": self.database, **target}),
        )

    def restore(self, tmp_path: Path, **target: object) -> Restored:
        return self.engine.restore_backup(
            self.source(),
            self.facts,
            a_context(tmp_path),
            target=Target(**{"database": self.database, **target}),
        )

    def restore_by_hand(self, folder: Path) -> None:
        """Run the printed commands on the unpacked files, as a person would."""
        self.engine.unpack(self.source(), self.facts, folder, a_context(folder))
        (folder / ".my.cnf").write_text(
            f"[client]\nuser=root\npassword={self.server.password}\nhost=127.0.0.1\n"
            f"port={self.server.port}\n[client-mariadb]\nskip-ssl\n"
        )
        for line in self.engine.by_hand(self.facts):
            subprocess.run(
                line,
                shell=True,
                check=True,
                cwd=folder,
                env={"HOME": str(folder), "PATH": f"{self.server.bin_dir}:/usr/bin:/bin"},
            )


def fill_small(server: MysqlServer, database: str, rows: int = 2000) -> None:
    """Two tables with a foreign key, one of each other object."""
    values = ", ".join(
        f"({number}, REPEAT(SHA2({number}, 256), 5))" for number in range(1, rows + 1)
    )
    server.run(
        "CREATE TABLE a (id INT PRIMARY KEY, t TEXT)",
        f"INSERT INTO a VALUES {values}",
        "CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY, a_id INT,"
        " CONSTRAINT of_a FOREIGN KEY (a_id) REFERENCES a (id))",
        "INSERT INTO b (a_id) VALUES (1), (2)",
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, said TEXT)",
        "CREATE FUNCTION unit() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE VIEW shown AS SELECT id, unit() AS unit FROM a",
        "CREATE TRIGGER logged AFTER INSERT ON b FOR EACH ROW"
        " INSERT INTO log (said) VALUES (CONCAT('b ', NEW.id))",
        "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY ENABLE DO DELETE FROM log",
        database=database,
    )


def a_backup(server: MysqlServer, database: str, tmp_path: Path, **overrides: object) -> Backup:
    engine = an_engine(server, database, **overrides)
    sink = MemorySink()
    facts = engine.create_backup(sink, a_context(tmp_path))
    return Backup(server=server, database=database, engine=engine, facts=facts, sink=sink)


def schemas(server: MysqlServer, prefix: str) -> list[str]:
    return sorted(name for (name,) in server.run("SHOW DATABASES") if name.startswith(prefix))


def left_behind(server: MysqlServer) -> list[str]:
    return schemas(server, "dbb_restore_")


@pytest.fixture
def small(mysql_server: MysqlServer, a_schema: Callable[..., str]) -> str:
    """A schema of `fill_small`, on each family's server in turn."""
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    return database


@pytest.fixture
def backup(mysql_server: MysqlServer, small: str, tmp_path: Path) -> Backup:
    return a_backup(mysql_server, small, tmp_path)


@pytest.fixture
def an_account(mysql_server: MysqlServer) -> Iterator[Callable[..., str]]:
    """Makes accounts with the password "pw"; they go with the test."""
    made: list[str] = []

    def make(how: str = "BY 'pw'", *, more: str = "") -> str:
        name = f"u_{secrets.token_hex(4)}"
        mysql_server.run(f"CREATE USER {name}@'%' IDENTIFIED {how} {more}")
        made.append(name)
        return name

    yield make
    for name in made:
        mysql_server.run(f"DROP USER {name}@'%'")


@pytest.fixture
def world(mysql_server: MysqlServer, a_schema: Callable[..., str]) -> Iterator[World]:
    # Short, and outside of pytest's own folder: a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    for name in ("tmp", "run", "one", "two"):
        (folder / name).mkdir(mode=0o700)
    world = World(
        folder=folder,
        server=mysql_server,  # type: ignore[arg-type] - its address and login alone
        database=a_schema(mysql_server),
        places=[Folder(name, folder / name) for name in ("one", "two")],
        environ=base_environ(folder, **mysql_server.bin_dirs()),
    )
    configure(world, mysql_server)
    try:
        yield world
        assert left_behind(mysql_server) == []
        assert world.processes() == []
        assert list((folder / "tmp").glob("job-*")) == []
    finally:
        for runner in world.runners:
            runner.kill()
        shutil.rmtree(folder, ignore_errors=True)


def configure(world: World, server: MysqlServer, **fields: object) -> None:
    """As the controller mounts it; encrypted with a passphrase."""
    passphrase = {"encryptionPass": {"value": "correct horse battery staple"}}
    world.configure(locations={"one": passphrase, "two": passphrase})
    path = world.config / "backup.yaml"
    backup = json.loads(path.read_text())
    section = backup["spec"].pop("postgres")
    section |= {"user": {"value": server.user}, "sslMode": "disabled", **fields}
    backup["spec"] |= {"databaseType": server.family, server.family: section}
    path.write_text(json.dumps(backup))


@pytest.fixture
def all_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is so small that it is loaded with its indexes."""
    monkeypatch.setattr(indexes, "_SMALL_BYTES", -1)
