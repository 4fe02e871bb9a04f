"""Configurations that are wrong: one error with everything, and nothing started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import World

_MANY = {
    "spec.timeZone": ("timeZone", "Mars/Olympus"),
    "spec.backupCron": ("backupCron", "61 * * * *"),
    "spec.jitterSeconds": ("jitterSeconds", -1),
    "spec.timeout": ("timeout", "soon"),
    "spec.compression.level": ("compression", {"level": 99}),
    "spec.retention.keepDaily": ("retention", {"keepDaily": 0}),
    "spec.runner.parallelism": ("runner", {"parallelism": "many"}),
    "spec.suspend": ("suspend", "no"),
    "spec.verification.every": ("verification", {"every": "0s"}),
}


def _nothing_started(world: World) -> None:
    assert not world.processes()
    assert list((world.folder / "run").iterdir()) == []
    assert all(place.all_keys() == [] for place in world.places)


@pytest.mark.parametrize("verb", [("run",), ("backup-now",), ("restore", "--at", "now")])
def test_every_problem_of_every_file_is_told_at_once(
    make_world: MakeWorld, verb: tuple[str, ...]
) -> None:
    world = make_world("folder", "s3")
    world.configure(
        **dict(_MANY.values()),
        database={"port": 70000},
        locations={
            "s3": {"storageBucket": "x", "storageEndpoint": "https://host/path"},
            "folder": {"path": "relative/path"},
        },
        storage={"minSuccessfulLocations": 9},
    )
    (world.config / "cluster").write_text("not an id!\n")

    done = world.cli(*verb).must(78)

    paths = [*_MANY, "spec.postgres.port", "storageBucket", "storageEndpoint", "path", "cluster"]
    missing = [path for path in paths if path not in done.err]
    assert not missing, f"not told about {missing}: {done.err}"
    assert "spec.retention.keepDaily: must be" in done.err
    assert done.seconds < 10
    _nothing_started(world)


def test_unknown_keys_are_warned_about_by_name_and_stop_nothing(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure(
        retentoin={"keepDaily": 7},
        database={"databse": "typo"},
        locations={"folder": {"storagePreffix": "x"}},
        storage={"backupLocation": []},
    )

    done = world.cli("backup-now").must(0, "succeeded")

    for name in ("spec.retentoin", "spec.postgres.databse", "storagePreffix", "backupLocation"):
        assert f"{name}" in done.err, done.err
    assert done.err.count("warning") >= 4


@pytest.mark.parametrize("verb", ["backup-now", "list", "doctor", "run"])
def test_unknown_keys_are_named_also_where_something_is_wrong(
    make_world: MakeWorld, verb: str
) -> None:
    world = make_world("folder")
    world.configure(retentoin={"keepDaily": 7}, timeout="-1h")

    done = world.cli(verb).must(78, "spec.timeout")

    assert "warning: spec.retentoin: unknown field, ignored" in done.err
    _nothing_started(world)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("backup.yaml", "", ["backup.yaml"]),
        ("backup.yaml", "[1, 2", ["backup.yaml", "line"]),
        ("backup.yaml", "just text", ["backup.yaml"]),
        ("backup.yaml", "kind: Pod\napiVersion: v1\n", ["DatabaseBackup"]),
        ("backup.yaml", "a: &x [1]\nb: *x\n", ["aliases"]),
        (
            "backup.yaml",
            "a: !!python/object/apply:os.mkdir [pwned]\n",
            ["backup.yaml"],
        ),
        ("storageSpec.yaml", None, ["storageSpec.yaml", "no such file"]),
        ("storageSpec.yaml", "backupLocations: []\n", ["backupLocations"]),
        ("storageSpec.yaml", "\x00\x01", ["storageSpec.yaml"]),
        ("storageSpec.yaml", "x: " + "y" * 70_000_000, ["storageSpec.yaml", "larger"]),
    ],
    ids=[
        "empty",
        "cut off",
        "text",
        "other kind",
        "alias",
        "tag",
        "absent",
        "none",
        "binary",
        "huge",
    ],
)
def test_files_that_are_no_configuration(
    make_world: MakeWorld, file: str, content: str | None, words: list[str]
) -> None:
    world = make_world("folder")
    if content is None:
        (world.config / file).unlink()
    else:
        (world.config / file).write_text(content)

    world.cli("backup-now").must(78, *words)

    _nothing_started(world)
    assert not Path("pwned").exists()


def test_command_lines_that_make_no_sense(make_world: MakeWorld) -> None:
    world = make_world("folder")

    world.cli("frobnicate").must(64, "frobnicate")
    world.cli("restore", "--frobnicate").must(64, "--frobnicate")
    world.cli("list", CONFIG_DIR="/nonexistent").must(64, "/nonexistent", "--config")
    world.cli("verify", "not-an-id").must(64, "not-an-id")
    world.cli("run", SHUTDOWN_GRACE="soon").must(78, "SHUTDOWN_GRACE")
    assert world.cli("run", LISTEN="nowhere:port").code in {64, 78}
    assert not world.processes()
    # A slip of the fingers is no failed job that somebody is called for.
    with world.runner() as runner:
        world.cli("verify", "not-an-id").must(64, "not-an-id")
        world.cli("restore", "--name", "not-an-id").must(64, "not-an-id")
        assert runner.metric("last_job_success", job_type="verify") in {None, 1}
        assert runner.metric("last_job_success", job_type="restore") in {None, 1}


def test_a_running_runner_survives_a_configuration_that_became_wrong(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder")
    good = (world.config / "backup.yaml").read_text()
    with world.runner() as runner:
        world.back_up()
        broken = json.loads(good)
        broken["spec"]["retention"] = {"keepDaily": 0}
        (world.config / "backup.yaml").write_text(json.dumps(broken))

        world.cli("backup-now").must(78, "spec.retention.keepDaily")
        assert runner.process.poll() is None
        (world.config / "backup.yaml").write_text(good)
        world.back_up()
    assert len(world.backups()) == 2
