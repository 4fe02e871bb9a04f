"""The MySQL engine."""

from __future__ import annotations

from controller.api.v1 import MysqlSpec
from engines.mysql import versions
from engines.mysql_family.engine import FamilyEngine
from engines.mysql_family.family import Family

MYSQL = Family(
    name="mysql",
    title="MySQL",
    is_mariadb=False,
    spec=MysqlSpec,
    dump="mysqldump",
    client="mysql",
    variable="MYSQL_BIN_DIRS",
    package="mysql-community-client from MySQL's own apt repository",
    supported=versions.SUPPORTED,
    past_end_of_life=versions.PAST_END_OF_LIFE,
    definer_rights=(
        "SYSTEM_USER",
        "ALLOW_NONEXISTENT_DEFINER",
        "SET_USER_ID",
        "SET_ANY_DEFINER",
    ),
    position_rights=("SUPER", "REPLICATION CLIENT"),
)


class MysqlEngine(FamilyEngine):
    """Backups with mysqldump, restored beside the target and swapped in."""

    family = MYSQL
