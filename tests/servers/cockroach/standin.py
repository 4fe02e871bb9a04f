"""The stand-in itself: databases, users, jobs, and what its statements do."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.servers.cockroach.collection import Collection, Layer, s3_session, store_of
from tests.servers.cockroach.jobs import Gate, Job, Jobs
from tests.servers.cockroach.mvcc import Clock, Database, Table
from tests.servers.cockroach.statements import (
    NAME,
    TEXT,
    TIME,
    Forms,
    name_in,
    names_in,
    options_in,
    text_in,
)
from tests.servers.cockroach.wire import Answers, Listener, Login, Result, SqlError

_FORMS = Forms()
_BACKUP_OPTIONS = {"revision_history", "encryption_passphrase", "detached"}
_RESTORE_OPTIONS = {"new_db_name", "encryption_passphrase", "detached"}
_SHOW_OPTIONS = {"check_files", "encryption_passphrase"}
_INTERNAL = "a06b4ac6-0000-4000-8000-000000000001"
_JOB_COLUMNS = (
    ("job_id", int),
    ("job_type", str),
    ("description", str),
    ("user_name", str),
    ("status", str),
    ("running_status", str),
    ("created", datetime),
    ("fraction_completed", float),
    ("error", str),
)


class StandIn:
    """A server that answers as CockroachDB `version` would, on a port of loopback.

    Args:
        version: such as (24, 3): decides which statements, options and URIs are taken.
        licensed: older versions give history, encryption and increments only with a licence.
        passwords: user -> password; without one a user needs a certificate, or an insecure server.
    """

    def __init__(
        self,
        version: tuple[int, int] = (25, 4),
        *,
        tls: ssl.SSLContext | None = None,
        passwords: dict[str, str] | None = None,
        licensed: bool = True,
    ) -> None:
        self.version = version
        self.licensed = licensed
        self.clock = Clock()
        self.jobs = Jobs(self.clock)
        self._passwords = passwords
        self._lock = threading.RLock()  # guards the databases and users
        now = self.clock.now()
        self.databases = {
            name: Database("root", now) for name in ("system", "defaultdb", "postgres")
        }
        self.users: dict[str, set[str]] = {"root": set()}
        self.roles: dict[str, set[str]] = {"admin": {"root"}}
        self.system_grants: dict[str, set[str]] = {}
        #: Statements as they came, without their arguments.
        self.log: list[str] = []
        s3_session()  # made here: clients are made in many threads, and that is not safe with it
        answers = Answers(password_of=self._password_of, execute=self._execute)
        self.listener = Listener(answers, tls)

    @property
    def port(self) -> int:
        return self.listener.port

    def close(self) -> None:
        self.jobs.close()
        self.listener.close()

    # -- who -----------------------------------------------------------------------

    def _password_of(self, login: Login) -> str | None:
        if self._passwords is None or login.certified == login.user:
            return None
        if login.user not in self._passwords:
            raise SqlError("28000", f"no usable authentication method for user {login.user}")
        return self._passwords[login.user]

    def _roles_of(self, user: str) -> set[str]:
        found, more = {user}, {user}
        while more:
            more = {role for role, members in self.roles.items() if members & found} - found
            found |= more
        return found

    def _is_admin(self, user: str) -> bool:
        return "admin" in self._roles_of(user)

    def _may(self, user: str, privilege: str) -> bool:
        granted = set().union(
            *(self.system_grants.get(role, set()) for role in self._roles_of(user))
        )
        return self._is_admin(user) or privilege in granted

    def _check_external_io(self, user: str, *, has_endpoint: bool) -> None:
        if has_endpoint and not self._may(user, "EXTERNALIOIMPLICITACCESS"):
            raise SqlError(
                "42501",
                "only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege "
                "are allowed to access the specified s3 URI",
            )

    # -- statements ------------------------------------------------------------------

    def _execute(self, login: Login, statement: str, arguments: Sequence[str | None]) -> Result:
        self.log.append(statement)
        handler, groups = _FORMS.find(statement)
        with self._lock:
            found: Result = handler(self, login, groups, arguments)
            return found

    def _existing(self, name: str) -> Database:
        if name not in self.databases:
            raise SqlError("3D000", f'database "{name}" does not exist')
        return self.databases[name]

    def _table(self, login: Login, qualified: str, at: datetime) -> Table:
        parts = names_in(qualified)
        database = self._existing(parts[0] if len(parts) > 1 else login.database)
        table = database.table(parts[-1], at)
        if table is None:
            raise SqlError("42P01", f'relation "{parts[-1]}" does not exist')
        return table

    @_FORMS.add(r"SELECT version\(\)")
    def _version(self, *_: object) -> Result:
        text = f"CockroachDB CCL v{self.version[0]}.{self.version[1]}.1 (stand-in for tests)"
        return Result([("version", str)], [[text]])

    @_FORMS.add(r"SELECT crdb_internal.cluster_id\(\)")
    def _cluster_id(self, *_: object) -> Result:
        return Result([("crdb_internal.cluster_id", str)], [[_INTERNAL]])

    @_FORMS.add(r"SELECT (clock_timestamp|now)\(\)")
    def _now(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        return Result([(groups[0].lower(), datetime)], [[self.clock.now()]])

    @_FORMS.add(r"SET [a-z_]+ (?:=|TO) .*")
    def _set(self, *_: object) -> Result:
        return Result(tag="SET")

    # -- users and rights

    @_FORMS.add(rf"CREATE USER {NAME}")
    def _create_user(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.users[name_in(groups[0])] = set()
        return Result(tag="CREATE ROLE")

    @_FORMS.add(rf"ALTER USER {NAME} CREATEDB")
    def _alter_user(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.users[name_in(groups[0])].add("CREATEDB")
        return Result(tag="ALTER ROLE")

    @_FORMS.add(rf"GRANT SYSTEM ([A-Z]+) TO {NAME}")
    def _grant_system(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.system_grants.setdefault(name_in(groups[1]), set()).add(groups[0].upper())
        return Result(tag="GRANT")

    @_FORMS.add(rf"GRANT ([A-Z]+) ON DATABASE {NAME} TO {NAME}")
    def _grant(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database = self._existing(name_in(groups[1]))
        database.grants.setdefault(name_in(groups[2]), set()).add(groups[0].upper())
        return Result(tag="GRANT")

    @_FORMS.add(rf"GRANT {NAME} TO {NAME}")
    def _grant_role(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.roles.setdefault(name_in(groups[0]), set()).add(name_in(groups[1]))
        return Result(tag="GRANT")

    @_FORMS.add(r"SHOW GRANTS ON ROLE")
    def _show_roles(self, *_: object) -> Result:
        rows = [[role, who, False] for role, members in self.roles.items() for who in members]
        return Result([("role_name", str), ("member", str), ("is_admin", bool)], rows)

    @_FORMS.add(r"SHOW SYSTEM GRANTS")
    def _show_system(self, *_: object) -> Result:
        rows = [
            [who, what, False] for who, granted in self.system_grants.items() for what in granted
        ]
        columns = [("grantee", str), ("privilege_type", str), ("is_grantable", bool)]
        return Result(columns, rows)

    @_FORMS.add(rf"SHOW GRANTS ON DATABASE {NAME}")
    def _show_grants(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        name = name_in(groups[0])
        grants = {"admin": {"ALL"}, "public": {"CONNECT"}, **self._existing(name).grants}
        rows = [[name, who, what, False] for who, granted in grants.items() for what in granted]
        columns = [("database_name", str), ("grantee", str), ("privilege_type", str)]
        return Result([*columns, ("is_grantable", bool)], rows)

    @_FORMS.add(r"SHOW USERS")
    def _show_users(self, *_: object) -> Result:
        listed = self.version >= (24, 1)
        rows = [
            [user, sorted(options) if listed else ", ".join(sorted(options)), []]
            for user, options in self.users.items()
        ]
        kind = list if listed else str
        return Result([("username", str), ("options", kind), ("member_of", list)], rows)

    # -- databases and tables

    @_FORMS.add(rf"CREATE DATABASE {NAME}")
    def _create_database(self, login: Login, groups: Sequence[str], _: object) -> Result:
        name = name_in(groups[0])
        if name in self.databases:
            raise SqlError("42P04", f'database "{name}" already exists')
        self.databases[name] = Database(login.user, self.clock.now())
        return Result(tag="CREATE DATABASE")

    @_FORMS.add(rf"DROP DATABASE IF EXISTS {NAME} CASCADE")
    def _drop_database(self, login: Login, groups: Sequence[str], _: object) -> Result:
        database = self.databases.get(name_in(groups[0]))
        if database and not self._is_admin(login.user) and database.owner != login.user:
            raise SqlError("42501", f"user {login.user} does not have DROP privilege on database")
        self.databases.pop(name_in(groups[0]), None)
        return Result(tag="DROP DATABASE")

    @_FORMS.add(rf"ALTER DATABASE {NAME} RENAME TO {NAME}")
    def _rename(self, login: Login, groups: Sequence[str], _: object) -> Result:
        old, new = map(name_in, groups)
        database = self._existing(old)
        allowed = "CREATEDB" in self.users.get(login.user, ())
        if not self._is_admin(login.user) and not (
            allowed and database.owner in self._roles_of(login.user)
        ):
            raise SqlError("42501", "permission denied to rename database")
        if new in self.databases:
            raise SqlError("42P04", f'database "{new}" already exists')
        self.databases[new] = self.databases.pop(old)
        return Result(tag="RENAME DATABASE")

    @_FORMS.add(r"SHOW DATABASES")
    def _show_databases(self, *_: object) -> Result:
        rows = [[name, one.owner] for name, one in sorted(self.databases.items())]
        return Result([("database_name", str), ("owner", str)], rows)

    @_FORMS.add(rf"SHOW TABLES FROM {NAME}")
    def _show_tables(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        names = self._existing(name_in(groups[0])).names(self.clock.now())
        columns = [("schema_name", str), ("table_name", str), ("type", str)]
        return Result(columns, [["public", name, "table"] for name in names])

    @_FORMS.add(rf"SHOW ZONE CONFIGURATION FROM DATABASE {NAME}")
    def _show_zone(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database = self._existing(name_in(groups[0]))
        text = (
            f"ALTER DATABASE {groups[0]} CONFIGURE ZONE USING\n\trange_min_bytes = 134217728,\n"
            f"\tgc.ttlseconds = {database.gc_ttl_s},\n\tnum_replicas = 3"
        )
        return Result([("target", str), ("raw_config_sql", str)], [[groups[0], text]])

    @_FORMS.add(rf"ALTER DATABASE {NAME} CONFIGURE ZONE USING gc\.ttlseconds = (\d+)")
    def _set_zone(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self._existing(name_in(groups[0])).gc_ttl_s = int(groups[1])
        return Result(tag="CONFIGURE ZONE")

    @_FORMS.add(rf"CREATE TABLE {NAME} \(k STRING PRIMARY KEY, v STRING\)")
    def _create_table(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        *path, name = names_in(groups[0])
        database = self._existing(path[0])
        now = self.clock.now()
        if database.table(name, now):
            raise SqlError("42P07", f'relation "{name}" already exists')
        database.tables.setdefault(name, []).append(Table(now))
        return Result(tag="CREATE TABLE")

    @_FORMS.add(rf"DROP TABLE {NAME}")
    def _drop_table(self, login: Login, groups: Sequence[str], _: object) -> Result:
        now = self.clock.now()
        self._table(login, groups[0], now).dropped = now
        return Result(tag="DROP TABLE")

    @_FORMS.add(rf"UPSERT INTO {NAME} VALUES \({TEXT}, {TEXT}\)")
    def _upsert(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        now = self.clock.now()
        table = self._table(login, groups[0], now)
        table.write(text_in(groups[1], arguments), text_in(groups[2], arguments), now)
        return Result(tag="INSERT 0 1")

    @_FORMS.add(rf"DELETE FROM {NAME} WHERE k = {TEXT}")
    def _delete(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        now = self.clock.now()
        self._table(login, groups[0], now).write(text_in(groups[1], arguments), None, now)
        return Result(tag="DELETE 1")

    @_FORMS.add(rf"SELECT k, v FROM {NAME} ORDER BY k")
    def _select(self, login: Login, groups: Sequence[str], _: object) -> Result:
        now = self.clock.now()
        rows = self._table(login, groups[0], now).rows(now)
        return Result([("k", str), ("v", str)], [list(row) for row in rows.items()])

    # -- jobs

    def _job_rows(self, jobs: Sequence[Job]) -> Result:
        rows = [
            [
                job.id,
                job.kind,
                job.description,
                job.user,
                job.status,
                None,
                job.created,
                job.done,
                job.error,
            ]
            for job in jobs
        ]
        return Result(_JOB_COLUMNS, rows)

    @_FORMS.add(rf"SELECT \* FROM \[SHOW JOBS\] WHERE job_type = {TEXT} ORDER BY created DESC")
    def _show_jobs(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        kind = text_in(groups[0], arguments)
        everyone = self._may(login.user, "VIEWJOB")
        jobs = [
            job
            for job in self.jobs.all()
            if job.kind == kind and (everyone or job.user == login.user)
        ]
        return self._job_rows(sorted(jobs, key=lambda job: job.created, reverse=True))

    @_FORMS.add(r"SHOW JOB (\d+)")
    def _show_job(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        return self._job_rows([self.jobs.get(int(groups[0]))])

    @_FORMS.add(r"CANCEL JOB (\d+)")
    def _cancel_job(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.jobs.cancel(int(groups[0]))
        return Result(tag="CANCEL JOBS 1")

    # -- backups

    @_FORMS.add(rf"BACKUP DATABASE {NAME} INTO (LATEST IN )?{TEXT} {TIME}(?: WITH (.+))?")
    def _backup(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        name, extend = name_in(groups[0]), bool(groups[1])
        options = options_in(groups[4], arguments, _BACKUP_OPTIONS)
        self._check_licence(options, extend=extend)
        database = self._existing(name)
        granted = set().union(*(database.grants.get(r, set()) for r in self._roles_of(login.user)))
        if not self._is_admin(login.user) and "BACKUP" not in granted:
            raise SqlError(
                "42501",
                f"user {login.user} does not have BACKUP privilege on database {name}",
            )
        uri = text_in(groups[2], arguments)
        collection = self._collection(login, uri, options.get("encryption_passphrase"))
        end = datetime.fromisoformat(groups[3]).astimezone(UTC)
        if end > self.clock.now():
            raise SqlError("22023", "AS OF SYSTEM TIME: cannot specify timestamp in the future")
        start = collection.layers()[-1].end if extend else None
        if not extend:
            collection.store.names()  # the store is looked at before the job begins
        horizon = self.clock.now() - timedelta(seconds=database.gc_ttl_s)
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
            with self._lock:
                tables = database.export(start, end, history=history)
                record = {
                    "database": name,
                    "start": start.isoformat() if start else None,
                    "end": end.isoformat(),
                    "history": history,
                    "created": database.created.isoformat(),
                    "version": list(self.version),
                    "tables": database.names(end),
                }
            collection.write(folder, number, record, tables, gate=gate)

        job = self.jobs.start("BACKUP", description, login.user, work)
        return Result([("job_id", int)], [[job.id]])

    @_FORMS.add(r"(BACKUP|RESTORE) DATABASE .* (?:TO|FROM) (?:\$\d+|'.*)")
    def _old_syntax(self, *_: object) -> Result:
        if self.version >= (24, 3):
            raise SqlError("42601", 'at or near "to": syntax error: use BACKUP ... INTO')
        raise SqlError("0A000", "unimplemented in the stand-in")

    @_FORMS.add(rf"SHOW BACKUP FROM LATEST IN {TEXT}(?: WITH (.+))?")
    def _show_backup(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        options = options_in(groups[1], arguments, _SHOW_OPTIONS)
        collection = self._collection(
            login, text_in(groups[0], arguments), options.get("encryption_passphrase")
        )
        layers = collection.layers()
        if "check_files" in options:
            collection.check_files()
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

    @_FORMS.add(rf"RESTORE DATABASE {NAME} FROM LATEST IN {TEXT} {TIME}(?: WITH (.+))?")
    def _restore(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        options = options_in(groups[3], arguments, _RESTORE_OPTIONS)
        if not self._may(login.user, "RESTORE"):
            raise SqlError("42501", f"user {login.user} does not have RESTORE system privilege")
        uri = text_in(groups[1], arguments)
        collection = self._collection(login, uri, options.get("encryption_passphrase"))
        at = datetime.fromisoformat(groups[2]).astimezone(UTC)
        into = options.get("new_db_name", name_in(groups[0]))
        if into in self.databases:
            raise SqlError("42P04", f'database "{into}" already exists')
        needed = _covering(collection.layers(), at)
        self._check_restorable(needed[-1])
        shown = re.sub(r"(AWS_SECRET_ACCESS_KEY=)[^&']*", r"\1redacted", uri)
        description = f"RESTORE DATABASE {groups[0]} FROM '{shown}' WITH new_db_name = '{into}'"

        def work(_number: int, gate: Gate) -> None:
            database = Database(login.user, self.clock.now())
            for layer in needed:
                for exported in collection.tables(layer):
                    database.take(exported)
            gate(0.5)
            restored = _as_of(database, at, self.clock.now(), login.user)
            gate(0.9)
            with self._lock:
                self.databases[into] = restored

        job = self.jobs.start("RESTORE", description, login.user, work)
        return Result([("job_id", int)], [[job.id]])

    def _check_licence(self, options: dict[str, str], *, extend: bool) -> None:
        if self.licensed or self.version >= (24, 3):
            return
        for name in ("revision_history", "encryption_passphrase"):
            if name in options:
                raise SqlError("XXC02", f"use of BACKUP with {name} requires an enterprise license")
        if extend:
            raise SqlError("XXC02", "use of incremental BACKUP requires an enterprise license")

    def _check_restorable(self, layer: Layer) -> None:
        theirs = tuple(layer.record["version"])
        if theirs > self.version:
            raise SqlError(
                "XXUUU",
                f"backup from version {theirs[0]}.{theirs[1]} is newer than current version "
                f"{self.version[0]}.{self.version[1]}",
            )

    def _collection(self, login: Login, uri: str, passphrase: str | None) -> Collection:
        store = store_of(uri, knows_path_style=self.version >= (24, 3))
        self._check_external_io(login.user, has_endpoint=store.has_endpoint)
        return Collection(
            store,
            passphrase,
            names_start=self.version >= (25, 2),
            has_index=self.version >= (25, 4),
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
