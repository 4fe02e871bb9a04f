"""`runner prune`."""

from __future__ import annotations

import click

from runner.cli.context import CliContext, json_option, location_option, no_wait_option


@click.command()
@click.option("--dry-run", is_flag=True, help="Delete nothing, only say what would go and why.")
@location_option
@no_wait_option
@json_option
@click.pass_obj
def command(
    context: CliContext, *, dry_run: bool, location: str, no_wait: bool, as_json: bool
) -> int:
    """Apply the retention rules, and print every backup with the reasons it stays or goes.

    Each successful backup does this by itself.
    """
    from runner.cli.jobs import run_job  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.request import JobRequest  # noqa: PLC0415 - as above
    from runner.outcome import JobKind  # noqa: PLC0415 - as above

    request = JobRequest(kind=JobKind.PRUNE, dry_run=dry_run, location=location)
    return run_job(context, request, as_json=as_json, wait=not no_wait)
