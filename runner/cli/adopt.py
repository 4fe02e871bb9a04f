"""`runner adopt`."""

from __future__ import annotations

import sys

import click

from controller.api.errors import FormatError, InvalidSpec, Problem, UsageError
from runner.cli.context import CliContext, location_option


@click.command()
@location_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(context: CliContext, *, location: str, yes: bool) -> None:
    """Take over backups that another cluster wrote.

    From then on this cluster writes and prunes there. If the other cluster
    still runs, its backups fail: two must not prune each other's past.
    """
    config = context.load()
    if not config.cluster_id:
        raise InvalidSpec([Problem("cluster", "is missing: adopt for which cluster?")])
    with context.locations(location) as locations:
        for one in locations.opened:
            try:
                before = one.catalogue.owner()
            except FormatError:  # unreadable: nobody can be asked, a person decides
                before = None
            if before is not None and before.cluster_id == config.cluster_id:
                click.echo(f"{one.name}: is this cluster's already")
                continue
            former = before.cluster_id if before else "nobody"
            if not yes:
                if not sys.stdin.isatty():
                    raise UsageError("adopt without a terminal to ask on needs --yes")
                click.confirm(f"{one.name}: take over from cluster {former}?", abort=True)
            one.catalogue.adopt(config.cluster_id)
            click.echo(f"{one.name}: taken over from {former}")
