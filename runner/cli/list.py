"""`runner list`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from controller.api.errors import BackupError
from runner.cli.context import CliContext, json_option, location_option, print_json, say

if TYPE_CHECKING:
    from runner.repository.index import Summary


@click.command()
@location_option
@json_option
@click.pass_obj
def command(context: CliContext, *, location: str, as_json: bool) -> None:
    """List the stored backups, the oldest first, and which locations hold them."""
    from runner.locations import ANSWER_S, ask_each  # noqa: PLC0415 - --help needs none of it

    backups: dict[str, Summary] = {}
    holders: dict[str, list[str]] = {}
    problems: list[BackupError] = []
    with context.locations(location) as locations:
        answers = ask_each(locations.opened, lambda one: one.catalogue.list(), limit_s=ANSWER_S)
        trusted = {one.name: one.is_trusted for one in locations.opened}
        for name, listing in answers.items():
            if isinstance(listing, BackupError):
                problems.append(listing)
                say(f"warning: {listing}", err=True)
                continue
            for unreadable in listing.unreadable:
                say(
                    f"warning: {name}: {unreadable.id} is not readable: {unreadable.problem}",
                    err=True,
                )
            for backup in listing.backups:
                backups[backup.id] = backup
                sealed = "" if trusted[name](backup.encryption) else " (NOT ENCRYPTED)"
                holders.setdefault(backup.id, []).append(name + sealed)
        if problems and len(problems) == len(locations.opened):
            raise problems[0]
    ordered = sorted(backups.values(), key=lambda one: (one.coverage_end, one.id))
    if as_json:
        rows = [_row(backup, holders[backup.id]) for backup in ordered]
        print_json(rows)
    else:
        _print(ordered, holders)


def _row(backup: Summary, held_by: list[str]) -> dict[str, object]:
    return {
        "id": backup.id,
        "stateOf": backup.coverage_end,
        "backTo": backup.coverage_start,
        "chain": backup.layer.chain if backup.layer else None,
        "startedAt": backup.started_at,
        "finishedAt": backup.finished_at,
        "engine": backup.engine,
        "serverVersion": backup.server_version,
        "database": backup.database,
        "plainBytes": backup.plain_bytes,
        "storedBytes": backup.stored_bytes,
        "encryption": backup.encryption.value,
        "locations": held_by,
    }


def _print(ordered: list[Summary], holders: dict[str, list[str]]) -> None:
    from runner.cli.view import table_text  # noqa: PLC0415 - --help needs none of it
    from runner.wording import age_text, bytes_text  # noqa: PLC0415 - as above

    if not ordered:
        say("there is no backup yet")
        return
    now = datetime.now(UTC)
    rows = [
        [
            backup.id,
            _state_of(backup),
            age_text(now - backup.coverage_end),
            bytes_text(backup.plain_bytes),
            bytes_text(backup.stored_bytes),
            ", ".join(holders[backup.id]),
        ]
        for backup in ordered
    ]
    say(table_text(["ID", "STATE OF", "AGE", "DATA", "STORED", "LOCATIONS"], rows))


def _state_of(backup: Summary) -> str:
    """Its instant; of a layer with history also how far back every other one can be had."""
    from runner.wording import time_text  # noqa: PLC0415 - --help needs none of it

    end = time_text(backup.coverage_end.replace(microsecond=0))
    if backup.coverage_start == backup.coverage_end:
        return end
    return f"{end} back to {time_text(backup.coverage_start.replace(microsecond=0))}"
