"""Real MariaDB and MySQL servers for tests and benchmarks.

A server listens on loopback, on a port that the kernel chose, and on a socket
in its own temporary folder; it is started once per run and stopped by its
process id. Import-light: the driver is loaded by what connects.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from tests.servers import mysql_packages
from tests.servers.cache import cache_dir
from tests.servers.provider import (
    ServerMissing,
    ServerProcess,
    free_port,
    has_container_engine,
    start_process,
)
from tests.servers.series import how_to_get

_SERVER = {"mariadb": "mariadbd", "mysql": "mysqld"}
_FAST = {
    "innodb_buffer_pool_size": "64M",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_log_file_size": "48M",
    "max_connections": "60",
    "event_scheduler": "OFF",
    "log_bin": "bin",
    "sync_binlog": "0",
    "performance_schema": "ON",
}


@frozen(kw_only=True)
class MysqlServer:
    """A running server of one family.

    Args:
        bin_dir: client tools of its series; of a container, of the newest that is here.
        socket, data_dir, process: of none that is a container.
    """

    family: str
    series: str
    host: str
    port: int
    socket: Path
    password: str
    bin_dir: Path
    data_dir: Path
    process: ServerProcess | None
    user: str = "root"

    @property
    def has_plugins(self) -> bool:
        """All but an unpacked one that has no libraries."""
        root = self.bin_dir.parent / "root"
        return not root.is_dir() or (root / "usr/lib").is_dir()

    def connect(self, database: str | None = None, **overrides: Any) -> Any:
        """A PyMySQL connection in autocommit, as root over TCP unless told otherwise."""
        import pymysql

        settings: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": database,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 10,
            **overrides,
        }
        return pymysql.connect(**settings)

    def run(self, *statements: str, database: str | None = None, **overrides: Any) -> list[Any]:
        """Run statements; the rows of the last one."""
        with self.connect(database, **overrides) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def version(self) -> str:
        """As in "11.4.5-MariaDB-log"."""
        ((version,),) = self.run("SELECT VERSION()")
        return str(version)

    def bin_dirs(self) -> dict[str, str]:
        """Environment by which an engine finds the clients of this family."""
        return {f"{self.family.upper()}_BIN_DIRS": client_bin_dirs(self.family)}


def installations(family: str) -> dict[str, Path]:
    """Series -> folder with the server and its clients, of what is on this machine."""
    found: dict[str, Path] = {}
    named = os.environ.get(f"{family.upper()}_BIN_DIRS", "").split(os.pathsep)
    for folder in map(Path, filter(None, named)):
        _add(found, family, folder)
    for source in mysql_packages.KNOWN:
        if source.family == family:
            folder = mysql_packages.bin_folder(cache_dir(), source)
            if folder is not None:
                found.setdefault(source.series, folder)
    return found


def _add(found: dict[str, Path], family: str, folder: Path) -> None:
    program = folder / _SERVER[family]
    if program.is_file():
        done = subprocess.run(
            [program, "--no-defaults", "--version"], capture_output=True, text=True, check=True
        )
        if match := re.search(r"Ver (\d+\.\d+)", done.stdout):
            found.setdefault(match[1], folder)


def client_bin_dirs(family: str) -> str:
    """Value for MARIADB_BIN_DIRS or MYSQL_BIN_DIRS that finds the clients of every series here."""
    return os.pathsep.join(str(folder) for folder in installations(family).values())


@contextlib.contextmanager
def running(
    family: str,
    series: str,
    *,
    options: Mapping[str, str | None] | None = None,
    tls: Path | None = None,
) -> Iterator[MysqlServer]:
    """Start a server, hand it out, stop it.

    Args:
        options: system variables ("log_bin_trust_function_creators": "ON"); None as a value
            leaves out one of our own.
        tls: folder with server.crt, server.key and ca.crt; None: no TLS.
    Raises: ServerMissing.
    """
    bin_dir = installations(family).get(series)
    if bin_dir is None:
        if options or tls or not installations(family) or not has_container_engine():
            raise ServerMissing(f"no {family} {series} here", how_to_get=how_to_get(family, series))
        with _as_container(family, series) as container:
            yield container
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{family}{series}-", dir="/tmp"))
    try:
        data = folder / "data"
        password = secrets.token_urlsafe(12)
        wanted = _settings(family, bin_dir, folder, tls) | (options or {})
        settings = {name: value for name, value in wanted.items() if value is not None}
        init = _initialise(family, bin_dir, folder, settings, password)
        port = free_port()
        process = _start(family, bin_dir, folder, {**settings, "port": str(port)}, init)
        server = MysqlServer(
            family=family,
            series=series,
            host="localhost" if tls is not None else "127.0.0.1",
            port=port,
            socket=folder / "sock",
            password=password,
            bin_dir=bin_dir,
            data_dir=data,
            process=process,
        )
        try:
            yield server
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _as_container(family: str, series: str) -> Iterator[MysqlServer]:
    """The public image, if it is there or can be pulled; with the newest clients that are here."""
    from testcontainers.core.container import DockerContainer

    password = secrets.token_urlsafe(12)
    name = "MARIADB" if family == "mariadb" else "MYSQL"
    container = (
        DockerContainer(f"{family}:{series}")
        .with_env(f"{name}_ROOT_PASSWORD", password)
        .with_env(f"{name}_ROOT_HOST", "%")
        .with_command("--log-bin=bin --server-id=1 --event-scheduler=OFF")
        .with_bind_ports("3306/tcp", ("127.0.0.1", None))
    )
    try:
        container.start()
    except Exception as error:  # of several packages; whatever it is, there is none
        raise ServerMissing(
            f"no {family} {series} here, nor its image: {error}",
            how_to_get=how_to_get(family, series),
        ) from error
    try:
        server = MysqlServer(
            family=family,
            series=series,
            host="127.0.0.1",
            port=int(container.get_exposed_port(3306)),
            socket=Path("/nowhere"),
            password=password,
            bin_dir=max(installations(family).items())[1],
            data_dir=Path("/nowhere"),
            process=None,
        )
        _wait_for_login(server)
        yield server
    finally:
        container.stop()


def _wait_for_login(server: MysqlServer) -> None:
    """Its first start makes the data, with a server that listens nowhere."""
    import pymysql

    deadline = time.monotonic() + 120
    while True:
        try:
            server.run("SELECT 1")
            return
        except pymysql.MySQLError as error:
            if time.monotonic() > deadline:
                raise ServerMissing(f"the container did not come up: {error}") from error
            time.sleep(0.5)


def restarted(server: MysqlServer) -> MysqlServer:
    """The same data and port in a new process, after `server.process` has ended."""
    folder = server.data_dir.parent
    arguments = (folder / "arguments").read_text().split("\0")
    return evolve(server, process=_launch(arguments, folder, server.port))


def _settings(family: str, bin_dir: Path, folder: Path, tls: Path | None) -> dict[str, str]:
    (folder / "tmp").mkdir()
    settings = {
        **_FAST,
        "datadir": str(folder / "data"),
        "socket": str(folder / "sock"),
        "pid_file": str(folder / "pid"),
        "tmpdir": str(folder / "tmp"),
        "bind_address": "127.0.0.1",
        "server_id": "1",
    }
    root = bin_dir.parent / "root"
    if root.is_dir():  # unpacked: it looks where it was built to be
        share = next(root.glob("usr/share/m*/english")).parent
        settings |= {
            "lc_messages_dir": str(share),
            "character_sets_dir": str(share / "charsets"),
        }
        plugins = root / "usr/lib/mysql/plugin"
        settings |= {"plugin_dir": str(plugins)} if plugins.is_dir() else {}
    if family == "mysql":
        settings |= {
            "mysqlx": "OFF",
            "innodb_redo_log_capacity": "64M",
            "secure_file_priv": str(folder / "tmp"),
            # As 9.7 has it of itself: without it there is no more than one stream.
            "gtid_mode": "ON",
            "enforce_gtid_consistency": "ON",
        }
        del settings["innodb_log_file_size"]
    else:
        settings |= {"gtid_strict_mode": "ON"}
    if tls is not None:
        settings |= {
            "ssl_ca": str(tls / "ca.crt"),
            "ssl_cert": str(tls / "server.crt"),
            "ssl_key": str(tls / "server.key"),
            "require_secure_transport": "ON",
        }
    elif family == "mysql":
        settings |= {"tls_version": "", "auto_generate_certs": "OFF"}
    else:
        settings |= {"ssl": "OFF"}
    return settings


def _arguments(family: str, bin_dir: Path, settings: Mapping[str, str]) -> list[str]:
    arguments = [str(bin_dir / _SERVER[family]), "--no-defaults"]
    if os.geteuid() == 0:
        arguments.append("--user=root")
    return arguments + [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def _initialise(
    family: str, bin_dir: Path, folder: Path, settings: Mapping[str, str], password: str
) -> Path:
    """Make the data folder; returns the file with what the first start has to run."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    init = folder / "init.sql"
    grants = (
        f"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
    )
    if family == "mysql":
        _run([*_arguments(family, bin_dir, settings), "--initialize-insecure"], None)
        init.write_text(f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n{grants}")
        return init
    share = Path(settings.get("lc_messages_dir", "/usr/share/mysql"))
    tables = next(share.glob("*_system_tables.sql"))
    prefix = tables.name.removesuffix("_system_tables.sql")
    scripts = [
        tables,
        share / f"{prefix}_performance_tables.sql",
        share / f"{prefix}_system_tables_data.sql",
        share / "maria_add_gis_sp_bootstrap.sql",
    ]
    text = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
    text += "".join(script.read_text() for script in scripts)
    quiet = {k: v for k, v in settings.items() if k not in ("log_bin", "gtid_strict_mode")}
    _run([*_arguments(family, bin_dir, quiet), "--bootstrap", "--skip-log-bin"], text)
    init.write_text(
        "DELETE FROM mysql.global_priv WHERE user = '';\nFLUSH PRIVILEGES;\n"
        f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n{grants}"
    )
    return init


def _run(command: list[str], text: str | None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerMissing(f"{command[0]} could not make its data: {done.stderr[-2000:]}")


def _start(
    family: str, bin_dir: Path, folder: Path, settings: Mapping[str, str], init: Path
) -> ServerProcess:
    arguments = _arguments(family, bin_dir, settings)
    (folder / "arguments").write_text("\0".join(arguments))
    return _launch([*arguments, f"--init-file={init}"], folder, int(settings["port"]))


def _launch(arguments: list[str], folder: Path, port: int) -> ServerProcess:
    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                return bool(probe.recv(1))
        except OSError:
            return False

    return start_process(arguments, log_file=folder / "log", is_ready=answers)
