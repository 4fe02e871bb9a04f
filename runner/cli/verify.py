"""`runner verify`."""

from __future__ import annotations

import click

from runner.cli.context import (
    CliContext,
    accept_unencrypted_option,
    json_option,
    location_option,
    no_wait_option,
)


@click.command()
@click.argument("backup_id", default="", metavar="[ID]")
@click.option("--all", "everything", is_flag=True, help="Every backup, not only the newest.")
@location_option
@accept_unencrypted_option
@no_wait_option
@json_option
@click.pass_obj
def command(
    context: CliContext,
    *,
    backup_id: str,
    everything: bool,
    location: str,
    accept_unencrypted: bool,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Read a backup again and check every byte, in every location.

    Takes the newest backup, the one named ID, or --all. Exit code 65 if
    anything is missing or differs, or is what a restore would refuse.
    """
    from runner.cli.jobs import run_job  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.request import JobRequest  # noqa: PLC0415 - as above
    from runner.outcome import JobKind  # noqa: PLC0415 - as above

    request = JobRequest(
        kind=JobKind.VERIFY,
        name=backup_id,
        everything=everything,
        location=location,
        accept_unencrypted=accept_unencrypted,
    )
    return run_job(context, request, as_json=as_json, wait=not no_wait)
