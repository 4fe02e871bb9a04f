"""The stand-in itself: databases, users, jobs, and what its statements do."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Sequence
from datetime import datetime

from tests.servers.cockroach import backups, tables  # noqa: F401 - they add their statements
from tests.servers.cockroach.collection import s3_session
from tests.servers.cockroach.jobs import Job, Jobs
from tests.servers.cockroach.mvcc import Clock, Database, Table
from tests.servers.cockroach.statements import FORMS, NAME, TEXT, name_in, names_in, text_in
from tests.servers.cockroach.wire import NODE_ENDS, Answers, Listener, Login, Result, SqlError

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
        patch: of the version; by default one without the faults that the vendor warns of.
        licensed: older versions give history, encryption and increments only with a licence.
        shows_by_id: what a session's `use_backups_with_ids` is at its begin.
        passwords: user -> password; without one a user needs a certificate, or an insecure server.
    """

    def __init__(
        self,
        version: tuple[int, int] = (25, 4),
        *,
        patch: int = 40,
        tls: ssl.SSLContext | None = None,
        passwords: dict[str, str] | None = None,
        licensed: bool = True,
        shows_by_id: str = "off",
    ) -> None:
        self.version, self.patch = version, patch
        self._shows_by_id = shows_by_id
        self.licensed = licensed
        self.clock = Clock()
        self.jobs = Jobs(self.clock)
        self._passwords = passwords
        self.lock = threading.RLock()  # guards the databases and users
        now = self.clock.now()
        self.databases = {
            name: Database("root", now) for name in ("system", "defaultdb", "postgres")
        }
        #: Names that a running restore fills: taken, and shown to nobody.
        self.offline: set[str] = set()
        self.users: dict[str, set[str]] = {"root": set()}
        self.roles: dict[str, set[str]] = {"admin": {"root"}}
        self.system_grants: dict[str, set[str]] = {}
        #: Statements as they came, without their arguments.
        self.log: list[str] = []
        #: Buckets that no node reaches, whoever else does.
        self.out_of_reach: set[str] = set()
        self._sessions: set[int] = set()
        self._drained: set[int] = set()
        self._at_work: set[int] = set()
        self._cancelled: set[int] = set()
        #: While it is cleared, a look for files does not come to its end.
        self.looks_end = threading.Event()
        self.looks_end.set()
        #: So many looks meet a store that does not answer for one file, a moment long.
        self.blurred_looks = 0
        #: Set by each look.
        self.looked = threading.Event()
        s3_session()  # made here: clients are made in many threads, and that is not safe with it
        answers = Answers(
            password_of=self._password_of, execute=self._execute, cancel=self._cancelled.add
        )
        self.listener = Listener(answers, tls)

    @property
    def port(self) -> int:
        return self.listener.port

    def close(self) -> None:
        self.looks_end.set()
        self.jobs.close()
        self.listener.close()

    # -- who -----------------------------------------------------------------------

    def _password_of(self, login: Login) -> str | None:
        if self._passwords is None or login.certified == login.user:
            return None
        if login.user not in self._passwords:
            raise SqlError("28000", f"no usable authentication method for user {login.user}")
        return self._passwords[login.user]

    def roles_of(self, user: str) -> set[str]:
        found, more = {user}, {user}
        while more:
            more = {role for role, members in self.roles.items() if members & found} - found
            found |= more
        return found

    def is_admin(self, user: str) -> bool:
        return "admin" in self.roles_of(user)

    def may(self, user: str, privilege: str) -> bool:
        granted = set().union(
            *(self.system_grants.get(role, set()) for role in self.roles_of(user))
        )
        return self.is_admin(user) or privilege in granted

    def check_external_io(self, user: str, *, has_endpoint: bool) -> None:
        if has_endpoint and not self.may(user, "EXTERNALIOIMPLICITACCESS"):
            raise SqlError(
                "42501",
                "only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege "
                "are allowed to access the specified s3 URI",
            )

    # -- statements ------------------------------------------------------------------

    def _execute(self, login: Login, statement: str, arguments: Sequence[str | None]) -> Result:
        if login.number in self._drained:
            raise SqlError(NODE_ENDS, "server is shutting down")
        self._sessions.add(login.number)
        self.log.append(statement)
        handler, groups = FORMS.find(statement)
        self._at_work.add(login.number)
        try:
            with contextlib.nullcontext() if handler in FORMS.free else self.lock:
                found: Result = handler(self, login, groups, arguments)
                return found
        finally:
            self._at_work.discard(login.number)
            self._cancelled.discard(login.number)

    def drain(self) -> None:
        """End each session at its next statement, as a node that goes does; new ones are taken."""
        self._drained |= self._sessions

    def look_for_files(self, login: Login) -> None:
        """Take as long as a test wants that to take."""
        self.looked.set()
        while not self.looks_end.wait(0.02):
            if login.number in self._cancelled:
                raise SqlError("57014", "query execution canceled")

    def existing(self, name: str) -> Database:
        if name not in self.databases:
            raise SqlError("3D000", f'database "{name}" does not exist')
        return self.databases[name]

    def check_free(self, name: str) -> None:
        if name in self.databases or name in self.offline:
            raise SqlError("42P04", f'database "{name}" already exists')

    def table(self, login: Login, qualified: str, at: datetime) -> Table:
        parts = names_in(qualified)
        database = self.existing(parts[0] if len(parts) > 1 else login.database)
        table = database.table(parts[-1], at)
        if table is None:
            raise SqlError("42P01", f'relation "{parts[-1]}" does not exist')
        return table

    @FORMS.add(r"SELECT version\(\)")
    def _version(self, *_: object) -> Result:
        release = ".".join(map(str, (*self.version, self.patch)))
        text = f"CockroachDB CCL v{release} (stand-in for tests)"
        return Result([("version", str)], [[text]])

    @FORMS.add(r"SELECT crdb_internal.cluster_id\(\)")
    def _cluster_id(self, *_: object) -> Result:
        if self.version >= (26, 1):
            raise SqlError("42501", "Access to crdb_internal and system is restricted.")
        return Result([("crdb_internal.cluster_id", str)], [[_INTERNAL]])

    @FORMS.add(r"SELECT (clock_timestamp|now)\(\)")
    def _now(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        return Result([(groups[0].lower(), datetime)], [[self.clock.now()]])

    @FORMS.add(r"SHOW session_id", free=True)
    def _session(self, login: Login, *_: object) -> Result:
        return Result([("session_id", str)], [[f"{login.number:032x}"]])

    @FORMS.add(
        rf"SELECT phase FROM \[SHOW CLUSTER STATEMENTS\] WHERE session_id = {TEXT}", free=True
    )
    def _phase(self, _login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        is_at_work = int(text_in(groups[0], arguments), 16) in self._at_work
        return Result([("phase", str)], [["executing"]] if is_at_work else [])

    @FORMS.add(r"SET ([a-z_]+) (?:=|TO) '?([^']*)'?")
    def _set(self, login: Login, groups: Sequence[str], _: object) -> Result:
        name = groups[0].lower()
        if name == "use_backups_with_ids" and self.version < (26, 2):
            raise SqlError("42704", f'unrecognized configuration parameter "{name}"')
        login.settings[name] = groups[1]
        return Result(tag="SET")

    def shows_by_id(self, login: Login) -> bool:
        """Whether LATEST is one layer: what a session of newer versions may have been set to."""
        asked = login.settings.get("use_backups_with_ids", self._shows_by_id)
        return self.version >= (26, 2) and asked == "on"

    # -- users and rights

    @FORMS.add(rf"CREATE USER {NAME}")
    def _create_user(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.users[name_in(groups[0])] = set()
        return Result(tag="CREATE ROLE")

    @FORMS.add(rf"ALTER USER {NAME} (CREATEDB|CONTROLJOB)")
    def _alter_user(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.users[name_in(groups[0])].add(groups[1].upper())
        return Result(tag="ALTER ROLE")

    @FORMS.add(rf"GRANT SYSTEM ([A-Z]+) TO {NAME}")
    def _grant_system(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.system_grants.setdefault(name_in(groups[1]), set()).add(groups[0].upper())
        return Result(tag="GRANT")

    @FORMS.add(rf"GRANT ([A-Z]+) ON DATABASE {NAME} TO {NAME}")
    def _grant(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database = self.existing(name_in(groups[1]))
        database.grants.setdefault(name_in(groups[2]), set()).add(groups[0].upper())
        return Result(tag="GRANT")

    @FORMS.add(rf"GRANT {NAME} TO {NAME}")
    def _grant_role(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.roles.setdefault(name_in(groups[0]), set()).add(name_in(groups[1]))
        return Result(tag="GRANT")

    @FORMS.add(r"SHOW GRANTS ON ROLE")
    def _show_roles(self, *_: object) -> Result:
        rows = [[role, who, False] for role, members in self.roles.items() for who in members]
        return Result([("role_name", str), ("member", str), ("is_admin", bool)], rows)

    @FORMS.add(r"SHOW SYSTEM GRANTS")
    def _show_system(self, *_: object) -> Result:
        rows = [
            [who, what, False] for who, granted in self.system_grants.items() for what in granted
        ]
        columns = [("grantee", str), ("privilege_type", str), ("is_grantable", bool)]
        return Result(columns, rows)

    @FORMS.add(rf"SHOW GRANTS ON DATABASE {NAME}")
    def _show_grants(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        name = name_in(groups[0])
        grants = {"admin": {"ALL"}, "public": {"CONNECT"}, **self.existing(name).grants}
        rows = [[name, who, what, False] for who, granted in grants.items() for what in granted]
        columns = [("database_name", str), ("grantee", str), ("privilege_type", str)]
        return Result([*columns, ("is_grantable", bool)], rows)

    @FORMS.add(r"SELECT rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user")
    def _role(self, login: Login, *_: object) -> Result:
        return Result([("rolcreatedb", bool)], [["CREATEDB" in self.users[login.user]]])

    @FORMS.add(r"SELECT crdb_internal.has_role_option\('CONTROLJOB'\) AS granted")
    def _has_option(self, login: Login, *_: object) -> Result:
        if self.version >= (26, 1):
            raise SqlError("42501", "Access to crdb_internal and system is restricted.")
        return Result([("granted", bool)], [["CONTROLJOB" in self.users[login.user]]])

    # -- databases and tables

    @FORMS.add(rf"CREATE DATABASE {NAME}")
    def _create_database(self, login: Login, groups: Sequence[str], _: object) -> Result:
        name = name_in(groups[0])
        self.check_free(name)
        self.databases[name] = Database(login.user, self.clock.now())
        return Result(tag="CREATE DATABASE")

    @FORMS.add(rf"DROP DATABASE {NAME} RESTRICT")
    def _drop_empty(self, login: Login, groups: Sequence[str], arguments: object) -> Result:
        database = self.existing(name_in(groups[0]))
        if database.names(self.clock.now()) or database.types:
            raise SqlError(
                "2BP01", f'database "{groups[0]}" is not empty and RESTRICT was specified'
            )
        return self._drop_database(login, groups, arguments)

    @FORMS.add(rf"DROP DATABASE IF EXISTS {NAME} CASCADE")
    def _drop_database(self, login: Login, groups: Sequence[str], _: object) -> Result:
        database = self.databases.get(name_in(groups[0]))
        if database and not self.is_admin(login.user) and database.owner != login.user:
            raise SqlError("42501", f"user {login.user} does not have DROP privilege on database")
        self.databases.pop(name_in(groups[0]), None)
        return Result(tag="DROP DATABASE")

    @FORMS.add(rf"ALTER DATABASE {NAME} RENAME TO {NAME}")
    def _rename(self, login: Login, groups: Sequence[str], _: object) -> Result:
        old, new = map(name_in, groups)
        database = self.existing(old)
        allowed = "CREATEDB" in self.users.get(login.user, ())
        if not self.is_admin(login.user) and not (
            allowed and database.owner in self.roles_of(login.user)
        ):
            raise SqlError("42501", "permission denied to rename database")
        for view, table in database.views.items():
            raise SqlError(
                "2BP01",
                f'cannot rename database because relation "{old}.public.{view}" depends on '
                f'relation "{old}.public.{table}"',
            )
        self.check_free(new)
        self.databases[new] = self.databases.pop(old)
        return Result(tag="RENAME DATABASE")

    @FORMS.add(rf"ALTER DATABASE {NAME} OWNER TO {NAME}")
    def _give(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database, owner = map(name_in, groups)
        self.existing(database).owner = owner
        return Result(tag="ALTER DATABASE")

    @FORMS.add(r"SHOW DATABASES")
    def _show_databases(self, *_: object) -> Result:
        rows = [[name, one.owner] for name, one in sorted(self.databases.items())]
        return Result([("database_name", str), ("owner", str)], rows)

    @FORMS.add(rf"SHOW TABLES FROM {NAME}")
    def _show_tables(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database = self.existing(name_in(groups[0]))
        rows = [["public", name, "table"] for name in database.names(self.clock.now())]
        rows += [["public", name, "view"] for name in database.views]
        columns = [("schema_name", str), ("table_name", str), ("type", str)]
        return Result(columns, rows)

    @FORMS.add(rf"SHOW ZONE CONFIGURATION FROM DATABASE {NAME}")
    def _show_zone(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        database = self.existing(name_in(groups[0]))
        text = (
            f"ALTER DATABASE {groups[0]} CONFIGURE ZONE USING\n\trange_min_bytes = 134217728,\n"
            f"\tgc.ttlseconds = {database.gc_ttl_s},\n\tnum_replicas = 3"
        )
        return Result([("target", str), ("raw_config_sql", str)], [[groups[0], text]])

    @FORMS.add(rf"ALTER DATABASE {NAME} CONFIGURE ZONE USING gc\.ttlseconds = (\d+)")
    def _set_zone(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        self.existing(name_in(groups[0])).gc_ttl_s = int(groups[1])
        return Result(tag="CONFIGURE ZONE")

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

    @FORMS.add(rf"SHOW JOBS SELECT job_id FROM \[SHOW JOBS\] WHERE job_type = {TEXT}")
    def _show_jobs(self, login: Login, groups: Sequence[str], arguments: Sequence[str]) -> Result:
        kind = text_in(groups[0], arguments)
        everyone = self.may(login.user, "VIEWJOB")
        jobs = [
            job
            for job in self.jobs.all()
            if job.kind == kind and (everyone or job.user == login.user)
        ]
        return self._job_rows(jobs)

    @FORMS.add(
        r"SELECT status, description FROM \[SHOW JOBS SELECT job_id FROM \[SHOW JOBS\]\] "
        r"WHERE job_type IN \('BACKUP', 'RESTORE'\) ORDER BY job_id"
    )
    def _list_jobs(self, *_: object) -> Result:
        rows = [[job.status, job.description] for job in self.jobs.all()]
        return Result([("status", str), ("description", str)], rows)

    @FORMS.add(r"SHOW JOB (\d+)")
    def _show_job(self, _login: Login, groups: Sequence[str], _: object) -> Result:
        return self._job_rows([self.jobs.get(int(groups[0]))])

    @FORMS.add(r"CANCEL JOB (\d+)")
    def _cancel_job(self, login: Login, groups: Sequence[str], _: object) -> Result:
        job = self.jobs.get(int(groups[0]))
        owns = self.version >= (25, 1) and job.user == login.user
        if not (owns or self.is_admin(login.user) or "CONTROLJOB" in self.users[login.user]):
            raise SqlError("42501", f"user {login.user} does not have privileges for job {job.id}")
        self.jobs.cancel(job.id)
        return Result(tag="CANCEL JOBS 1")
