"""`runner restore`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import attrs
import click

from controller.api.errors import UsageError
from runner.cli.context import (
    CliContext,
    accept_unencrypted_option,
    json_option,
    no_wait_option,
)


@click.command()
@click.argument("backup_id", default="", metavar="[TIME]")
@click.option(
    "--at",
    default="",
    metavar="TIME",
    help="The newest backup at or before this time: 2026-11-23T02:00:00Z, or `now`.",
)
@click.option("--name", default="", metavar="ID", help="The backup with this id.")
@click.option("--from", "location", default="", metavar="NAME", help="Only from this location.")
@click.option("--database", default="", metavar="NEW", help="Into a database of another name.")
@click.option("--replace", is_flag=True, help="Swap an existing database for the restored one.")
@click.option("--no-owner", is_flag=True, help="Leave out owners and privileges.")
@accept_unencrypted_option
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--detach", is_flag=True, help="Do not wait for the result.")
@no_wait_option
@click.option(
    "--mode",
    type=click.Choice(["point-in-time", "name"]),
    default="point-in-time",
    help="What ID is, for scripts of the Go original.",
    hidden=True,
)
@json_option
@click.pass_obj
def command(
    context: CliContext,
    *,
    backup_id: str,
    at: str,
    name: str,
    location: str,
    database: str,
    replace: bool,
    no_owner: bool,
    accept_unencrypted: bool,
    dry_run: bool,
    yes: bool,
    detach: bool,
    no_wait: bool,
    mode: str,
    as_json: bool,
) -> int:
    """Bring a backup back: `restore --at TIME` or `restore --name ID`.

    TIME alone means --at TIME, as in the Go original.

    An existing database that holds data is never written to: name another one
    with --database, or swap it for the restored one with --replace.
    """
    from runner.cli.jobs import run_job  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.request import JobRequest, RestoreOptions  # noqa: PLC0415 - as above
    from runner.outcome import JobKind  # noqa: PLC0415 - as above

    if backup_id and (at or name):
        raise UsageError("give either --at TIME or --name ID, not both")
    if backup_id:
        at, name = (at or backup_id, name) if mode == "point-in-time" else (at, name or backup_id)
    if bool(at) == bool(name):
        raise UsageError("give either --at TIME or --name ID")
    request = JobRequest(
        kind=JobKind.RESTORE,
        restore=RestoreOptions(
            at=parse_at(at, datetime.now(UTC)) if at else None,
            name=name,
            location=location,
            database=database,
            replace=replace,
            owners=not no_owner,
            accept_unencrypted=accept_unencrypted,
            dry_run=dry_run,
        ),
    )
    if replace and not dry_run and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--replace without a terminal to ask on needs --yes")
        assert request.restore is not None  # noqa: S101 - made above
        plan = attrs.evolve(request, restore=attrs.evolve(request.restore, dry_run=True))
        code = run_job(context, plan, as_json=as_json)
        if code:
            return code
        click.confirm("Swap the existing database for this backup?", abort=True, err=True)
    return run_job(context, request, as_json=as_json, detach=detach, wait=not no_wait)


def parse_at(text: str, now: datetime) -> datetime:
    """Read ``--at``: RFC 3339 with an offset or Z, or `now`.

    Raises: UsageError, which says what is missing: a time without an offset
        may be hours off.
    """
    if text == "now":
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text!r} is not a time: write it as {now:%Y-%m-%dT%H:%M:%SZ}"
        ) from None
    if moment.tzinfo is None:
        full = moment.isoformat()
        raise UsageError(
            f"--at {text!r} has no offset: write {full}Z for UTC, or {full}+01:00 for another zone"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise UsageError(f"--at {text!r} is beyond all bounds") from None
