"""Shows a job's events: JSON lines, plain lines, or progress on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import click
import orjson

from controller.api.errors import Cancelled
from runner.cli.context import failure, say
from runner.jobs.events import Event
from runner.wording import age_text, bytes_text, printable

#: Between two plain progress lines: an idle `kubectl exec` is cut by some proxies.
_PLAIN_EVERY_S = 15.0
_WHY = ("reason", "message")
_GOES_ON = "interrupted; the job in the runner goes on: see `runner status`, `runner cancel`"
_NOT_BEGUN = "interrupted before the job began"


class JobView(AbstractContextManager["JobView"], Protocol):
    """Shows one job."""

    def show(self, event: Event) -> None: ...

    def interrupted(self, *, goes_on: bool) -> None:
        """Nobody watches any more; `goes_on`: a job in the runner, which does not mind."""
        ...


def job_view(*, as_json: bool, dry_run: bool, detach: bool) -> JobView:
    """The view that fits where the output goes."""
    if as_json:
        return JsonView()
    view = TerminalView if sys.stderr.isatty() else PlainView
    return view(dry_run=dry_run, detach=detach)


class JsonView:
    """Every event as a line of JSON; the last one is the outcome.

    One that is no success says why where every other error with --json does.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: Event) -> None:
        if event["event"] == "inspection":  # the runner's own
            return
        if event["event"] == "outcome" and not event["outcome"].get("success"):
            event = {**event, **{key: event["outcome"].get(key, "") for key in _WHY}}
        click.echo(orjson.dumps(event).decode())

    def interrupted(self, *, goes_on: bool) -> None:
        error = Cancelled(_GOES_ON if goes_on else _NOT_BEGUN)
        event = {"event": "interrupted", **failure(error)}
        click.echo(orjson.dumps(event).decode())


class PlainView:
    """A line when something happens, and one now and then while it goes on."""

    def __init__(self, *, dry_run: bool, detach: bool) -> None:
        self._dry_run = dry_run
        self._detach = detach
        self._stages: set[str] = set()
        self._due_mono = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        kind = event["event"]
        if kind == "progress":
            self._progress(event)
        elif kind == "started":
            self._say(f"{event['kind']} {event.get('backupId', '')} started")
        elif kind == "accepted" and self._detach:
            self._say("started; `runner status` shows how it goes")
        elif kind == "waiting":
            self._wait(event["message"])
        elif kind == "warning":
            self._say(f"warning: {event['message']}")
        elif kind == "report":
            self._report(event["title"], event["rows"])
        elif kind == "outcome":
            self._outcome(event["outcome"])

    def interrupted(self, *, goes_on: bool) -> None:
        self._say(_GOES_ON if goes_on else _NOT_BEGUN)

    def _wait(self, message: str) -> None:
        now_mono = time.monotonic()
        if message and now_mono >= self._due_mono:
            self._due_mono = now_mono + _PLAIN_EVERY_S
            self._say(f"waiting: {message}")

    def _progress(self, event: Event) -> None:
        now_mono = time.monotonic()
        if event["stage"] in self._stages and now_mono < self._due_mono:
            return
        self._stages.add(event["stage"])
        self._due_mono = now_mono + _PLAIN_EVERY_S
        self._say(progress_text(event))

    def _report(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        say(report_text(title, rows))

    def _outcome(self, outcome: Mapping[str, Any]) -> None:
        say(outcome_text(outcome, dry_run=self._dry_run), err=not outcome.get("success"))

    def _say(self, text: str) -> None:
        say(text, err=True)


class TerminalView(PlainView):
    """One line that changes in place while the job runs."""

    def __init__(self, *, dry_run: bool, detach: bool) -> None:
        super().__init__(dry_run=dry_run, detach=detach)
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
        from rich.text import Text  # noqa: PLC0415 - as above

        self._text = Text  # what is told is no markup: a table may be named [red]
        self._status = Console(stderr=True).status("starting")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def _progress(self, event: Event) -> None:
        self._status.update(self._text(printable(progress_text(event))))

    def _report(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._status.stop()
        super()._report(title, rows)
        self._status.start()

    def _say(self, text: str) -> None:
        # Else the text would go on where the line that changes ends.
        self._status.stop()
        super()._say(text)
        self._status.start()

    def _outcome(self, outcome: Mapping[str, Any]) -> None:
        self._status.stop()
        super()._outcome(outcome)


def progress_text(event: Event) -> str:
    """``dump: 1.2 GiB | s3 410.0 MiB, gcs 402.0 MiB``."""
    counters = dict(event.get("counters") or {})
    plain, total = counters.pop("plainBytes", 0), counters.pop("totalBytes", 0)
    done, of = event["done"], event["total"]
    if event["unit"] == "bytes":
        # What a job counts by itself may include what it read twice.
        done, of = (done, of) if of else (max(done, plain), total)
        amount = bytes_text(done) if done else ""
        if amount and of:
            amount += f" of {bytes_text(of)} ({min(100, 100 * done // of)} %)"
    else:
        amount = f"{done} of {of}" if of and of > 1 else ""
    said = [word for word in (amount, event.get("detail")) if word]
    text = ": ".join([event["stage"], ", ".join(said)]) if said else event["stage"]
    stored = ""
    if any(counters.values()):
        stored = ", ".join(f"{name} {bytes_text(count)}" for name, count in counters.items())
    return f"{text} | {stored}" if stored else text


def report_text(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A small table: its title, then aligned columns; a list's items follow each other."""
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return "\n".join([f"{title}:", _aligned(cells, "  ")]) if cells else f"{title}: nothing"


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a head, its columns aligned."""
    return _aligned([head, *rows], "")


def _aligned(rows: Sequence[Sequence[str]], indent: str) -> str:
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def outcome_text(outcome: Mapping[str, Any], *, dry_run: bool = False) -> str:
    """What happened, in a line, and a line per location."""
    kind = outcome["kind"]
    took = age_text(_time(outcome["finishedAt"]) - _time(outcome["startedAt"]))
    name = f" {outcome['backupId']}" if outcome.get("backupId") else ""
    if outcome.get("success") and not dry_run:
        size = f", {bytes_text(outcome['plainBytes'])} of data" if outcome.get("plainBytes") else ""
        lines = [f"{kind}{name} succeeded in {took}{size}"]
    elif outcome.get("success"):
        lines = [f"{kind}{name} would go ahead; nothing was changed"]
    else:
        lines = [f"{kind}{name} failed after {took}: {outcome.get('message', '')}"]
    for fate in outcome.get("fates", ()):
        if fate.get("ok") is None:
            lines.append(f"  {fate['name']}: unknown: {fate.get('reason')}: {fate.get('message')}")
        elif fate["ok"]:
            stored = f": {bytes_text(fate['storedBytes'])}" if fate.get("storedBytes") else ""
            lines.append(f"  {fate['name']}: ok{stored}")
        else:
            lines.append(f"  {fate['name']}: {fate.get('reason')}: {fate.get('message')}")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return str(value)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
