"""Views, routines, triggers and events while somebody else changes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.api.errors import BackupError, DatabaseUnavailable
from engines.mysql_family import objects
from engines.mysql_family.quoting import account
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import a_backup
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import on_newest
from tests.servers.postgres_engine import a_context


@pytest.mark.parametrize(
    ("catalogued", "drop"),
    [
        ("VIEWS", "VIEW shown"),
        ("ROUTINES", "FUNCTION unit"),
        ("TRIGGERS", "TRIGGER logged"),
        ("EVENTS", "EVENT tidy"),
    ],
)
def test_one_that_goes_between_two_looks_is_told_as_a_change(
    mysql_server: MysqlServer,
    small: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    catalogued: str,
    drop: str,
) -> None:
    """Once the catalogue has told of it, and before the server is asked what it is."""
    rows = objects.Session.rows

    def dropped_after(
        session: objects.Session, query: str, *arguments: object, **more: str
    ) -> object:
        found = rows(session, query, *arguments, **more)  # type: ignore[arg-type]
        if f"FROM information_schema.{catalogued} " in query and objects._WHAT in more.values():
            mysql_server.run(f"DROP {drop}", database=small)
        return found

    monkeypatch.setattr(objects.Session, "rows", dropped_after)
    sink = MemorySink()

    with pytest.raises(DatabaseUnavailable, match="altered while it was being dumped"):
        an_engine(mysql_server, small).create_backup(sink, a_context(tmp_path))

    assert sink.streams == {}


#: One of each kind, and one after it, in the order in which they are made.
_CODE = (
    "CREATE FUNCTION f() RETURNS VARCHAR(9) DETERMINISTIC RETURN 'f'",
    "CREATE PROCEDURE p() SELECT 'p'",
    "CREATE VIEW v AS SELECT 'v' AS v",
    "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW SET NEW.t = 'g'",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 'e'",
)


@pytest.mark.parametrize("collation", ["ucs2_general_ci", "utf16_general_ci", "utf32_general_ci"])
def test_what_was_made_by_a_session_of_wide_characters_comes_back(
    mysql_server: MysqlServer, small: str, tmp_path: Path, collation: str
) -> None:
    wide = ["SET time_zone = '+03:00'", f"SET collation_connection = {collation}"]
    mysql_server.run(*wide, *_CODE, database=small)
    found = _all_definitions(mysql_server, small)
    assert f"'{collation}'" in str(found)
    backup = a_backup(mysql_server, small, tmp_path)

    restored = backup.restore(tmp_path, database=f"{small}_copy")
    replaced = backup.restore(tmp_path, replace=True)

    assert _all_definitions(mysql_server, f"{small}_copy") == found
    assert _all_definitions(mysql_server, small) == found
    assert not restored.warnings
    assert replaced.warnings == (f'events in "{replaced.kept_as}" are disabled',)
    kept = _all_definitions(mysql_server, replaced.kept_as)
    assert [one[:1] for one in kept] == [one[:1] for one in found]


def _all_definitions(server: MysqlServer, schema: str) -> list[tuple[str, ...]]:
    """Name, text and settings of each."""
    named = {
        "FUNCTION": ("unit", "f"),
        "PROCEDURE": ("p",),
        "VIEW": ("shown", "v"),
        "TRIGGER": ("logged", "g"),
        "EVENT": ("e", "tidy"),
    }
    shown = [
        server.run(f"SHOW CREATE {kind} {name}", database=schema)[0]
        for kind, names in named.items()
        for name in names
    ]
    # What follows in a trigger's row is when it was made; names in its text get their quotes.
    return [tuple(str(value).replace("`", "") for value in row[:6]) for row in shown]


#: Schedule and state of events that the server does not make again by their own text.
_PAST = {
    "once": "AT '2021-01-01' ON COMPLETION NOT PRESERVE DISABLE",
    "ended": "EVERY 1 DAY STARTS '2020-01-01' ENDS '2021-01-01' ON COMPLETION NOT PRESERVE DISABLE",
    "elsewhere": "AT '2021-01-01' ON COMPLETION NOT PRESERVE DISABLE ON SLAVE",
}


@pytest.mark.parametrize("owners", [True, False])
def test_events_that_are_asleep_and_past_their_time_come_back(
    mysql_server: MysqlServer,
    small: str,
    an_account: Callable[..., str],
    tmp_path: Path,
    owners: bool,
) -> None:
    other = f"{an_account()}@%"
    for name, schedule in _PAST.items():
        # Made when there was time, as somebody may have done.
        mysql_server.run(
            "SET timestamp = 1",
            f"CREATE DEFINER = {account(other)} EVENT {name} ON SCHEDULE {schedule}"
            " COMMENT 'it''s NOT PRESERVE ENABLE' DO SELECT 1",
            database=small,
        )
    asked = (
        "SELECT EVENT_NAME, DEFINER, SQL_MODE, EVENT_TYPE, EXECUTE_AT, INTERVAL_FIELD, STARTS,"
        " ENDS, STATUS, ON_COMPLETION, EVENT_COMMENT FROM information_schema.EVENTS"
        " WHERE EVENT_SCHEMA = '{}' AND EVENT_NAME <> 'tidy' ORDER BY EVENT_NAME"
    )
    found = mysql_server.run(asked.format(small))
    assert [row[0] for row in found] == sorted(_PAST)
    backup = a_backup(mysql_server, small, tmp_path)

    backup.restore(tmp_path, database=f"{small}_copy", owners=owners)
    kept = backup.restore(tmp_path, replace=True).kept_as

    copied = mysql_server.run(asked.format(f"{small}_copy"))
    assert [row[2:] for row in copied] == [row[2:] for row in found]
    assert {row[1] for row in copied} == ({other} if owners else {_who(mysql_server)})
    assert mysql_server.run(asked.format(small)) == found
    assert [row[:2] for row in mysql_server.run(asked.format(kept))] == [row[:2] for row in found]


def _who(server: MysqlServer) -> str:
    ((who,),) = server.run("SELECT CURRENT_USER()")
    return str(who)


@on_newest("mysql")
def test_a_view_that_the_server_cannot_show_is_named(
    mysql_server: MysqlServer, small: str, tmp_path: Path
) -> None:
    """Its own text is no SQL to it: a character of GBK whose second byte is a backslash."""
    with mysql_server.connect(small) as connection:
        connection.set_character_set("gbk")
        connection.query(b"CREATE VIEW cut AS SELECT '\x95\x5c' AS x")

    with pytest.raises(BackupError, match="while reading the view `cut`: You have an error"):
        an_engine(mysql_server, small).create_backup(MemorySink(), a_context(tmp_path))
