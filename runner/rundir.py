"""The directory of one running runner: control socket and fence, ours alone."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from controller.api.errors import TerminalError


def socket_path(config: Path, environ: Mapping[str, str]) -> Path:
    """Where the runner of a configuration listens; the same for it and its clients.

    Args:
        environ: CONTROL_DIR names the directory; by default it is one of ours
            below the directory for temporary files, per user and configuration.
    """
    if environ.get("CONTROL_DIR"):
        return Path(environ["CONTROL_DIR"]) / "control.sock"
    digest = hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:12]
    name = f"db-backup-runner-{os.getuid()}-{digest}"
    return Path(tempfile.gettempdir()) / name / "control.sock"


def fence_path(config: Path, environ: Mapping[str, str]) -> Path:
    """The file whose lock says who acts with a configuration."""
    return socket_path(config, environ).with_name("fence")


def own_directory(path: Path) -> None:
    """Make sure that a directory exists and that nobody else gets at it.

    One that others may enter is refused and not changed: it may be /tmp.

    Raises: TerminalError if somebody else made it, or may enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat(follow_symlinks=False)
    except OSError as error:
        raise TerminalError(
            f"{path} cannot be made ({error.strerror}): set CONTROL_DIR to another directory"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise TerminalError(f"{path} is not a directory of ours: set CONTROL_DIR to another one")
    if found.st_mode & 0o077:
        raise TerminalError(
            f"{path} is open to others: chmod 700 it, or set CONTROL_DIR to another directory"
        )
