"""A job that is watched on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import BIN


def test_a_terminal_shows_what_goes_on_and_is_left_as_it_was(make_world: MakeWorld) -> None:
    world = make_world("folder", large=True)
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [BIN / "runner", "backup-now"],
        env={**world.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    )
    os.close(side)
    said = b""
    with os.fdopen(terminal, "rb", buffering=0) as stream, suppress(OSError):  # EIO: it has ended
        while data := stream.read(4096):
            said += data
    text = said.decode()

    assert process.wait(30) == 0, text
    (backup_id,) = world.backups()
    assert f"backup {backup_id} succeeded in" in text
    assert "folder: ok" in text
    assert "dump" in text.partition("succeeded")[0]
    # The line of progress is drawn over itself, and the cursor is there again at the end.
    assert "\x1b[2K" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
