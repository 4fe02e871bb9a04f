"""`runner backup-now`."""

from __future__ import annotations

import click

from runner.cli.context import CliContext, json_option, no_wait_option


@click.command()
@json_option
@click.option("--detach", is_flag=True, help="Do not wait for the result.")
@no_wait_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool, detach: bool, no_wait: bool) -> int:
    """Back up at once and wait for the result.

    The exit code is the job's own. Interrupting this command does not end the
    job in the runner; `runner cancel` does.
    """
    from runner.cli.jobs import run_job  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.request import JobRequest  # noqa: PLC0415 - as above
    from runner.outcome import JobKind  # noqa: PLC0415 - as above

    return run_job(
        context, JobRequest(kind=JobKind.BACKUP), as_json=as_json, detach=detach, wait=not no_wait
    )
