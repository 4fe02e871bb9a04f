"""With --json standard output is JSON, of every verb, when it works and when it does not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from controller.api.version import version
from runner.cli.main import _VERBS
from tests.integration.jobs.commands import Done
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import CLUSTER, World

#: Verbs that run a job: a line for each event. The others answer in one document.
_JOBS = {"backup-now", "restore", "verify", "prune"}
_ID = "2026-11-23T02-00-00Z-abcd"
_NEEDS_ID = {"show": [_ID], "unpack": [_ID, "--to", "out"], "restore": ["--name", _ID]}


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _assert_says_why(done: Done, event: str, reason: str) -> None:
    """The one form of an error: the last line of standard output."""
    last = _lines(done.out)[-1]
    assert last["event"] == event
    assert last["reason"] == reason
    assert last["exitCode"] == done.code != 0
    assert last["message"]


def test_every_verb_that_works_answers_in_json(make_world: MakeWorld) -> None:
    world = make_world("folder")
    backup_id = world.back_up()
    new = f"{world.database}_new"

    def document(*argv: str) -> Any:
        return world.cli(*argv, "--json").must(0).json()

    def outcome(*argv: str) -> Any:
        return world.cli(*argv, "--json").must(0).outcome()

    checks: dict[str, Callable[[], object]] = {
        "backup-now": lambda: outcome("backup-now")["success"],
        "restore": lambda: outcome("restore", "--name", backup_id, "--database", new)["success"],
        "verify": lambda: outcome("verify", "--all")["success"],
        "prune": lambda: outcome("prune")["success"],
        "list": lambda: document("list")[0]["id"] == backup_id,
        "show": lambda: document("show", backup_id)["folder"]["id"] == backup_id,
        "unpack": lambda: _unpacked(world, document, backup_id),
        "doctor": lambda: all(check["ok"] for check in document("doctor")),
        "adopt": lambda: (
            document("adopt")
            == [{"location": "folder", "formerCluster": CLUSTER, "takenOver": False}]
        ),
        "version": lambda: _is_told_everywhere(world, document("version")["version"]),
        "run": lambda: _served(world),
        "status": lambda: _beside_a_runner(world, lambda: document("status")["name"] == "shop"),
        "cancel": lambda: _beside_a_runner(
            world, lambda: document("cancel") == {"wasRunning": False}
        ),
    }

    assert set(checks) == set(_VERBS)
    for verb, check in checks.items():
        assert check(), verb


def _unpacked(world: World, document: Callable[..., Any], backup_id: str) -> bool:
    to = world.folder / "unpacked"
    answer = document("unpack", backup_id, "--to", str(to))
    assert (answer["id"], answer["location"]) == (backup_id, "folder")
    return sorted(answer["files"]) == sorted(map(str, to.iterdir())) != []


def _served(world: World) -> bool:
    """The log is JSON: `runner run` prints nothing else."""
    with world.started("run", "--json") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0, line + rest
    return bool(_lines(line + rest))


def _is_told_everywhere(world: World, told: str) -> bool:
    with world.runner() as runner:
        return told == version() and runner.metric("build_info", version=told) == 1


def _beside_a_runner(world: World, check: Callable[[], bool]) -> bool:
    with world.runner():
        world.wait_idle()
        return check()


@pytest.mark.parametrize("verb", [verb for verb in _VERBS if verb != "version"])
def test_every_verb_says_in_one_form_why_it_did_not_begin(make_world: MakeWorld, verb: str) -> None:
    """Without a configuration, without a runner, and with an option that there is not."""
    world = make_world("folder")
    nowhere = {"CONFIG_DIR": str(world.folder / "nowhere")}
    asks_runner = verb in {"status", "cancel"}

    done = world.cli(verb, *_NEEDS_ID.get(verb, []), "--json", **nowhere)
    if verb == "doctor":  # a check that fails is what it was asked for
        (row,) = done.must(64).json()
        assert (row["ok"], row["reason"], row["exitCode"]) == (False, "UsageError", 64)
    else:
        _assert_says_why(
            done.must(75 if asks_runner else 64),
            "error",
            "RunnerNotRunning" if asks_runner else "UsageError",
        )
    misused = world.cli(verb, "--json", "--dance").must(64)
    assert len(_lines(misused.out)) == 1
    _assert_says_why(misused, "error", "UsageError")
    assert misused.err == ""


@pytest.mark.parametrize("verb", sorted(_JOBS))
def test_a_job_that_fails_ends_with_an_outcome_of_the_same_form(
    make_world: MakeWorld, verb: str
) -> None:
    world = make_world("folder")
    world.configure(locations={"folder": {"path": str(world.folder / "nowhere")}})

    done = world.cli(verb, *_NEEDS_ID.get(verb, []), "--json")

    assert done.code in {75, 78}
    reason = _lines(done.out)[-1]["outcome"]["reason"]
    _assert_says_why(done, "outcome", reason)


def test_a_location_that_is_down_is_told_beside_the_json(make_world: MakeWorld) -> None:
    world = make_world("folder", "folder")
    backup_id = world.back_up()
    world.configure(locations={"folder": {"path": str(world.folder / "nowhere")}})

    done = world.cli("list", "--json").must(0)

    assert done.json()[0]["id"] == backup_id
    assert done.err.startswith("warning: ")
