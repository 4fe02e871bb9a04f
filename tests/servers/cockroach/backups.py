"""The stand-in's statements that write and read backups, and begin jobs for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.servers.cockroach.collection import Collection, Layer, store_of
from tests.servers.cockroach.jobs import Gate
from tests.servers.cockroach.mvcc import Database, Table
from tests.servers.cockroach.statements import FORMS, NAME, TEXT, TIME, name_in, options_in, text_in
from tests.servers.cockroach.wire import Login, Result, SqlError

if TYPE_CHECKING:
    from tests.servers.cockroach.standin import StandIn

_BACKUP_OPTIONS = {"revision_history", "encryption_passphrase", "detached"}
_RESTORE_OPTIONS = {"new_db_name", "encryption_passphrase", "detached"}
_SHOW_OPTIONS = {"check_files", "encryption_passphrase"}


@FORMS.add(rf"BACKUP DATABASE {NAME} INTO (LATEST IN )?{TEXT} {TIME}(?: WITH (.+))?")
def _backup(it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
    name, extend = name_in(groups[0]), bool(groups[1])
    options = options_in(groups[4], arguments, _BACKUP_OPTIONS)
    _check_licence(it, options, extend=extend)
    database = it.existing(name)
    roles = it.roles_of(login.user)
    granted = set().union(*(database.grants.get(role, set()) for role in roles))
    if not it.is_admin(login.user) and database.owner not in roles and "BACKUP" not in granted:
        raise SqlError(
            "42501",
            f"user {login.user} does not have BACKUP privilege on database {name}",
        )
    uri = text_in(groups[2], arguments)
    collection = _collection(it, login, uri, options.get("encryption_passphrase"))
    end = datetime.fromisoformat(groups[3]).astimezone(UTC)
    if end > it.clock.now():
        raise SqlError("22023", "AS OF SYSTEM TIME: cannot specify timestamp in the future")
    start = collection.layers()[-1].end if extend else None
    if not extend:
        collection.store.names()  # the store is looked at before the job begins
    horizon = it.clock.now() - timedelta(seconds=database.gc_ttl_s)
    shown = re.sub(r"(AWS_SECRET_ACCESS_KEY=)[^&']*", r"\1redacted", uri)
    folder = collection.folder_for(start, end)
    words = [one for one in ("detached", "revision_history") if one in options]
    words += ["encryption_passphrase = '*****'"] if "encryption_passphrase" in options else []
    description = (
        f"BACKUP DATABASE {groups[0]} INTO '/{folder}' IN '{shown}' AS OF SYSTEM TIME "
        f"'{groups[3]}' WITH OPTIONS ({', '.join(words)})"
    )
    history = "revision_history" in options

    def work(number: int, gate: Gate) -> None:
        if start is not None and start < horizon:
            raise SqlError(
                "XXUUU",
                f"batch timestamp {start.timestamp():.9f},0 must be after replica GC "
                f"threshold {horizon.timestamp():.9f},0",
            )
        with it.lock:
            tables = database.export(start, end, history=history)
            record = {
                "database": name,
                "start": start.isoformat() if start else None,
                "end": end.isoformat(),
                "history": history,
                "created": database.created.isoformat(),
                "version": list(it.version),
                "tables": [*database.names(end), *database.views],
                "views": database.views,
            }
        collection.write(folder, number, record, tables, gate=gate)

    job = it.jobs.start("BACKUP", description, login.user, work)
    return Result([("job_id", int)], [[job.id]])


@FORMS.add(r"(BACKUP|RESTORE) DATABASE .* (?:TO|FROM) (?:\$\d+|'.*)")
def _old_syntax(it: StandIn, *_: object) -> Result:
    if it.version >= (24, 3):
        raise SqlError("42601", 'at or near "to": syntax error: use BACKUP ... INTO')
    raise SqlError("0A000", "unimplemented in the stand-in")


@FORMS.add(rf"SHOW BACKUP FROM LATEST IN {TEXT}(?: WITH (.+))?", free=True)
def _show_backup(
    it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]
) -> Result:
    options = options_in(groups[1], arguments, _SHOW_OPTIONS)
    collection = _collection(
        it, login, text_in(groups[0], arguments), options.get("encryption_passphrase")
    )
    layers = collection.layers()
    if it.shows_by_id(login):
        layers = layers[-1:]
    if "check_files" in options:
        if it.blurred_looks:
            it.blurred_looks -= 1
            raise SqlError(
                "XXUUU", "The following files are missing from the backup:\n\tdata/1.sst"
            )
        collection.check_files()
        it.look_for_files(login)
    rows: list[list[Any]] = []
    for layer in layers:
        kind = "incremental" if layer.start else "full"
        span = [kind, layer.start, layer.end]
        rows.append([None, layer.record["database"], "database", *span, None, None])
        rows += [
            [layer.record["database"], name, "table", *span, 100, 1]
            for name in layer.record["tables"]
        ]
    columns = [("database_name", str), ("object_name", str), ("object_type", str)]
    columns += [("backup_type", str), ("start_time", datetime), ("end_time", datetime)]
    return Result([*columns, ("size_bytes", int), ("rows", int)], rows)


@FORMS.add(rf"RESTORE DATABASE {NAME} FROM LATEST IN {TEXT} {TIME}(?: WITH (.+))?")
def _restore(it: StandIn, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
    options = options_in(groups[3], arguments, _RESTORE_OPTIONS)
    if not it.may(login.user, "RESTORE"):
        raise SqlError("42501", f"user {login.user} does not have RESTORE system privilege")
    uri = text_in(groups[1], arguments)
    collection = _collection(it, login, uri, options.get("encryption_passphrase"))
    at = datetime.fromisoformat(groups[2]).astimezone(UTC)
    into = options.get("new_db_name", name_in(groups[0]))
    it.check_free(into)
    needed = _covering(collection.layers(), at)
    _check_restorable(it, needed[-1])
    shown = re.sub(r"(AWS_SECRET_ACCESS_KEY=)[^&']*", r"\1redacted", uri)
    description = f"RESTORE DATABASE {groups[0]} FROM '{shown}' WITH new_db_name = '{into}'"

    it.offline.add(into)

    def work(_number: int, gate: Gate) -> Callable[[], None]:
        database = Database(login.user, it.clock.now())
        for layer in needed:
            for exported in collection.tables(layer):
                database.take(exported)
        gate(0.5)
        restored = _as_of(database, at, it.clock.now(), login.user)
        restored.views = dict(needed[-1].record["views"])

        def publish() -> None:
            with it.lock:
                it.databases[into] = restored

        return publish

    job = it.jobs.start(
        "RESTORE", description, login.user, work, at_end=lambda: it.offline.discard(into)
    )
    return Result([("job_id", int)], [[job.id]])


def _check_licence(it: StandIn, options: dict[str, str], *, extend: bool) -> None:
    if it.licensed or it.version >= (24, 3):
        return
    for name in ("revision_history", "encryption_passphrase"):
        if name in options:
            raise SqlError("XXC02", f"use of BACKUP with {name} requires an enterprise license")
    if extend:
        raise SqlError("XXC02", "use of incremental BACKUP requires an enterprise license")


def _check_restorable(it: StandIn, layer: Layer) -> None:
    theirs = tuple(layer.record["version"])
    if theirs > it.version:
        raise SqlError(
            "XXUUU",
            f"backup from version {theirs[0]}.{theirs[1]} is newer than current version "
            f"{it.version[0]}.{it.version[1]}",
        )


def _collection(it: StandIn, login: Login, uri: str, passphrase: str | None) -> Collection:
    store = store_of(
        uri,
        knows_path_style=(*it.version, it.patch) >= (24, 3, 3),
        out_of_reach=it.out_of_reach,
    )
    it.check_external_io(login.user, has_endpoint=store.has_endpoint)
    return Collection(
        store,
        passphrase,
        names_start=it.version >= (25, 2),
        has_index=it.version >= (25, 4),
    )


def _covering(layers: Sequence[Layer], at: datetime) -> list[Layer]:
    """The layers that a restore to `at` needs; the errors are those of a real server."""
    invalid = "invalid RESTORE timestamp: "
    for number, layer in enumerate(layers):
        if at == layer.end:
            return list(layers[: number + 1])
        if layer.start is not None and layer.start < at < layer.end:
            if layer.has_history:
                return list(layers[: number + 1])
            raise SqlError(
                "XXUUU",
                f"{invalid}restoring to arbitrary time requires that BACKUP for requested time be "
                f"created with 'revision_history' option. nearest backup time is {layer.end}",
            )
    raise SqlError("XXUUU", f"{invalid}supplied backups do not cover requested time")


def _as_of(database: Database, at: datetime, now: datetime, owner: str) -> Database:
    """A fresh database with the rows that there were at a time."""
    fresh = Database(owner, now)
    for name in database.names(at):
        table = database.table(name, at)
        assert table is not None
        made = Table(now)
        for key, value in table.rows(at).items():
            made.write(key, value, now)
        fresh.tables[name] = [made]
    return fresh
