"""Ways to log in: TLS in all modes, sockets, plugins; and what is said when it does not work."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.api.errors import AccessDenied, DatabaseUnavailable, ObjectNotFound
from engines import process
from tests.fakes.streams import MemorySink
from tests.integration.mysql.conftest import a_backup, fill_small
from tests.servers import mysql
from tests.servers.fixtures import given
from tests.servers.mysql import MysqlServer
from tests.servers.mysql_engine import an_engine
from tests.servers.mysql_fixtures import EVERY, ServerOf, skip_unless_covered
from tests.servers.mysql_samples import fingerprint
from tests.servers.postgres_engine import a_context
from tests.servers.tls import Authority

AnySchema = Callable[..., str]


@pytest.fixture(scope="module")
def stranger() -> Authority:
    return Authority("somebody else")


@pytest.fixture(scope="module", params=EVERY, ids="{0[0]}{0[1]}".format)
def tls_server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MysqlServer]:
    """One that refuses whoever comes without TLS."""
    folder = tmp_path_factory.mktemp("tls")
    authority.issue_server("localhost").write(folder, certificate="server.crt", key="server.key")
    (folder / "ca.crt").write_text(authority.certificate_pem)
    for server in given(mysql.running(*request.param, tls=folder)):
        server.run("CREATE DATABASE shop", ssl_ca=str(folder / "ca.crt"), ssl_verify_identity=True)
        server.run(
            "CREATE TABLE a (id INT PRIMARY KEY)",
            "INSERT INTO a VALUES (1)",
            "CREATE USER certified@'%' IDENTIFIED BY 'pw' REQUIRE X509",
            "GRANT ALL ON *.* TO certified@'%'",
            database="shop",
            ssl_ca=str(folder / "ca.crt"),
        )
        yield server


@pytest.mark.parametrize("mode", ["preferred", "required"])
def test_encrypted_without_looking_who_it_is(
    tls_server: MysqlServer, tmp_path: Path, mode: str
) -> None:
    assert a_backup(tls_server, "shop", tmp_path, ssl_mode=mode).facts.counts["tables"] == 1


def verifying(server: MysqlServer) -> list[str]:
    return ["verify-ca", "verify-identity"] if server.family == "mysql" else ["verify-identity"]


@pytest.mark.parametrize("mode", ["verify-ca", "verify-identity"])
def test_the_right_authority_proves_the_server_and_another_does_not(
    tls_server: MysqlServer,
    tmp_path: Path,
    authority: Authority,
    stranger: Authority,
    mode: str,
) -> None:
    if mode not in verifying(tls_server):
        return  # a mode that the section does not take
    good = {"ssl_mode": mode, "ssl_ca": authority.certificate_pem}
    assert a_backup(tls_server, "shop", tmp_path, **good).facts.counts["tables"] == 1
    bad = an_engine(tls_server, "shop", **good | {"ssl_ca": stranger.certificate_pem})

    with pytest.raises(AccessDenied, match="TLS handshake failed; look at sslMode, sslCA"):
        bad.create_backup(MemorySink(), a_context(tmp_path))
    nobody = an_engine(tls_server, "shop", ssl_mode=mode)
    with pytest.raises(AccessDenied, match="TLS handshake failed"):
        nobody.create_backup(MemorySink(), a_context(tmp_path))


def test_only_verify_identity_looks_at_the_name(
    tls_server: MysqlServer, tmp_path: Path, authority: Authority
) -> None:
    named_otherwise = {"host": "127.0.0.1", "ssl_ca": authority.certificate_pem}

    for mode in {"required", *verifying(tls_server)} - {"verify-identity"}:
        a_backup(tls_server, "shop", tmp_path, ssl_mode=mode, **named_otherwise)

    with pytest.raises(AccessDenied, match="TLS handshake failed"):
        a_backup(tls_server, "shop", tmp_path, ssl_mode="verify-identity", **named_otherwise)


def test_the_client_tools_hold_the_chain_against_the_authority_themselves(
    tls_server: MysqlServer,
    tmp_path: Path,
    authority: Authority,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gets between after our own session looked must not get a dump's connection."""
    from engines.mysql_family import credentials

    options = credentials.Login.options
    other = tmp_path / "other.pem"
    other.write_text(stranger.certificate_pem)

    def with_another_authority(login: credentials.Login) -> list[tuple[str, str | None]]:
        return [(k, str(other) if k == "ssl-ca" else v) for k, v in options(login)]

    monkeypatch.setattr(credentials.Login, "options", with_another_authority)
    for mode in verifying(tls_server):
        sink = MemorySink()
        with pytest.raises(Exception, match=r"(?i)certificate|SSL|TLS"):
            an_engine(
                tls_server, "shop", ssl_mode=mode, ssl_ca=authority.certificate_pem
            ).create_backup(sink, a_context(tmp_path))
        assert sink.streams == {}


