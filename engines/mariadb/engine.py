"""The MariaDB engine."""

from __future__ import annotations

from controller.api.v1 import MariadbSpec
from engines.mariadb import versions
from engines.mysql_family.engine import FamilyEngine
from engines.mysql_family.family import Family

MARIADB = Family(
    name="mariadb",
    title="MariaDB",
    is_mariadb=True,
    spec=MariadbSpec,
    dump="mariadb-dump",
    client="mariadb",
    variable="MARIADB_BIN_DIRS",
    package="mariadb-client",
    supported=versions.SUPPORTED,
    past_end_of_life=versions.PAST_END_OF_LIFE,
    definer_rights=("SET USER",),
    position_rights=("SUPER", "BINLOG MONITOR", "REPLICATION CLIENT"),
)


class MariadbEngine(FamilyEngine):
    """Backups with mariadb-dump, restored beside the target and swapped in."""

    family = MARIADB
