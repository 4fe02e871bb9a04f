"""The stand-in's statements about tables and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.servers.cockroach.mvcc import Table
from tests.servers.cockroach.statements import FORMS, NAME, TEXT, names_in, text_in
from tests.servers.cockroach.wire import Login, Result, SqlError

if TYPE_CHECKING:
    from tests.servers.cockroach.standin import StandIn


@FORMS.add(rf"CREATE TABLE {NAME} \(k STRING PRIMARY KEY, v STRING\)")
def _create_table(it: StandIn, _login: Login, groups: Sequence[str], _: object) -> Result:
    *path, name = names_in(groups[0])
    database = it.existing(path[0])
    now = it.clock.now()
    if database.table(name, now):
        raise SqlError("42P07", f'relation "{name}" already exists')
    database.tables.setdefault(name, []).append(Table(now))
    return Result(tag="CREATE TABLE")


@FORMS.add(rf"CREATE VIEW {NAME} AS SELECT k FROM {NAME}")
def _create_view(it: StandIn, login: Login, groups: Sequence[str], _: object) -> Result:
    *path, name = names_in(groups[0])
    it.table(login, groups[1], it.clock.now())
    it.existing(path[0]).views[name] = names_in(groups[1])[-1]
    return Result(tag="CREATE VIEW")


@FORMS.add(rf"SELECT count\(\*\) FROM {NAME}")
def _count(it: StandIn, login: Login, groups: Sequence[str], _: object) -> Result:
    path, now = names_in(groups[0]), it.clock.now()
    seen = it.existing(path[0]).views.get(path[-1], path[-1])
    rows = it.table(login, f'"{path[0]}"."{seen}"', now).rows(now)
    return Result([("count", int)], [[len(rows)]])


@FORMS.add(rf"CREATE TYPE {NAME} AS ENUM \({TEXT}\)")
def _create_type(it: StandIn, _login: Login, groups: Sequence[str], _: object) -> Result:
    *path, name = names_in(groups[0])
    it.existing(path[0]).types.add(name)
    return Result(tag="CREATE TYPE")


@FORMS.add(rf"DROP TABLE {NAME}")
def _drop_table(it: StandIn, login: Login, groups: Sequence[str], _: object) -> Result:
    now = it.clock.now()
    it.table(login, groups[0], now).dropped = now
    return Result(tag="DROP TABLE")


@FORMS.add(rf"UPSERT INTO {NAME} VALUES \({TEXT}, {TEXT}\)")
def _upsert(it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
    now = it.clock.now()
    table = it.table(login, groups[0], now)
    table.write(text_in(groups[1], arguments), text_in(groups[2], arguments), now)
    return Result(tag="INSERT 0 1")


@FORMS.add(rf"DELETE FROM {NAME} WHERE k = {TEXT}")
def _delete(it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
    now = it.clock.now()
    it.table(login, groups[0], now).write(text_in(groups[1], arguments), None, now)
    return Result(tag="DELETE 1")


@FORMS.add(
    rf"UPDATE {NAME} SET v = \(v::INT \+ CASE k WHEN {TEXT} THEN -\({TEXT}::INT\) "
    rf"ELSE {TEXT}::INT END\)::STRING WHERE k IN \({TEXT}, {TEXT}\)"
)
def _move(it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
    now = it.clock.now()  # one for both: a transaction has one time
    table = it.table(login, groups[0], now)
    rows = table.rows(now)
    source, amount, _, _, target = (text_in(one, arguments) for one in groups[1:])
    for key, change in ((source, -int(amount)), (target, int(amount))):
        table.write(key, str(int(rows[key]) + change), now)
    return Result(tag="UPDATE 2")


@FORMS.add(rf"SELECT k, v FROM {NAME} ORDER BY k")
def _select(it: StandIn, login: Login, groups: Sequence[str], _: object) -> Result:
    now = it.clock.now()
    rows = it.table(login, groups[0], now).rows(now)
    return Result([("k", str), ("v", str)], [list(row) for row in rows.items()])
