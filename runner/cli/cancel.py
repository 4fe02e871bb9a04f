"""`runner cancel`."""

from __future__ import annotations

import click

from runner.cli.context import CliContext


@click.command()
@click.pass_obj
def command(context: CliContext) -> None:
    """End the running job; what it began is taken back."""
    if context.control().cancel():
        click.echo("the job is being ended")
    else:
        click.echo("no job runs")
