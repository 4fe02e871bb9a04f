"""`make demo` tells its story to the end, and cleans up when it is interrupted."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def processes_of(group: int) -> list[str]:
    """Command lines of what still runs in the sessions that a demo started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (folder / "environ").read_bytes()
            if f"DEMO_RUN={group}".encode() in environ.split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture
def marked_environment() -> Iterator[dict[str, str]]:
    """An environment whose processes can be found again, and a temporary folder of its own.

    Its path is short: that of a socket may have 107 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        temporary = Path(name)
        temporary.chmod(0o777)
        yield {**os.environ, "TMPDIR": name, "DEMO_RUN": str(os.getpid())}
        assert processes_of(os.getpid()) == []
        assert [path.name for path in temporary.iterdir()] == []


def test_the_demo_proves_its_point(marked_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=marked_environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"== Proven: 3 tables with 322000 rows .* checksum is the same", done.stdout)


def test_an_interrupted_demo_leaves_nothing_behind(marked_environment: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "demo"],
        cwd=ROOT,
        env=marked_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "backup-now" in line:
            break
    time.sleep(0.3)

    demo.send_signal(signal.SIGINT)

    rest, _ = demo.communicate(timeout=120)
    assert demo.returncode == 130
    assert "interrupted; everything was cleaned up" in rest


@pytest.mark.skipif(os.geteuid() != 0, reason="every other run is one as a plain user")
def test_the_demo_works_as_a_plain_user(marked_environment: dict[str, str]) -> None:
    nobody = pwd.getpwnam("nobody")
    if subprocess.run(
        ["test", "-x", sys.executable], user=nobody.pw_uid, check=False, cwd="/"
    ).returncode:
        pytest.skip(f"{sys.executable} cannot be entered by a plain user")

    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env={**marked_environment, "HOME": marked_environment["TMPDIR"]},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
