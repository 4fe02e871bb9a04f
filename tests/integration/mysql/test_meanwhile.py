"""What others make in a database while a restore is about to replace it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import DatabaseUnavailable, PreflightFailed
from engines.mysql_family.load import Load
from engines.mysql_family.swap import Swap
from tests.integration.mysql.conftest import Backup, left_behind, schemas
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_samples import fingerprint

MADE = {
    "table": "CREATE TABLE late (id INT)",
    "view": "CREATE VIEW late AS SELECT id FROM a",
    "procedure": "CREATE PROCEDURE late() SELECT 1",
    "event": "CREATE EVENT late ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
}
#: Before tables are looked at once more, and after that.
MOMENTS = [(Load, "run"), (Swap, "run")]


@pytest.fixture
def other(mysql_server: MysqlServer) -> Iterator[str]:
    """A database of somebody else with a table that points at nothing yet."""
    name = f"other_{secrets.token_hex(4)}"
    mysql_server.run(f"CREATE DATABASE {name}", f"CREATE TABLE {name}.c (a_id INT)")
    yield name
    mysql_server.run(f"DROP DATABASE {name}")


def just_before(
    monkeypatch: pytest.MonkeyPatch, of: type, method: str, act: Callable[[], object]
) -> None:
    then = getattr(of, method)

    def first(*arguments: object) -> object:
        act()
        return then(*arguments)

    monkeypatch.setattr(of, method, first)


@pytest.mark.parametrize("statement", MADE.values(), ids=MADE)
def test_what_is_made_while_a_swap_waits_is_not_lost_in_the_new_database(
    backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    server, database = backup.server, backup.database
    just_before(monkeypatch, Swap, "run", lambda: server.run(statement, database=database))

    with pytest.raises(DatabaseUnavailable, match=r"somebody made the \w+ `late`"):
        backup.restore(tmp_path, replace=True)

    monkeypatch.undo()
    assert schemas(server, database) == [database]
    assert left_behind(server) == []
    before = fingerprint(server, database)
    assert any(name.endswith(" late") for name in before)
    restored = backup.restore(tmp_path, replace=True)
    assert restored.kept_as is not None
    assert fingerprint(server, restored.kept_as).keys() == before.keys()


@pytest.mark.parametrize(("of", "method"), MOMENTS, ids=["loading", "swapping"])
def test_a_key_from_elsewhere_that_is_made_meanwhile_follows_no_old_table(
    backup: Backup,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: type,
    method: str,
) -> None:
    server, database = backup.server, backup.database
    before = fingerprint(server, database)
    make = (
        f"ALTER TABLE {other}.c ADD CONSTRAINT far FOREIGN KEY (a_id) REFERENCES {database}.a (id)"
    )
    just_before(monkeypatch, of, method, lambda: server.run(make))

    with pytest.raises(PreflightFailed, match="would follow its old tables") as refused:
        backup.restore(tmp_path, replace=True)

    monkeypatch.undo()
    assert fingerprint(server, database) == before
    assert schemas(server, database) == [database]
    assert left_behind(server) == []
    points = server.run(
        "SELECT UNIQUE_CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA = '{other}'"
    )
    assert points == [(database,)]
    cure = re.search(r"ALTER TABLE .*;", str(refused.value))
    assert cure is not None
    server.run(cure[0])
    assert backup.restore(tmp_path, replace=True).kept_as is not None
