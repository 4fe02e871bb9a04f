"""`runner unpack`."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import click

from controller.api.errors import BackupError, NotRestorable, TargetExists, UsageError
from runner.cli.context import (
    CliContext,
    accept_unencrypted_option,
    json_option,
    location_option,
    print_json,
    say,
)


@click.command()
@click.argument("backup_id", metavar="ID")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Empty directory to write to; it is made if it is not there.",
)
@location_option
@accept_unencrypted_option
@json_option
@click.pass_obj
def command(
    context: CliContext,
    *,
    backup_id: str,
    target: Path,
    location: str,
    accept_unencrypted: bool,
    as_json: bool,
) -> None:
    """Write a backup's streams to files, decrypted and decompressed, every byte checked.

    Needs no database. Files have their names only once all are whole; none that
    is there is written over.
    """
    from engines.interface import JobContext  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.environment import build_engine, moves_streams  # noqa: PLC0415 - as above
    from runner.locations import find_manifest  # noqa: PLC0415 - as above

    engine = moves_streams(build_engine(context.load()))
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A partial file is what a run that was killed left; it is replaced.
    if any(not one.name.endswith(".partial") for one in target.iterdir()):
        raise UsageError(f"--to {target} is not empty: name another directory, or a new one")
    last: BackupError | None = None
    with context.locations(location) as locations, tempfile.TemporaryDirectory() as scratch:
        job = JobContext(cancelled=threading.Event(), report=lambda _: None, scratch=Path(scratch))
        for one, manifest in find_manifest(locations.opened, backup_id):
            try:
                if isinstance(manifest, BackupError):
                    raise manifest
                one.check_trusted(manifest, accept_unencrypted=accept_unencrypted)
                written = engine.unpack(one.source(manifest), manifest.facts, target, job)
            except TargetExists:
                raise  # of no location's making
            except BackupError as error:
                last = error
                say(f"warning: {one.name}: {error}", err=True)
                continue
            if as_json:
                files = [str(path) for path in written]
                print_json({"id": manifest.id, "location": one.name, "files": files})
            else:
                say("\n".join(map(str, written)))
            return
    raise last or NotRestorable(f"there is no backup {backup_id}: see `runner list`")
