"""With nothing but the bucket, the key and standard tools: the commands that `show` prints, run."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import DATA, MANIFESTS, PASSPHRASE, World, fingerprint, needs

ROOT = Path(__file__).parents[3]


def _printed_commands(world: World, backup_id: str, location: str) -> list[str]:
    out = world.cli("show", backup_id, "--location", location).must(0).out
    _, _, lines = out.partition("by hand")
    return [line.strip() for line in lines.splitlines()[1:] if line.strip()]


def _copy(world: World, location: str, backup_id: str) -> Path:
    """What a person does first: copy the backup's folder."""
    target = world.folder / "by-hand"
    target.mkdir()
    place = world.place(location)
    for key in world.data_of(place, backup_id):
        (target / key.removeprefix(f"{DATA}{backup_id}/")).write_bytes(place.read(key))
    return target


def _environ(world: World, age: str) -> dict[str, str]:
    path = f"{world.server.bin_dir}:{Path(age).parent}:{os.environ['PATH']}"
    return {**world.server.environment(), "PATH": path}


def _run(lines: str, folder: Path, environ: dict[str, str]) -> str:
    """Run what a person would paste; any failure in it fails the test."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
    return done.stdout


def _run_typed(command: str, folder: Path, typed: str, environ: dict[str, str]) -> str:
    """Run a command on a terminal of its own, and type when it asks."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve("/bin/sh", ["sh", "-c", command], environ)
    said = b""
    deadline = time.monotonic() + 60
    answered = False
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the terminal is closed: the command ended
            break
        if not chunk:
            break
        said += chunk
        if b"passphrase" in said.lower() and not answered:
            answered = True
            os.write(terminal, typed.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("sealed", ["passphrase", "recipients", "plain"])
def test_the_printed_commands_bring_the_database_back(make_world: MakeWorld, sealed: str) -> None:
    age, keygen = needs("age", "age"), needs("age-keygen", "age")
    needs("zstd", "zstd")
    world = make_world("s3" if sealed == "recipients" else "folder")
    location = world.places[0].name
    identity = world.folder / "identity.txt"
    subprocess.run([keygen, "-o", identity], check=True, capture_output=True)
    recipient = next(
        line.split()[-1] for line in identity.read_text().splitlines() if "public key" in line
    )
    encryption = {
        "passphrase": {"encryptionPass": {"value": PASSPHRASE}},
        "recipients": {"encryptionRecipients": [recipient]},
        "plain": {},
    }[sealed]
    world.configure(locations={location: encryption}, runner={"parallelism": 2})
    before = fingerprint(world.server, world.database)
    backup_id = world.back_up()
    commands = _printed_commands(world, backup_id, location)
    folder = _copy(world, location, backup_id)
    with world.server.connect() as connection:
        connection.execute(f'DROP DATABASE "{world.database}" WITH (FORCE)')
    environ = _environ(world, age)

    for command in commands:
        if command.startswith("#"):
            continue
        if command.startswith("age ") and sealed == "passphrase":
            _run_typed(command, folder, PASSPHRASE, environ)
            continue
        _run(command.replace("YOUR_IDENTITY", str(identity)), folder, environ)

    assert fingerprint(world.server, world.database) == before
    assert (sealed == "plain") == (not any(line.startswith("age") for line in commands))


def test_the_page_s_commands_bring_the_database_back(make_world: MakeWorld) -> None:
    """Those below "By hand", as they stand there, but for the database's name."""
    age = needs("age", "age")
    needs("zstd", "zstd")
    page = (ROOT / "docs" / "restore.md").read_text()
    section = page[page.index("## By hand") : page.index("## Practise")]
    opening, *rest = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    world = make_world("folder")
    world.configure(locations={"folder": {"encryptionPass": {"value": PASSPHRASE}}})
    before = fingerprint(world.server, world.database)
    backup_id = world.back_up()
    folder = _copy(world, "folder", backup_id)
    manifest = json.loads(world.place("folder").read(f"{MANIFESTS}{backup_id}.json"))
    with world.server.connect() as connection:
        connection.execute(f'DROP DATABASE "{world.database}" WITH (FORCE)')
    environ = _environ(world, age)

    _run_typed(opening, folder, PASSPHRASE, environ)
    role = f"app_{world.database}"
    said = ""
    for block in rest:
        ours = re.sub(r"(?<=[= ])shop\b", world.database, block).replace('"app"', f'"{role}"')
        said += _run(ours, folder, environ)
    with world.server.connect() as connection:
        connection.execute(f'DROP ROLE "{role}"')

    assert fingerprint(world.server, world.database) == before
    assert {stream["plainSha256"] for stream in manifest["streams"]} <= set(said.split())


def test_a_recipients_only_runner_backs_up_what_it_cannot_read(make_world: MakeWorld) -> None:
    keygen = needs("age-keygen", "age")
    world = make_world("folder")
    identity = subprocess.run([keygen], check=True, capture_output=True, text=True).stdout
    recipient = next(line.split()[-1] for line in identity.splitlines() if "public key" in line)
    world.configure(locations={"folder": {"encryptionRecipients": [recipient]}})

    backup_id = world.back_up()

    world.cli("list").must(0, backup_id)
    world.cli("verify").must(0, "unknown: NoKey", "recipients")
    done = world.cli("restore", "--at", "now", "--database", f"{world.database}_new")
    done.must(65, "recipients", "by hand")
