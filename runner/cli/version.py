"""`runner version`."""

from __future__ import annotations

import click

from controller.api.version import version
from runner.cli.context import json_option, print_json


@click.command()
@json_option
def command(*, as_json: bool) -> None:
    """Print the version of this build."""
    if as_json:
        print_json({"version": version()})
    else:
        click.echo(version())
