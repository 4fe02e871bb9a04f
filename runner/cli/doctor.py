"""`runner doctor`."""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.api.errors import BackupError
from runner.cli.context import CliContext, json_option, print_json, say

if TYPE_CHECKING:
    from runner.config import RunnerConfig
    from runner.locations import Location, Locations

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
        result: dict[str, object] = {"check": name, "ok": True}
        try:
            message, ok = check(), True
        except BackupError as error:
            message, ok = str(error).removeprefix(f"{name}: "), False
            worst = worst or error.exit_code
            result |= {"ok": False, "reason": error.reason, "exitCode": error.exit_code}
        results.append(result | {"message": message})
        if not as_json:
            first, *others = message.splitlines() or [""]
            say(f"{'ok  ' if ok else 'FAIL'}  {name}: {first}")
            for line in others:
                say(f"      {line}")
    if as_json:
        print_json(results)
    return worst


def _checks(context: CliContext) -> Iterator[_Check]:
    from runner.locations import open_locations  # noqa: PLC0415 - --help needs none of it

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
    yield from _cluster_checks(context, config)
    yield "database, backup", partial(_backup, config)
    with open_locations(config) as locations:
        for name, error in locations.failed:
            yield f"location {name}", partial(_raise, error)
        for location in locations.opened:
            yield f"location {location.name}", partial(_try, location, config)
        yield "database, restore", partial(_restore, config, locations)


def _cluster_checks(context: CliContext, config: RunnerConfig) -> Iterator[_Check]:
    """Whether the runner of a cluster may do what it has to, without changing anything."""
    if not context.is_in_cluster:
        return
    from runner.cluster import connected  # noqa: PLC0415 - a laptop needs none of it

    def status() -> str:
        with connected(config.backup.metadata, context.environ) as cluster:
            cluster.check_status()
        return "may be written"

    def lease() -> str:
        with connected(config.backup.metadata, context.environ) as cluster:
            holder = cluster.check_lease()
        return f"held by {holder}" if holder else "may be written, nobody holds it"

    yield "Kubernetes API, status", status
    yield "Kubernetes API, Lease", lease


def _backup(config: RunnerConfig) -> str:
    from engines.interface import Purpose  # noqa: PLC0415 - --help needs none of it

    _preflight(config, purpose=Purpose.BACKUP)
    return "ready"


def _restore(config: RunnerConfig, locations: Locations) -> str:
    """Whether the newest backup could be restored now, in place of the present database."""
    from engines.interface import Purpose, Target  # noqa: PLC0415 - --help needs none of it

    for location in locations.opened:
        try:
            backups = location.catalogue.list().backups
            if not backups:
                continue
            facts = location.catalogue.manifest(backups[-1].id).facts
        except BackupError:
            continue  # its own check says so
        target = Target(database=config.database, replace=True, label="doctor")
        _preflight(config, purpose=Purpose.RESTORE, facts=facts, target=target)
        return f"ready, for {backups[-1].id}"
    return "not checked: there is no backup to restore yet"


def _preflight(config: RunnerConfig, **asked: Any) -> None:
    from controller.api.errors import PreflightFailed  # noqa: PLC0415 - --help needs none of it
    from engines.interface import JobContext  # noqa: PLC0415 - as above
    from runner.jobs.environment import build_engine  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as scratch:
        job = JobContext(cancelled=threading.Event(), report=lambda _: None, scratch=Path(scratch))
        problems = build_engine(config).preflight(job, **asked)
    if problems:
        raise PreflightFailed(problems)


def _try(location: Location, config: RunnerConfig) -> str:
    from runner.wording import count_text  # noqa: PLC0415 - --help needs none of it

    location.keyring.check()
    stored = count_text(len(location.catalogue.list().backups), "backup")
    if not config.cluster_id:
        return (
            f"readable, {stored} (nothing is written without a cluster's id: put one into the "
            "file `cluster` beside the configuration)"
        )
    location.catalogue.check_owner(config.cluster_id)
    key = f"{location.layout.root}_doctor-{secrets.token_hex(4)}"
    location.storage.put(key, b"written by runner doctor, may be deleted\n")
    location.storage.delete([key])
    # Older than any: this asks for the right to list them, and ends none.
    location.storage.abort_stale_uploads(
        location.layout.data, begun_before=datetime.fromtimestamp(0, UTC)
    )
    sealed = "encrypted" if location.keyring.encrypts else "not encrypted"
    return f"readable and writable, {sealed}, {stored}"


def _raise(error: BackupError) -> str:
    raise error
