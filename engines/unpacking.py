"""The streams of a backup as files, for a person with standard tools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from controller.api.errors import TargetExists
from engines import process
from engines.interface import BackupFacts, JobContext, Progress, StreamName, StreamSource


def unpack(source: StreamSource, facts: BackupFacts, dest: Path, context: JobContext) -> list[Path]:
    """Write each stream as a file of its name, for our user alone: all of them, or none.

    Raises: TargetExists, before anything is read.
    """
    _refuse_taken(dest, facts.streams)
    partials = {name: dest / f".{name}.partial" for name in facts.streams}
    done = 0
    try:
        for name, partial in partials.items():
            partial.unlink(missing_ok=True)  # of a run that was killed
            reader = source.open(name)
            try:
                with open(partial, "xb", opener=_private) as file:
                    while data := reader.read(process.BLOCK_BYTES):
                        file.write(data)
                        done += len(data)
                        context.report(Progress(stage="unpack", done=done))
                        process.raise_if(context.cancelled)
            finally:
                reader.close()
        _refuse_taken(dest, facts.streams)
        for name, partial in partials.items():
            partial.rename(dest / name)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise
    return [dest / name for name in facts.streams]


def _refuse_taken(dest: Path, names: Sequence[StreamName]) -> None:
    taken = [str(dest / name) for name in names if os.path.lexists(dest / name)]
    if taken:
        raise TargetExists(
            f"{', '.join(taken)} would be written over: move it away, or name another directory"
        )


def _private(path: str, flags: int) -> int:
    """The data of a database, decrypted: for nobody else, whatever the umask."""
    return os.open(path, flags, 0o600)
