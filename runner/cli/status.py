"""`runner status`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from runner.cli.context import CliContext, json_option, print_json, say


@click.command()
@json_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool) -> None:
    """Show what the runner does now, did last and will do next."""
    event = context.control().status()
    if as_json:
        print_json(event)
        return
    for line in _lines(event, datetime.now(UTC)):
        say(line)


def _lines(event: Mapping[str, Any], now: datetime) -> list[str]:
    from runner.cli.view import progress_text  # noqa: PLC0415 - --help needs none of it
    from runner.wording import count_text  # noqa: PLC0415 - as above

    status = event["status"]
    lines = [f"{event['namespace']}/{event['name']}"]
    if event["problem"]:
        first, *others = event["problem"].splitlines()
        lines.append(f"  problem       {first}")
        lines += [f"                {line}" for line in others]
    lines += [f"  warning       {warning}" for warning in event["warnings"]]
    lines.append(f"  now           {event['running'] or 'idle'}")
    progress = event.get("progress")
    if progress and progress.get("event") == "progress":
        lines.append(f"                {progress_text(progress)}")
    lines.append(f"  next backup   {_moment(event['nextBackupAt'], now) or 'none: suspended'}")
    if attempt := status.get("lastAttempt"):
        lines.append(f"  last attempt  {_moment(attempt['startedAt'], now)}, {_end(attempt)}")
    if restore := status.get("lastRestore"):
        into = f", into {restore['database']}" if restore.get("database") else ""
        at = _moment(restore["startedAt"], now)
        lines.append(f"  last restore  {at}{into}, {_end(restore)}")
    if newest := status.get("lastBackup"):
        lines.append(f"  last backup   {newest['id']} in {', '.join(newest['locations'])}")
    lines.append(f"  stored        {count_text(status.get('storedBackups', 0), 'backup')}")
    if status.get("recoverableFrom"):
        lines.append(f"  restorable    from {_moment(status['recoverableFrom'], now)}")
    for location in status.get("locations", ()):
        health = "ok" if location["healthy"] else f"{location['reason']}: {location['message']}"
        stored = count_text(location.get("storedBackups", 0), "backup")
        lines.append(f"  {location['name']}: {health}, {stored}")
    return lines


def _end(job: Mapping[str, Any]) -> str:
    end = {True: "succeeded", False: "failed", None: "runs"}[job.get("succeeded")]
    return f"{end}: {job['message']}" if job.get("message") else end


def _moment(text: str | None, now: datetime) -> str:
    from runner.wording import age_text, time_text  # noqa: PLC0415 - as above

    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    span = f"in {age_text(moment - now)}" if moment > now else f"{age_text(now - moment)} ago"
    return f"{time_text(moment)} ({span})"