def test_a_client_certificate_is_shown_by_sessions_and_tools(
    tls_server: MysqlServer, tmp_path: Path, authority: Authority
) -> None:
    issued = authority.issue_client("certified")
    login = {"user": "certified", "password": "pw", "ssl_ca": authority.certificate_pem}
    shown = {"ssl_cert": issued.certificate_pem, "ssl_key": issued.key_pem}

    a_backup(tls_server, "shop", tmp_path, ssl_mode="verify-identity", **login, **shown)

    with pytest.raises(AccessDenied, match="refused the login"):
        a_backup(tls_server, "shop", tmp_path, ssl_mode="verify-identity", **login)


def test_without_tls_one_that_wants_it_says_so(tls_server: MysqlServer, tmp_path: Path) -> None:
    engine = an_engine(tls_server, "shop", ssl_mode="disabled")

    with pytest.raises(
        AccessDenied, match=r"wants TLS: set spec.* to required|with sslMode disabled"
    ):
        engine.create_backup(MemorySink(), a_context(tmp_path))


@pytest.mark.parametrize("mode", ["required", "verify-identity"])
def test_a_server_without_tls_never_sees_the_password_of_who_requires_it(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path, mode: str
) -> None:
    engine = an_engine(mysql_server, a_schema(mysql_server), ssl_mode=mode)

    with pytest.raises(AccessDenied, match="TLS"):
        engine.create_backup(MemorySink(), a_context(tmp_path))


