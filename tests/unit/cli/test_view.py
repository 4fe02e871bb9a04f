"""What a person reads of a job."""

from __future__ import annotations

import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from runner.cli.view import (
    JsonView,
    PlainView,
    TerminalView,
    job_view,
    outcome_text,
    progress_text,
    report_text,
    table_text,
)


@contextmanager
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Standard error on a terminal, and what was written to it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)

    def said() -> str:
        sys.stderr.flush()
        data = b""
        with suppress(BlockingIOError):
            while part := os.read(ours, 65536):
                data += part
        return data.decode()

    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield said
    os.close(ours)


def test_on_a_terminal_progress_is_text_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "[red]orders[/nope] \x1b]0;owned\x07"

    with _terminal(monkeypatch) as said:
        view = job_view(as_json=False, dry_run=False, detach=False)
        assert isinstance(view, TerminalView)
        with view:
            view.show(_progress(stage="data", unit="objects", done=3, total=12, detail=name))
            view.show({"event": "warning", "message": f"{name}\nsecond line"})
        text = said()

    assert "data: 3 of 12, [red]orders[/nope] \N{REPLACEMENT CHARACTER}]0;owned" in text
    assert "\x1b]0" not in text
    assert "\x07" not in text
    assert "second line" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def _progress(**fields: Any) -> dict[str, Any]:
    defaults = {
        "event": "progress",
        "stage": "dump",
        "done": 0,
        "total": None,
        "unit": "bytes",
        "detail": "",
        "counters": {},
    }
    return defaults | fields


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "dump"),
        ({"done": 1536}, "dump: 1.5 KiB"),
        ({"counters": {"plainBytes": 2048}}, "dump: 2.0 KiB"),
        ({"done": 512, "total": 1024}, "dump: 512 B of 1.0 KiB (50 %)"),
        ({"done": 4096, "total": 1024}, "dump: 4.0 KiB of 1.0 KiB (100 %)"),
        (
            {"counters": {"plainBytes": 1024, "totalBytes": 4096}},
            "dump: 1.0 KiB of 4.0 KiB (25 %)",
        ),
        (
            {"done": 1024, "counters": {"s3": 100, "gcs": 2048}},
            "dump: 1.0 KiB | s3 100 B, gcs 2.0 KiB",
        ),
        ({"unit": "objects", "done": 3}, "dump"),
        (
            {"unit": "objects", "done": 3, "total": 12, "detail": "orders_pkey"},
            "dump: 3 of 12, orders_pkey",
        ),
        ({"unit": "objects", "stage": "wait", "detail": "for a lock"}, "wait: for a lock"),
        ({"total": 0}, "dump"),
    ],
)
def test_progress_is_one_short_line(fields: dict[str, Any], text: str) -> None:
    assert progress_text(_progress(**fields)) == text


def _outcome(**fields: Any) -> dict[str, Any]:
    defaults = {
        "kind": "backup",
        "startedAt": "2026-11-23T10:00:00Z",
        "finishedAt": "2026-11-23T10:05:12Z",
        "success": True,
    }
    return defaults | fields


def test_a_success_says_what_how_long_how_much_and_where() -> None:
    fates = [{"name": "s3", "ok": True, "storedBytes": 2048}, {"name": "gcs", "ok": True}]

    text = outcome_text(_outcome(backupId="x", plainBytes=1024**3, fates=fates))

    assert text.splitlines() == [
        "backup x succeeded in 5 min 12 s, 1.0 GiB of data",
        "  s3: ok: 2.0 KiB",
        "  gcs: ok",
    ]


def test_a_failure_says_why_and_where() -> None:
    fates = [{"name": "s3", "ok": False, "reason": "AccessDenied", "message": "add a policy"}]

    text = outcome_text(_outcome(success=False, message="1 of 2 locations", fates=fates))

    assert text.splitlines() == [
        "backup failed after 5 min 12 s: 1 of 2 locations",
        "  s3: AccessDenied: add a policy",
    ]


def test_a_dry_run_says_that_nothing_was_changed() -> None:
    assert "nothing was changed" in outcome_text(_outcome(kind="restore"), dry_run=True)
    assert "failed" in outcome_text(_outcome(success=False), dry_run=True)


def test_a_tables_columns_are_aligned() -> None:
    assert table_text(["ID", "AGE"], [["x", "1 d"], ["longer", "2"]]).splitlines() == [
        "ID      AGE",
        "x       1 d",
        "longer  2",
    ]


def test_a_report_shows_lists_and_says_when_it_is_empty() -> None:
    rows = [{"id": "a", "verdict": "keep", "reasons": ["newest", "last 2"]}]

    assert report_text("one", rows) == "one:\n  a  keep  newest; last 2"
    assert report_text("one", []) == "one: nothing"


def test_plain_lines_tell_each_stage_once_and_go_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainView(dry_run=False, detach=False)
    with view:
        for done in range(100):
            view.show(_progress(done=done))
        view.show(_progress(stage="index"))
        view.show({"event": "started", "kind": "backup", "backupId": "x"})
        view.show({"event": "warning", "message": "w"})
        view.show({"event": "waiting", "message": ""})
        view.show({"event": "of a newer runner"})

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["dump", "index", "backup x started", "warning: w"]


def test_the_result_goes_to_stdout_and_a_failure_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = PlainView(dry_run=False, detach=False)

    view.show({"event": "outcome", "exitCode": 0, "outcome": _outcome()})
    assert capsys.readouterr().out.startswith("backup succeeded")

    view.show({"event": "outcome", "exitCode": 75, "outcome": _outcome(success=False)})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("backup failed")


def test_json_is_every_event_a_line_but_the_runners_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = JsonView()
    with view:
        view.show({"event": "accepted"})
        view.show({"event": "inspection", "inspection": {}})
        view.show({"event": "outcome", "exitCode": 0, "outcome": _outcome()})
        view.interrupted(goes_on=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["accepted", "outcome", "interrupted"]
    assert (lines[-1]["reason"], lines[-1]["exitCode"]) == ("Cancelled", 130)


@pytest.mark.parametrize(
    ("goes_on", "said"),
    [
        (True, "interrupted; the job in the runner goes on: see `runner status`, `runner cancel`"),
        (False, "interrupted before the job began"),
    ],
)
def test_who_interrupts_is_told_what_becomes_of_the_job(
    capsys: pytest.CaptureFixture[str], *, goes_on: bool, said: str
) -> None:
    PlainView(dry_run=False, detach=False).interrupted(goes_on=goes_on)

    assert capsys.readouterr().err == said + "\n"
