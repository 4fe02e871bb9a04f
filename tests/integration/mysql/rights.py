"""The rights that the pages name and the messages ask for, as statements."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from controller.api.errors import Problem
from tests.servers.mysql import MysqlServer

DOCS = Path(__file__).parents[3] / "docs"


def cures(problems: Iterable[Problem]) -> list[str]:
    """The statements that the messages ask for."""
    text = "\n".join(str(problem) for problem in problems)
    return re.findall(r"(?:GRANT|SET GLOBAL|SET PERSIST|CREATE USER|ALTER TABLE) [^;]*;", text)


def routines(server: MysqlServer, pattern: str, user: str) -> str:
    """The grant to see others' procedures and functions."""
    if server.family == "mysql":
        return f"GRANT SHOW_ROUTINE ON *.* TO {user}@'%'"
    if server.series == "10.11":
        return f"GRANT SELECT ON mysql.proc TO {user}@'%'"
    return f"GRANT SHOW CREATE ROUTINE ON `{pattern}`.* TO {user}@'%'"


def granted(server: MysqlServer, heading: str, database: str, user: str) -> list[str]:
    """What the family's page says below a heading, for this schema and account."""
    page = (DOCS / f"{server.family}.md").read_text()
    (block,) = re.search(rf"{heading}\n.*?```sql\n(.*?)```", page, re.DOTALL).groups()
    found = re.findall(r"^((?:GRANT|SET) [^;]*;)", block, re.MULTILINE)
    if server.family == "mariadb":
        needless = ["mysql.proc" if server.series != "10.11" else "SHOW CREATE ROUTINE"]
        if not server.version().startswith("11.4.5"):
            needless.append("INSERT, ALTER ON *.*")
        found = [one for one in found if not any(words in one for words in needless)]
    return [
        re.sub(r"'(backup|restore)'@", f"{user}@", one).replace("shop", database) for one in found
    ]
