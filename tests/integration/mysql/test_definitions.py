"""Views, routines, triggers and events while somebody else changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.errors import DatabaseUnavailable
from engines.mysql_family import objects
from tests.fakes.streams import MemorySink
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
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
