"""TLS to Debian's server, which has it: the wheel's builds do not."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.api.errors import AccessDenied
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import SslMode
from tests.fakes.streams import MemorySink
from tests.servers import postgres
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_engine import a_context, an_engine


class Authority:
    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = self._sign(self._name, self._key, ca=True)

    def issue(self, name: str) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        return _pem(self._sign(_name(name), key, ca=False)), _key_pem(key)

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def secret(text: str) -> SecretValue:
    return SecretValue(value=Secret(text))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture(scope="module")
def tls_server(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = authority.issue("localhost")
    (folder / "server.crt").write_text(certificate)
    (folder / "server.key").write_text(key)
    (folder / "ca.crt").write_text(_pem(authority.certificate))
    try:
        with postgres.running(15, tls=folder) as server:
            with server.connect(sslmode="require") as connection:
                connection.execute("CREATE ROLE certified LOGIN SUPERUSER; CREATE TABLE t (n int)")
            yield server
    except postgres.ServerMissing as missing:
        if os.environ.get("DB_BACKUP_TEST_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"{missing}")


def test_verify_full_accepts_our_authority_and_refuses_another(
    tls_server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    ours = an_engine(
        tls_server,
        "postgres",
        ssl_mode=SslMode.VERIFY_FULL,
        ssl_root_cert=secret(_pem(authority.certificate)),
    )
    other = an_engine(
        tls_server,
        "postgres",
        ssl_mode=SslMode.VERIFY_FULL,
        ssl_root_cert=secret(_pem(Authority("another").certificate)),
    )
    sink = MemorySink()

    ours.create_backup(sink, a_context(tmp_path))

    assert set(sink.streams) == {"globals", "dump"}
    with pytest.raises(AccessDenied, match="sslRootCert"):
        other.create_backup(MemorySink(), a_context(tmp_path))


def test_verify_full_refuses_a_name_that_is_not_in_the_certificate(
    tls_server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    engine = an_engine(
        tls_server,
        "postgres",
        host="127.0.0.1",
        ssl_mode=SslMode.VERIFY_FULL,
        ssl_root_cert=secret(_pem(authority.certificate)),
    )

    with pytest.raises(AccessDenied, match="TLS"):
        engine.create_backup(MemorySink(), a_context(tmp_path))


def test_a_client_certificate_logs_in_and_its_key_is_for_our_eyes_only(
    tls_server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("certified")
    engine = an_engine(
        tls_server,
        "postgres",
        user="certified",
        password=None,
        ssl_mode=SslMode.VERIFY_FULL,
        ssl_root_cert=secret(_pem(authority.certificate)),
        ssl_cert=secret(certificate),
        ssl_key=secret(key),
    )
    modes: set[int] = set()
    context = a_context(tmp_path, report=lambda _progress: look())

    def look() -> None:
        modes.update(stat.S_IMODE(path.stat().st_mode) for path in context.scratch.iterdir())

    sink = MemorySink()
    engine.create_backup(sink, context, parallel=2)

    assert "schema" in sink.streams
    assert modes == {0o600}
