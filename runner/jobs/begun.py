"""Which backup a job began: its scratch folder tells, also when the job was killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from controller.api.errors import FormatError
from runner.repository.layout import BackupId, parse_backup_id

_FILE = "backup-id"


def note_begun(scratch: Path, backup_id: BackupId) -> None:
    (scratch / _FILE).write_text(backup_id)


def read_begun(scratch: Path) -> BackupId | None:
    """The backup that the job with this scratch folder began; None if it did not get that far."""
    with contextlib.suppress(OSError, UnicodeDecodeError, FormatError):
        return parse_backup_id((scratch / _FILE).read_text())
    return None
