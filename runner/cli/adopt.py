"""`runner adopt`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from controller.api.errors import FormatError, InvalidSpec, Problem, UsageError
from runner.cli.context import (
    CliContext,
    json_option,
    location_option,
    no_wait_option,
    print_json,
    say,
)
from runner.wording import printable

if TYPE_CHECKING:
    from runner.locations import Location

_OURS = "is this cluster's already"


@click.command()
@location_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@no_wait_option
@json_option
@click.pass_obj
def command(context: CliContext, *, location: str, yes: bool, no_wait: bool, as_json: bool) -> None:
    """Take over backups that another cluster wrote.

    From then on this cluster writes and prunes there. If the other cluster
    still runs, its backups fail: two must not prune each other's past.
    """
    from runner.cli.turn import acting  # noqa: PLC0415 - --help needs none of it

    config = context.load()
    if not config.cluster_id:
        raise InvalidSpec([Problem("cluster", "is missing: adopt for which cluster?")])
    rows = []
    with (
        acting(context, "an adopt", wait=not no_wait),
        context.locations(location) as locations,
    ):
        for one in locations.opened:
            former = _owner(one)
            is_taken = former != config.cluster_id
            if is_taken:
                if not yes:
                    _confirm(f"{one.name}: take over from cluster {former or 'nobody'}?")
                one.catalogue.adopt(config.cluster_id)
            rows.append({"location": one.name, "formerCluster": former, "takenOver": is_taken})
            if not as_json:
                done = f"taken over from {former or 'nobody'}" if is_taken else _OURS
                say(f"{one.name}: {done}")
    if as_json:
        print_json(rows)


def _owner(location: Location) -> str | None:
    try:
        owner = location.catalogue.owner()
    except FormatError:  # unreadable: nobody can be asked, a person decides
        return None
    return owner.cluster_id if owner else None


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("adopt without a terminal to ask on needs --yes")
    click.confirm(printable(question), abort=True, err=True)
