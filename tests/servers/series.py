"""Which series of MySQL and MariaDB there are, and which of them a run of the tests covers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from engines.mariadb import versions as mariadb
from engines.mysql import versions as mysql

#: Family -> all that have an image, the newest last.
SUPPORTED = {"mariadb": mariadb.SUPPORTED, "mysql": mysql.SUPPORTED}
#: Names what a run covers in place of the usual: "mariadb-11.4 mysql-8.4".
VARIABLE = "DB_BACKUP_TEST_SERIES"
USUAL = "mariadb-10.11 mariadb-11.8 mysql-9.7"


def covered(environ: Mapping[str, str] = os.environ) -> dict[str, tuple[str, ...]]:
    """Family -> what this run covers of it, the newest last.

    Raises: ValueError, if the variable names one that there is not.
    """
    named = (environ.get(VARIABLE) or USUAL).split()
    every = {f"{family}-{one}" for family, series in SUPPORTED.items() for one in series}
    if unknown := [name for name in named if name not in every]:
        raise ValueError(
            f"{VARIABLE} names {', '.join(unknown)}; there are {', '.join(sorted(every))}"
        )
    return {
        family: tuple(one for one in series if f"{family}-{one}" in named)
        for family, series in SUPPORTED.items()
    }


def how_to_get(family: str, series: str) -> str:
    """The command that makes it be there."""
    return "make test-servers" if is_usual(family, series) else "make test-versions"


def how_to_test(family: str, series: str) -> str:
    """The command of a run that covers it."""
    return "make test" if is_usual(family, series) else "make test-versions"


def is_usual(family: str, series: str) -> bool:
    return f"{family}-{series}" in USUAL.split()
