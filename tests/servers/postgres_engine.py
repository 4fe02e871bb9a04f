"""The PostgreSQL engine, bound to a test's server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import PostgresSpec, SslMode
from engines import registry
from engines.interface import Engine, InitOptions, JobContext, Progress
from tests.servers import postgres
from tests.servers.postgres import PostgresServer


def an_engine(
    server: PostgresServer,
    database: str,
    *,
    environ: dict[str, str] | None = None,
    version: str = "",
    **overrides: Any,
) -> Engine:
    """An engine for `database`; spec fields may be overridden, `password` as plain text."""
    password = overrides.pop("password", server.password)
    fields: dict[str, Any] = {
        "database": database,
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": SecretValue(value=Secret(password)) if password is not None else None,
        "ssl_mode": SslMode.DISABLE,
        **overrides,
    }
    engine = registry.get("postgres")
    engine.init(
        InitOptions(
            namespace="db",
            name="shop",
            spec=PostgresSpec(**fields),
            resolve=reveal,
            environ=environ
            or {
                "PATH": os.environ.get("PATH", ""),
                "POSTGRES_BIN_DIRS": postgres.client_bin_dirs(),
            },
            version=version,
        )
    )
    return engine


def reveal(value: SecretValue) -> Secret:
    assert value.value is not None
    return value.value


def a_context(
    scratch: Path,
    *,
    cancelled: threading.Event | None = None,
    report: Callable[[Progress], None] = lambda _progress: None,
    warn: Callable[[str], None] = lambda _message: None,
) -> JobContext:
    """A job's context with a fresh folder below `scratch`."""
    folder = scratch / f"job{len(list(scratch.iterdir()))}"
    folder.mkdir(mode=0o700)
    return JobContext(
        cancelled=cancelled or threading.Event(), report=report, scratch=folder, warn=warn
    )
