"""What the failure of a client tool means, by the server's number in its last words."""

from __future__ import annotations

import re

from controller.api.errors import (
    AccessDenied,
    BackupError,
    DatabaseUnavailable,
    RetriableError,
    TerminalError,
)
from engines import process
from engines.mysql_family.connection import DENIED, LIMITED, NO_PLUGIN, PASSING

#: Of fewer than four digits, what files and storage engines say: where nothing else can be meant.
_NUMBER = re.compile(r"(?:ERROR|[Ee]rror:?) (\d{2,4})\b|\((\d{4})\)|\((\d{2,3})\)$", re.MULTILINE)

#: Of a dump: a table was changed, or is gone, since the snapshot. Or the server ended a deadlock
#: (1213): a dump only reads, and who waits for one that reads wants to alter.
_CHANGED = {1049, 1051, 1146, 1213, 1412}
_OTHER_COLUMNS = "Error in field count"


def server_code(failed: process.ProcessFailed) -> int:
    """The server's number in a tool's last words; 0: there is none."""
    found = _NUMBER.search(failed.stderr)
    return int(found[1] or found[2] or found[3]) if found else 0


def is_of_a_change(failed: process.ProcessFailed) -> bool:
    """Whether a dump failed because somebody alters, or altered, what it reads."""
    return server_code(failed) in _CHANGED or _OTHER_COLUMNS in failed.stderr


def explained(failed: process.ProcessFailed, what: str) -> BackupError:
    """The cause behind a tool's last words, which hold the server's number: ``(1142)``."""
    code = server_code(failed)
    if code in DENIED:
        return AccessDenied(f"{what}: {failed}")
    if code == NO_PLUGIN:
        return AccessDenied(
            f"{what}: these client tools do not know the way in which the account logs in; use the "
            f"runner image of the server's own series, or give the account another way: {failed}"
        )
    if cure := LIMITED.get(code):
        return TerminalError(f"{what}: {failed}: {cure}")
    if code in PASSING or 2000 <= code < 2100:
        return DatabaseUnavailable(f"{what}: {failed}")
    if failed.status < 0:
        return RetriableError(f"{what}: {failed}")
    if code:
        return TerminalError(f"{what}: {failed}")  # the server's word: no defect of ours
    return BackupError(f"{what}: {failed}")
