"""Rights on single routines, which the server forgets with the routine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import BackupError
from engines.mysql_family.swap import Swap
from tests.integration.mysql.conftest import Backup, a_backup
from tests.servers.mysql import MysqlServer


def _granted(server: MysqlServer, user: str, database: str) -> set[str]:
    """What the account was given on anything in a schema."""
    lines = [line for (line,) in server.run(f"SHOW GRANTS FOR {user}")]
    return {line for line in lines if f"`{database}`" in line}


@pytest.fixture
def user(mysql_server: MysqlServer, small: str, an_account: Callable[..., str]) -> str:
    """May call one procedure and pass on the right to a function, and see a table."""
    name = an_account()
    mysql_server.run(
        "CREATE PROCEDURE tidy_up() DELETE FROM log",
        "CREATE PROCEDURE leaves() SELECT 1",
        f"GRANT SELECT ON {small}.a TO {name}",
        f"GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE {small}.tidy_up TO {name}",
        f"GRANT EXECUTE ON FUNCTION {small}.unit TO {name} WITH GRANT OPTION",
        database=small,
    )
    return name


@pytest.fixture
def backup(mysql_server: MysqlServer, small: str, user: str, tmp_path: Path) -> Backup:
    return a_backup(mysql_server, small, tmp_path)


def test_they_are_there_again_after_a_restore_in_place(
    mysql_server: MysqlServer, small: str, user: str, backup: Backup, tmp_path: Path
) -> None:
    before = _granted(mysql_server, user, small)
    assert len(before) == 3

    restored = backup.restore(tmp_path, replace=True)

    assert _granted(mysql_server, user, small) == before
    mysql_server.run(f"CALL {small}.tidy_up()", user=user, password="pw")
    assert restored.warnings == (f'events in "{restored.kept_as}" are disabled',)


def test_those_on_a_routine_that_does_not_come_back_are_not_given(
    mysql_server: MysqlServer, small: str, user: str, backup: Backup, tmp_path: Path
) -> None:
    before = _granted(mysql_server, user, small)
    mysql_server.run(
        "CREATE PROCEDURE later() SELECT 1",
        f"GRANT EXECUTE ON PROCEDURE {small}.later TO {user}",
        database=small,
    )

    restored = backup.restore(tmp_path, replace=True)

    assert _granted(mysql_server, user, small) == before
    assert restored.warnings == (f'events in "{restored.kept_as}" are disabled',)


def test_they_are_there_again_after_a_swap_that_was_taken_back(
    mysql_server: MysqlServer,
    small: str,
    user: str,
    backup: Backup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = _granted(mysql_server, user, small)
    code = Swap._code

    def fails(swap: Swap) -> None:
        code(swap)
        raise BackupError("after all of it")

    monkeypatch.setattr(Swap, "_code", fails)

    with pytest.raises(BackupError, match="after all of it"):
        backup.restore(tmp_path, replace=True)

    assert _granted(mysql_server, user, small) == before


def test_who_may_not_see_or_give_them_is_told(
    mysql_server: MysqlServer,
    small: str,
    user: str,
    backup: Backup,
    an_account: Callable[..., str],
    tmp_path: Path,
) -> None:
    """An account with all that the page asks for, and then with the right to see them."""
    restorer = an_account()
    definer = "SET USER" if mysql_server.family == "mariadb" else "SET_ANY_DEFINER, SYSTEM_USER"
    mysql_server.run(
        f"GRANT ALL ON `dbb\\_restore\\_%`.* TO {restorer}",
        f"GRANT ALL ON `{small}%`.* TO {restorer}",
        f"GRANT {definer}, SUPER ON *.* TO {restorer}",
    )
    if mysql_server.family == "mysql":
        mysql_server.run(f"GRANT SHOW_ROUTINE ON *.* TO {restorer}")

    blind = backup.by(restorer).restore(tmp_path, replace=True, owners=False)
    mysql_server.run(
        f"GRANT EXECUTE ON PROCEDURE {small}.tidy_up TO {user}",
        f"GRANT SELECT ON mysql.procs_priv TO {restorer}",
    )
    seeing = backup.by(restorer).restore(tmp_path, replace=True, owners=False)

    assert any("GRANT them again" in one for one in blind.warnings)
    assert not any("GRANT them again" in one for one in seeing.warnings)
    (told,) = [one for one in seeing.warnings if "a right went with the routine" in one]
    assert f"GRANT EXECUTE ON PROCEDURE `{small}`.`tidy_up` TO " in told
