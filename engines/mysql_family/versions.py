"""Versions as the servers and their tools write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Versions of the stream layout (BackupFacts.engine_version): all tables in one stream, in several.
_ONE, _SEVERAL = LAYOUTS = ("1", "2")

#: What stays compatible within: 10.11 and 11.8 of MariaDB, 8.4 and 9.7 of MySQL.
Series = tuple[int, int]


def layout(streams_of_tables: Sequence[str]) -> str:
    """The oldest layout that has them: a runner that knows no newer one reads them, too."""
    return _ONE if len(streams_of_tables) == 1 else _SEVERAL


def series_of(text: str) -> Series:
    """The series in "10.11.18-MariaDB-log", "9.7.4" or "8.4".

    Raises: ValueError.
    """
    match = re.match(r"\s*(\d{1,3})\.(\d{1,3})(?!\d)", text)
    if match is None:
        raise ValueError(f"not a version of MySQL or MariaDB: {text!r}")
    return int(match[1]), int(match[2])


def patch_of(text: str) -> int:
    """The last number of "11.4.5-MariaDB-log".

    Raises: ValueError.
    """
    match = re.match(r"\s*\d+\.\d+\.(\d{1,3})(?!\d)", text)
    if match is None:
        raise ValueError(f"not a version of a server: {text!r}")
    return int(match[1])


def shown(series: Series) -> str:
    return f"{series[0]}.{series[1]}"


def is_mariadb(server_version: str) -> bool:
    return "mariadb" in server_version.lower()
