"""Secrets stay where they belong: not in logs, events, errors, command lines or stored records."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import DATA, World
from tests.servers.minio import MinioServer

_CANARY = "cAnArY"


@contextlib.contextmanager
def _watching_command_lines() -> Iterator[set[str]]:
    """Every command line on the machine that shows a canary, while in the block."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        words = (entry / "cmdline").read_bytes().decode("latin-1")
                        if _CANARY in words:
                            seen.add(words)

    thread = threading.Thread(target=watch, name="watch-command-lines")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _records(world: World) -> dict[str, bytes]:
    """All that is stored beside the data itself."""
    return {
        f"{place.name}/{key}": place.read(key)
        for place in world.places
        for key in place.all_keys()
        if not key.startswith(DATA) or key.endswith("key.age")
    }


@frozen(kw_only=True)
class Canaries:
    """Secrets that are found again wherever they are shown."""

    role: str = field(factory=lambda: f"canary_{secrets.token_hex(4)}")
    password: str = field(factory=lambda: f"{_CANARY}-pass'word\"{secrets.token_hex(4)}")
    passphrase: str = field(factory=lambda: f"{_CANARY} passphrase {secrets.token_hex(4)}")
    former: str = field(factory=lambda: f"{_CANARY} former {secrets.token_hex(4)}")

    @property
    def database(self) -> dict[str, Any]:
        return {"user": self.role, "pass": {"value": self.password}}

    @property
    def location(self) -> dict[str, Any]:
        return {
            "encryptionPass": {"fromSecret": {"name": "keys", "key": "pass"}},
            "previousEncryptionPasses": [{"value": self.former}],
        }

    def texts(self) -> list[str]:
        quoted = json.dumps(self.password)[1:-1]
        return [self.password, quoted, self.passphrase, self.former, _CANARY]


@contextlib.contextmanager
def _login(world: World, canaries: Canaries) -> Iterator[None]:
    """The role of the canaries, which goes with what it restored."""
    with world.server.connect() as connection:
        quoted = canaries.password.replace("'", "''")
        connection.execute(f"CREATE ROLE {canaries.role} SUPERUSER LOGIN PASSWORD '{quoted}'")
    try:
        yield
    finally:
        with world.server.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {world.database}_new WITH (FORCE)")
            connection.execute(f"DROP ROLE {canaries.role}")


def _said_by_all_verbs(world: World, canaries: Canaries) -> list[str]:
    """What commands and runner say and serve, also of the mistakes about which most is said."""
    said: list[str] = []

    def run(*argv: str, code: int = 0) -> None:
        done = world.cli(*argv, LOG_LEVEL="DEBUG")
        said.append(done.said)
        assert done.code == code, done.said

    def configure(**location: Any) -> None:
        world.configure(locations={"minio": location}, database=canaries.database)

    configure(**canaries.location)
    with world.runner(LOG_LEVEL="DEBUG") as runner:
        run("backup-now", "--json")
        run("restore", "--at", "now", "--database", f"{world.database}_new", "--json")
        run("verify", "--json")
        run("list", "--json")
        run("show", world.backups()[0])
        run("show", world.backups()[0], "--json")
        run("status", "--json")
        run("prune", "--json")
        # Failures say the most: a wrong password, a wrong storage key, a wrong passphrase.
        wrong = canaries.database | {"pass": {"value": canaries.password + "-wrong"}}
        world.configure(locations={"minio": canaries.location}, database=wrong)
        run("backup-now", code=78)
        configure(**canaries.location, storageSecretAccessKey={"value": _CANARY * 3})
        run("backup-now", code=78)
        run("verify", "--location", "minio", code=78)
        configure(encryptionPass={"value": f"{_CANARY}-not-it"})
        run("verify", "--location", "minio", code=65)
        said += [runner.get("/metrics")[1], runner.get("/readyz")[1]]
        # A configuration that cannot be read must not be quoted either.
        broken = (world.config / "storageSpec.yaml").read_text().replace("}", "", 1)
        (world.config / "storageSpec.yaml").write_text(broken)
        run("backup-now", code=78)
        said.append(runner.log)
    return said


def test_no_secret_is_ever_shown(make_world: MakeWorld, minio_server: MinioServer) -> None:
    world, canaries = make_world("folder", "minio"), Canaries()
    (world.config / "secrets" / "keys").mkdir()
    (world.config / "secrets" / "keys" / "pass").write_text(canaries.passphrase + "\n")

    with _login(world, canaries), _watching_command_lines() as command_lines:
        said = _said_by_all_verbs(world, canaries)

    for text in (*canaries.texts(), minio_server.secret_key):
        shown = [one for one in said if text in one]
        assert not shown, f"{text!r} is shown in: {_around(shown[0], text)}"
        for name, record in _records(world).items():
            assert text.encode() not in record, f"{text!r} is stored in {name}"
    assert not command_lines
    scratch = [path for path in (world.folder / "tmp").rglob("*") if path.is_file()]
    assert scratch == []


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return text[max(0, at - 400) : at + 200]
