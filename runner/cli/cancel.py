"""`runner cancel`."""

from __future__ import annotations

import click

from runner.cli.context import CliContext, json_option, print_json


@click.command()
@json_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool) -> None:
    """End the running job; what it began is taken back."""
    was_running = context.control().cancel()
    if as_json:
        print_json({"wasRunning": was_running})
    elif was_running:
        click.echo("the job is being ended")
    else:
        click.echo("no job runs")
