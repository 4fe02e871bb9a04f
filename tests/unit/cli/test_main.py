"""The command line as a person and a script meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.api.errors import UsageError
from controller.api.version import version
from runner.cli.main import _ALIASES, _VERBS, main
from runner.cli.restore import parse_at

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
#: Of the verbs that need one argument, a valid one.
_ARGUMENTS = {"show": ["2026-11-23T02-00-00Z-abcd"], "restore": ["--at", "now"]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, no runner."""
    monkeypatch.setenv("CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("CONTROL_DIR", str(tmp_path / "run"))


def _exit(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    code = ended.value.code
    assert isinstance(code, int)
    return code


# -- help ---------------------------------------------------------------------------------


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit("--help") == 0

    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in _VERBS)
    assert "CONFIG_DIR" in text
    assert "Exit codes: 0 done; 64" in text


@pytest.mark.parametrize("verb", [*_VERBS, *_ALIASES])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(verb, "--help") == 0

    text = capsys.readouterr().out
    assert text.startswith(f"Usage: runner {verb}")
    assert len(text.splitlines()) > 4


def test_help_imports_no_sdk_and_no_driver() -> None:
    program = (
        "import sys; from runner.cli.main import _VERBS, _run;"
        "[_run([verb, '--help']) for verb in _VERBS];"
        "heavy = {'boto3', 'minio', 'google.cloud.storage', 'psycopg', 'cryptography', 'rich'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_version_is_told(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(argument) == 0
    assert capsys.readouterr().out == f"{version()}\n"


# -- usage errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["--dance"],
        ["list", "--dance"],
        ["show"],
        ["unpack", "2026-11-23T02-00-00Z-abcd"],
        ["restore"],
        ["restore", "--at", "now", "--name", "2026-11-23T02-00-00Z-abcd"],
        ["restore", "2026-11-23T02:00:00Z", "--at", "now"],
        ["restore", "2026-11-23T02:00:00Z", "--name", "2026-11-23T02-00-00Z-abcd"],
        ["restore", "--mode", "dance", "now"],
        ["restore", "--at", "yesterday"],
        ["restore", "--at", "2026-11-23T02:00:00"],
        ["restore", "--at", "now", "--replace"],
        ["backup-now", "now"],
        ["prune", "--dry-run=no"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_exit_code_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit(*arguments) == 64

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


def test_an_unknown_verb_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    _exit("dance")

    assert "No such command 'dance'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["list", "--json"], 64, "UsageError"),
        (["show", "--json"], 64, "UsageError"),
        (["restore", "--json"], 64, "UsageError"),
        (["prune", "--json", "--dance"], 64, "UsageError"),
        (["status", "--json"], 75, "RunnerNotRunning"),
        (["backup-now", "--json", "--detach"], 75, "RunnerNotRunning"),
    ],
)
def test_with_json_an_error_is_one_line_of_json(
    arguments: list[str], code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit(*arguments) == code

    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["reason"]) == ("error", reason)
    assert event["message"]


def test_without_json_an_error_goes_to_stderr_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()

    assert _exit("list") == 78

    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first == "error: backup.yaml: there is no such file"
    assert second == "       storageSpec.yaml: there is no such file"


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_without_a_runner_there_is_nobody_to_ask(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit(verb) == 75
    assert "no runner listens" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", ["run", "list", "show", "verify", "prune", "adopt", "backup-now", "restore"]
)
def test_without_a_configuration_the_option_is_named(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit(verb, *_ARGUMENTS.get(verb, [])) == 64
    assert "--config or CONFIG_DIR" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_looked_at_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is the folder that this user may not enter; who runs the tests may be root."""
    monkeypatch.setenv("CONFIG_DIR", "/" + "x" * 300)

    assert _exit("list") == 64
    assert "xxx cannot be read: File name too long" in capsys.readouterr().err


def test_a_defect_is_exit_code_70_with_its_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("runner.cli.context.CliContext.control", fail)

    assert _exit("status") == 70
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err


def test_interrupted_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.context.CliContext.control", interrupt)

    assert _exit("status") == 130


def test_who_reads_no_further_gets_no_complaint() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "runner.cli.main", "list", "--help"],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.stderr == b""
    assert done.returncode == 141


# -- times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2026-11-23T02:00:00Z", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("2026-11-23T02:00:00+02:00", datetime(2026, 11, 23, 0, tzinfo=UTC)),
        ("2026-11-23T02:00:00-0930", datetime(2026, 11, 23, 11, 30, tzinfo=UTC)),
        ("2026-11-23 02:00Z", datetime(2026, 11, 23, 2, tzinfo=UTC)),
        ("2026-11-23T02:00:00.25Z", datetime(2026, 11, 23, 2, 0, 0, 250_000, tzinfo=UTC)),
        ("2099-01-01T00:00:00Z", datetime(2099, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_with_an_offset_is_taken(text: str, expected: datetime) -> None:
    assert parse_at(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "write it as 2026-11-23T10:00:00Z"),
        ("", "is not a time"),
        ("1763860000", "is not a time"),
        ("2026-11-23T25:00:00Z", "is not a time"),
        ("2026-02-30T00:00:00Z", "is not a time"),
        ("2026-11-23T02:00:00", "write 2026-11-23T02:00:00Z for UTC"),
        ("2026-11-23", "write 2026-11-23T00:00:00Z for UTC"),
        ("0001-01-01T00:00:00+23:59", "beyond all bounds"),
        ("9999-12-31T23:59:59-23:59", "beyond all bounds"),
    ],
)
def test_any_other_time_is_refused_with_the_way_to_write_it(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_at(text, NOW)

    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["2026-11-23", "2026-11-23T02:00:00", "2026-11-23 02:00"])
def test_what_is_proposed_is_accepted(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_at(text, NOW)

    proposals = str(refused.value).partition("write ")[2].replace(",", "").split()
    times = [word for word in proposals if word.startswith("2026")]
    assert len(times) == 2
    for proposal in times:
        parse_at(proposal, NOW)
