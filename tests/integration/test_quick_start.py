"""The commands of docs/quick-start.md, as they stand there, on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


def printed_commands() -> list[str]:
    """The blocks marked as shell; what is not marked needs a cluster, or has its own test."""
    page = (ROOT / "docs" / "quick-start.md").read_text()
    return re.findall(r"```sh\n(.*?)```", page, re.DOTALL)


def test_a_newcomer_gets_a_backup_and_a_copy(
    postgres16: PostgresServer, a_database: Callable[[PostgresServer], str], tmp_path: Path
) -> None:
    database = a_database(postgres16)
    with postgres16.connect(database) as connection:
        connection.execute("CREATE TABLE sale AS SELECT generate_series(1, 1000) AS id")
    prepare, use, look = printed_commands()
    # What the page puts first on PATH may be another environment than that of this run.
    programs = str(Path(sys.executable).parent)
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "POSTGRES_BIN_DIRS": str(postgres16.bin_dir),
    }

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace("$PWD/.venv/bin", programs)],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(prepare)
    folder = tmp_path / "shop-backup"
    file = folder / "quick-start.yaml"
    changes = {
        "host: localhost": f"host: {postgres16.host}",
        "port: 5432": f"port: {postgres16.port}",
        "database: shop": f"database: {database}",
        "/home/me/shop-backup": str(folder),
    }
    text = file.read_text()
    for shown, ours in changes.items():
        assert shown in text
        text = text.replace(shown, ours)
    file.write_text(text)
    (folder / "secrets" / "shop-db" / "password").write_text(postgres16.password)

    run(use)
    try:
        with postgres16.connect("shop_copy") as connection:
            (rows,) = connection.execute("SELECT count(*) FROM sale").fetchone()
    finally:
        with postgres16.connect() as connection:
            connection.execute("DROP DATABASE IF EXISTS shop_copy")

    assert rows == 1000
    assert "kind: Deployment" in run(look)
