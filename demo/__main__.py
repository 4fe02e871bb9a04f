"""Back up a real PostgreSQL to an S3 server and a directory, lose it, bring it back, compare.

Uses the configuration that the controller's own builders make, mounted as the
kubelet does, and the same commands that a person gives to `kubectl exec`. Everything lives in one
temporary folder, listens on loopback only, and is gone afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import config, database
from tests.servers import moto, postgres

_READY_S = 30.0
_SHOWN_METRICS = (
    "last_job_success",
    "last_successful_backup",
    "stored_backup_count",
    "location_last_backup_stored_bytes",
)


class DemoFailedError(Exception):
    """The story did not end as it has to."""


def main() -> int:
    # Ctrl-C and `kill` take the same way out: through every `finally`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started_mono = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            proven = tell(stack)
    except KeyboardInterrupt:
        say("interrupted; everything was cleaned up")
        return 130
    except DemoFailedError as error:
        say(f"FAILED: {error}")
        return 1
    say(f"{proven} In {time.monotonic() - started_mono:.0f} s.")
    return 0


def tell(stack: contextlib.ExitStack) -> str:
    """The story; returns what it proved."""
    say("starting PostgreSQL, and an S3 server (moto)")
    server = stack.enter_context(postgres.running(16))
    s3 = stack.enter_context(moto.running())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-backup-demo-")))
    database.load(server)
    before = database.fingerprint(server)
    say(f"the database shop holds {sum(rows for rows, _ in before.values())} rows "
        f"in {len(before)} tables")  # fmt: skip

    config_dir = config.write(folder, server, s3)
    port = free_port()
    environ = {
        **os.environ,
        "CONFIG_DIR": str(config_dir),
        "CONTROL_DIR": str(folder / "run"),
        "LISTEN": f"127.0.0.1:{port}",
        "POSTGRES_BIN_DIRS": str(server.bin_dir),
        "LOG_LEVEL": "WARNING",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    say("starting the runner, with the configuration that `controller render` made for it")
    stack.enter_context(running_runner(environ, folder / "runner.log"))
    wait_until_ready(port, folder / "runner.log")

    say("a new database is backed up at once; ask for another backup, which waits its turn")
    command(environ, "backup-now")
    lost_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    say("dropping the database shop")
    database.drop(server)
    command(environ, "restore", "--at", lost_at)
    after = database.fingerprint(server)
    if after != before:
        raise DemoFailedError(f"the restored database differs: {before} before, {after} after")

    command(environ, "runner", "list")
    command(environ, "runner", "show", newest_backup(environ))
    show_metrics(port)
    return (
        f"Proven: {len(before)} tables with {sum(rows for rows, _ in before.values())} rows were "
        "backed up to S3 (encrypted) and to a directory, dropped, restored, and every row's "
        "checksum is the same."
    )


def command(environ: Mapping[str, str], *argv: str) -> None:
    """Run one command as a person would, and show it."""
    print(f"\n$ {' '.join(argv)}", flush=True)
    done = subprocess.run(argv, env=environ, check=False)
    if done.returncode:
        raise DemoFailedError(f"{' '.join(argv)} exited with {done.returncode}")


def newest_backup(environ: Mapping[str, str]) -> str:
    listed = subprocess.run(
        ["runner", "list"], env=environ, check=True, capture_output=True, text=True
    )
    return listed.stdout.splitlines()[-1].split()[0]


@contextlib.contextmanager
def running_runner(environ: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        runner = subprocess.Popen(
            ["runner", "run"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the demo; it ends the runner in its own time.
            start_new_session=True,
        )
    try:
        yield
    finally:
        runner.send_signal(signal.SIGINT)
        try:
            runner.wait(40)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()


def wait_until_ready(port: int, log: Path) -> None:
    deadline_mono = time.monotonic() + _READY_S
    while time.monotonic() < deadline_mono:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
            return
        time.sleep(0.1)
    raise DemoFailedError(
        f"the runner was not ready in {_READY_S:.0f} s: {log.read_text()[-2000:]}"
    )


def show_metrics(port: int) -> None:
    print(f"\n$ curl http://127.0.0.1:{port}/metrics | grep ...", flush=True)
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    wanted = re.compile(rf"^db_backup_controller_({'|'.join(_SHOWN_METRICS)})\{{.*$", re.MULTILINE)
    for match in wanted.finditer(text):
        print(match[0], flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
    return int(port)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
