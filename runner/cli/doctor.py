"""`runner doctor`."""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from controller.api.errors import BackupError
from runner.cli.context import CliContext, json_option

if TYPE_CHECKING:
    from runner.config import RunnerConfig
    from runner.locations import Location

_Check = tuple[str, Callable[[], str]]


@click.command()
@json_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool) -> int:
    """Check the configuration, the database and every location, and say how to mend it.

    Changes nothing, but for a small object that is written to each location
    and deleted again.
    """
    results = []
    worst = 0
    for name, check in _checks(context):
        try:
            message, ok = check(), True
        except BackupError as error:
            message, ok = str(error), False
            worst = worst or error.exit_code
        results.append({"check": name, "ok": ok, "message": message})
        if not as_json:
            first, *others = message.splitlines() or [""]
            click.echo(f"{'ok  ' if ok else 'FAIL'}  {name}: {first}")
            for line in others:
                click.echo(f"      {line}")
    if as_json:
        click.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2).decode())
    return worst


def _checks(context: CliContext) -> Iterator[_Check]:
    from engines.interface import Purpose  # noqa: PLC0415 - --help needs none of it

    loaded: list[RunnerConfig] = []

    def configuration() -> str:
        config = context.load()
        loaded.append(config)
        owner = config.backup.metadata
        return f"{owner.namespace}/{owner.name}, {config.backup.spec.database_type}"

    yield "configuration", configuration
    if not loaded:
        return
    config = loaded[0]
    for purpose in (Purpose.BACKUP, Purpose.RESTORE):
        yield f"database, {purpose.value}", lambda purpose=purpose: _preflight(config, purpose)  # type: ignore[misc]
    with context.locations() as locations:
        for name, error in locations.failed:
            yield f"location {name}", lambda error=error: _raise(error)  # type: ignore[misc]
        for location in locations.opened:
            yield f"location {location.name}", lambda one=location: _try(one, config)  # type: ignore[misc]


def _preflight(config: RunnerConfig, purpose: object) -> str:
    from controller.api.errors import PreflightFailed  # noqa: PLC0415 - --help needs none of it
    from engines.interface import JobContext, Purpose  # noqa: PLC0415 - as above
    from runner.jobs.environment import build_engine  # noqa: PLC0415 - as above

    assert isinstance(purpose, Purpose)  # noqa: S101 - the loop's own
    with tempfile.TemporaryDirectory() as scratch:
        job = JobContext(cancelled=threading.Event(), report=lambda _: None, scratch=Path(scratch))
        problems = build_engine(config).preflight(job, purpose=purpose)
    if problems:
        raise PreflightFailed(problems)
    return "ready"


def _try(location: Location, config: RunnerConfig) -> str:
    location.keyring.check()
    backups = location.catalogue.list().backups
    if not config.cluster_id:
        return f"readable, {len(backups)} backups (no cluster id: nothing is written)"
    location.catalogue.claim(config.cluster_id)
    key = f"{location.layout.root}_doctor-{secrets.token_hex(4)}"
    location.storage.put(key, b"written by runner doctor, may be deleted\n")
    location.storage.delete([key])
    sealed = "encrypted" if location.keyring.encrypts else "not encrypted"
    return f"readable and writable, {sealed}, {len(backups)} backups"


def _raise(error: BackupError) -> str:
    raise error