def test_the_tools_require_tls_themselves(
    mysql_server: MysqlServer,
    a_schema: AnySchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that loses its TLS, or whoever pretends to be it, gets no login of a tool."""
    from engines.mysql_family import credentials

    monkeypatch.setattr(credentials.Login, "is_tls_enforced", property(lambda _self: False))
    # MariaDB's insist only where they verify; the page says so.
    mode = "required" if mysql_server.family == "mysql" else "verify-identity"
    engine = an_engine(mysql_server, a_schema(mysql_server), ssl_mode=mode)
    sink = MemorySink()

    with pytest.raises(Exception, match=r"(?i)SSL|TLS"):
        engine.create_backup(sink, a_context(tmp_path))

    assert sink.streams == {}


def test_by_a_socket(mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path) -> None:
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)

    backup = a_backup(
        mysql_server,
        database,
        tmp_path,
        host=str(mysql_server.socket),
        port=1,
        ssl_mode="preferred",
    )

    backup.restore(tmp_path, database=f"{database}_new")

    assert fingerprint(mysql_server, f"{database}_new") == fingerprint(mysql_server, database)


PLUGINS = {
    "mysql": (
        "WITH caching_sha2_password BY 'p\"#\\\\ w'",
        "WITH sha256_password BY 'p\"#\\\\ w'",
    ),
    "mariadb": (
        "VIA ed25519 USING PASSWORD('p\"#\\\\ w')",
        "VIA mysql_native_password USING PASSWORD('p\"#\\\\ w')",
    ),
}


@pytest.mark.parametrize(
    ("family", "series", "how"),
    [(family, series, how) for family, series in EVERY for how in PLUGINS[family]],
)
def test_by_each_plugin_with_a_password_that_breaks_careless_quoting(
    server_of: ServerOf, a_schema: AnySchema, tmp_path: Path, family: str, series: str, how: str
) -> None:
    server = server_of(family, series)
    if "ed25519" in how and ("ed25519",) not in server.run(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'ed25519'"
    ):
        if not server.has_plugins:
            pytest.skip(f"this {family} {series} comes without plugins")
        server.run("INSTALL SONAME 'auth_ed25519'")
    database = a_schema(server)
    fill_small(server, database)
    server.run("DROP USER IF EXISTS plugged@'%'", f"CREATE USER plugged@'%' IDENTIFIED {how}")
    server.run("GRANT ALL ON *.* TO plugged@'%'")
    try:
        backup = a_backup(server, database, tmp_path, user="plugged", password='p"#\\ w')
        backup.restore(tmp_path, database=f"{database}_new")
        assert server.run(f"SELECT COUNT(*) FROM `{database}_new`.a") == [(2000,)]
    finally:
        server.run("DROP USER plugged@'%'")


def test_mysql_s_native_password_takes_the_tools_of_a_series_that_has_it(tmp_path: Path) -> None:
    """MySQL 8.4 has it switched off, and 9.0 has it no more: neither server nor tools."""
    skip_unless_covered("mysql", "8.4")
    for server in given(mysql.running("mysql", "8.4", options={"mysql_native_password": "ON"})):
        server.run(
            "CREATE DATABASE shop",
            "CREATE USER native@'%' IDENTIFIED WITH mysql_native_password BY 'pw'",
            "GRANT ALL ON *.* TO native@'%'",
        )
        fill_small(server, "shop")
        for series, folder in mysql.installations("mysql").items():
            account = {"user": "native", "password": "pw"}
            environ = {"PATH": "", "MYSQL_BIN_DIRS": str(folder)}
            if series == "8.4":
                a_backup(server, "shop", tmp_path, environ=environ, **account)
                continue
            with pytest.raises(AccessDenied, match="the runner image of the server's own series"):
                a_backup(server, "shop", tmp_path, environ=environ, **account)


def test_a_wrong_password_names_the_fields(
    mysql_server: MysqlServer, a_schema: AnySchema, tmp_path: Path
) -> None:
    engine = an_engine(mysql_server, a_schema(mysql_server), password="canary-secret")

    with pytest.raises(AccessDenied) as refused:
        engine.create_backup(MemorySink(), a_context(tmp_path))

    section = f"spec.{mysql_server.family}"
    assert f"look at {section}.user and {section}.pass" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_database_that_is_not_there_and_a_server_that_is_not(
    mysql_server: MysqlServer, tmp_path: Path
) -> None:
    with pytest.raises(ObjectNotFound, match='"nowhere" does not exist'):
        an_engine(mysql_server, "nowhere").create_backup(MemorySink(), a_context(tmp_path))
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        an_engine(mysql_server, "x", port=1).create_backup(MemorySink(), a_context(tmp_path))


def test_no_secret_is_in_arguments_or_environment_and_files_are_ours_alone(
    mysql_server: MysqlServer,
    a_schema: AnySchema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[process.Command] = []
    modes: set[int] = set()
    start = process.Child.__init__

    def watched(
        child: process.Child, command: process.Command, *args: object, **kw: object
    ) -> None:
        seen.append(command)
        for folder, _, names in os.walk(tmp_path):
            modes.update(stat.S_IMODE(Path(folder, name).stat().st_mode) for name in names)
        start(child, command, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(process.Child, "__init__", watched)
    database = a_schema(mysql_server)
    fill_small(mysql_server, database)
    backup = a_backup(mysql_server, database, tmp_path)

    backup.restore(tmp_path, database=f"{database}_new")

    assert len(seen) == 2
    assert mysql_server.password not in repr([(one.argv, one.environment) for one in seen])
    assert modes == {0o600}
