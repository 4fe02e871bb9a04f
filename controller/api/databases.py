"""The kinds of database: one section of a DatabaseBackup for each, and how it logs in.

What is said of types, bounds and docstrings in controller.api.v1 holds here, too.
"""

from __future__ import annotations

import enum

from attrs import field, frozen

from controller.api import rules
from controller.api.bounds import TEXT, Between, Matches
from controller.api.secrets import AccountName, SecretValue

_PORT = Between(1, 65535)
_SCHEMA = Matches(r"[^\x00-\x1f\x7f]{1,64}", "1 to 64 characters without control characters")


class SslMode(enum.Enum):
    """libpq's sslmode."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class TlsMode(enum.Enum):
    """MySQL's ssl-mode."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_CA = "verify-ca"
    VERIFY_IDENTITY = "verify-identity"


class MariadbTlsMode(enum.Enum):
    """MySQL's ssl-mode, without what MariaDB's clients cannot do: check the authority alone."""

    DISABLED = "disabled"
    PREFERRED = "preferred"
    REQUIRED = "required"
    VERIFY_IDENTITY = "verify-identity"


@frozen(kw_only=True)
class CockroachSpec:
    """A CockroachDB database and how to log in. It writes its backups to the locations by itself.

    Args:
        database: what to back up, one database.
        host: name or address, of a node or of what stands before all of them.
        port: TCP port.
        user: user of the cluster; the rights that it needs are in docs/cockroach.md.
        password: password of the user; leave it out if the server asks for none, or for a
            certificate.
        cert: PEM of the client's certificate; goes together with `certKey`.
        cert_key: PEM of its key.
        cert_ca: PEM of the authority that signed the nodes' certificates; with it they are
            proven, without it and `cert` the connection is only encrypted if they offer it.
        cert_ca_from_cluster: that authority is the Kubernetes cluster's own; `certCA` wins.
    """

    database: str = field(validator=TEXT)
    host: str = field(validator=TEXT)
    port: int = field(default=26257, validator=_PORT)
    user: str = field(default="root", validator=TEXT)
    password: SecretValue | None = None
    cert: SecretValue | None = None
    cert_key: SecretValue | None = None
    cert_ca: SecretValue | None = None
    cert_ca_from_cluster: bool = False


@frozen(kw_only=True)
class MysqlSpec(rules.Checked):
    """A MySQL database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the path of a Unix socket.
        port: TCP port.
        user: user of the database; the rights that it needs are in
            docs/mysql.md.
        password: password of the user; leave it out if the server asks for none.
        ssl_mode: whether TLS is used. Only verify-ca and verify-identity prove who
            the server is; without `sslCA` by what the runner's image trusts.
        ssl_ca: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
    """

    RULES = (rules.certificate_has_its_key, rules.mysql_certificates_are_used)

    database: str = field(validator=_SCHEMA)
    host: str = field(validator=TEXT)
    port: int = field(default=3306, validator=_PORT)
    user: AccountName
    password: SecretValue | None = None
    ssl_mode: TlsMode = TlsMode.PREFERRED
    ssl_ca: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


@frozen(kw_only=True)
class MariadbSpec(rules.Checked):
    """A MariaDB database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the path of a Unix socket.
        port: TCP port.
        user: user of the database; the rights that it needs are in
            docs/mariadb.md.
        password: password of the user; leave it out if the server asks for none.
        ssl_mode: whether TLS is used. Only verify-identity proves who the server is;
            without `sslCA` by what the runner's image trusts.
        ssl_ca: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
    """

    RULES = (rules.certificate_has_its_key, rules.mysql_certificates_are_used)

    database: str = field(validator=_SCHEMA)
    host: str = field(validator=TEXT)
    port: int = field(default=3306, validator=_PORT)
    user: AccountName
    password: SecretValue | None = None
    ssl_mode: MariadbTlsMode = MariadbTlsMode.PREFERRED
    ssl_ca: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None


@frozen(kw_only=True)
class PostgresSpec(rules.Checked):
    """A PostgreSQL database and how to log in.

    Args:
        database: what to back up, one database.
        host: name, address, or the folder of a Unix socket.
        port: TCP port.
        user: role; the rights that it needs are in docs/postgres.md.
        password: password of the role; leave it out if the server asks for none.
        ssl_mode: libpq's sslmode. Only verify-ca and verify-full prove who the
            server is; without `sslRootCert` they look where libpq looks by default.
        ssl_root_cert: PEM of the authority that signed the server's certificate.
        ssl_cert: PEM of the client's certificate; goes together with `sslKey`.
        ssl_key: PEM of its key.
    """

    RULES = (rules.certificate_has_its_key, rules.certificates_are_used)

    database: str = field(
        validator=Matches(
            r"[^\x00-\x1f\x7f]{1,63}", "1 to 63 characters without control characters"
        )
    )
    host: str = field(validator=TEXT)
    port: int = field(default=5432, validator=_PORT)
    user: str = field(validator=TEXT)
    password: SecretValue | None = None
    ssl_mode: SslMode = SslMode.PREFER
    ssl_root_cert: SecretValue | None = None
    ssl_cert: SecretValue | None = None
    ssl_key: SecretValue | None = None
