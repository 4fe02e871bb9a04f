"""The MySQL and MariaDB engines, bound to a test's server."""

from __future__ import annotations

import os
from typing import Any

from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import MariadbSpec, MariadbTlsMode, MysqlSpec, TlsMode
from engines import registry
from engines.interface import Engine, InitOptions
from tests.servers.mysql import MysqlServer
from tests.servers.postgres_engine import reveal

SPECS = {"mariadb": MariadbSpec, "mysql": MysqlSpec}


def an_engine(
    server: MysqlServer,
    database: str,
    *,
    environ: dict[str, str] | None = None,
    version: str = "",
    **overrides: Any,
) -> Engine:
    """An engine for `database`; fields may be overridden, `user` and `password` as plain text."""
    fields: dict[str, Any] = {
        "database": database,
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "ssl_mode": "disabled",
        **overrides,
    }
    modes = {"mariadb": MariadbTlsMode, "mysql": TlsMode}
    fields["ssl_mode"] = modes[server.family](fields["ssl_mode"])
    for name in ("user", "password", "ssl_ca", "ssl_cert", "ssl_key"):
        if isinstance(fields.get(name), str):
            fields[name] = SecretValue(value=Secret(fields[name]))
    engine = registry.get(server.family)
    engine.init(
        InitOptions(
            namespace="db",
            name="shop",
            spec=SPECS[server.family](**fields),
            resolve=reveal,
            environ=environ or {"PATH": os.environ.get("PATH", ""), **server.bin_dirs()},
            version=version,
        )
    )
    return engine
