"""The main job: one backup into several kinds of places, and every way to look at it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.integration.jobs.commands import eventually
from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.world import DATA, PASSPHRASE, World, fingerprint

SEALED = {"encryptionPass": {"value": PASSPHRASE}}


def _drop(world: World) -> None:
    with world.server.connect() as connection:
        connection.execute(f'DROP DATABASE "{world.database}" WITH (FORCE)')


def test_one_dump_fills_every_kind_of_place_and_comes_back_from_each(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder", "s3", "minio", "gcs")
    world.configure(locations={"s3": SEALED, "gcs": SEALED})
    before = fingerprint(world.server, world.database)

    outcome = world.cli("backup-now", "--json").must(0).outcome()

    backup_id = outcome["backupId"]
    assert {fate["name"]: fate["ok"] for fate in outcome["fates"]} == dict.fromkeys(
        ["folder", "s3", "minio", "gcs"], True
    )
    assert all(fate["storedBytes"] > 0 for fate in outcome["fates"])
    for place in world.places:
        assert world.backups(place) == [backup_id]
        sealed = place.name in {"s3", "gcs"}
        keys = world.data_of(place, backup_id)
        assert (f"{DATA}{backup_id}/key.age" in keys) == sealed
        for key in keys:
            head = place.read(key)[:21]
            assert (head == b"age-encryption.org/v1") == sealed, key
    _drop(world)
    for place in world.places:
        new = f"{world.database}_{place.name}"
        done = world.cli(
            "restore", "--at", "now", "--from", place.name, "--database", new, "--json"
        )
        assert [fate["name"] for fate in done.must(0).outcome()["fates"]] == [place.name]
        assert fingerprint(world.server, new) == before


def test_the_mission_s_class_is_an_s3_and_a_gcs_bucket(make_world: MakeWorld) -> None:
    world = make_world("s3", "gcs")
    world.configure(
        locations={"s3": SEALED, "gcs": SEALED | {"storagePrefix": "team-a/backups"}},
        backupCron="0 3 * * *",
        suspend=False,
        retention={"keepDaily": 7},
    )
    before = fingerprint(world.server, world.database)

    with world.runner() as runner:
        world.cli(program="backup-now").must(0)
        _drop(world)
        world.cli("--at", "now", program="restore").must(0)
        assert runner.metric("last_job_success", job_type="backup") == 1
        assert runner.metric("last_job_success", job_type="restore") == 1
        assert runner.metric("stored_backup_count") == len(world.backups())
        for name in ("s3", "gcs"):
            assert runner.metric("location_healthy", location=name) == 1
            assert runner.metric("location_last_backup_success", location=name) == 1
            assert (runner.metric("location_stored_bytes", location=name) or 0) > 0
        assert (runner.metric("next_scheduled_backup") or 0) > datetime.now(UTC).timestamp()

    assert fingerprint(world.server, world.database) == before
    assert all(key.startswith("team-a/backups/db/shop/") for key in world.place("gcs").all_keys())


def test_every_reading_verb_tells_the_same_story(make_world: MakeWorld) -> None:
    world = make_world("folder", "s3")
    world.configure(locations={"s3": SEALED})
    first = world.back_up()
    second = world.back_up()

    rows = world.cli("list", "--json").must(0).json()
    assert [row["id"] for row in rows] == [first, second]
    assert rows[0]["locations"] == ["folder", "s3"]
    assert datetime.fromisoformat(rows[0]["stateOf"]) < datetime.fromisoformat(rows[1]["stateOf"])
    world.cli("list").must(0, first, second, "folder, s3")
    assert second not in world.cli("list", "--location", "nowhere").must(64, "folder").out

    shown = world.cli("show", second, "--json").must(0).json()
    assert set(shown) == {"folder", "s3"}
    assert shown["s3"]["encryption"]["kind"] == "age"
    assert shown["folder"]["encryption"]["kind"] == "none"
    assert {stream["name"] for stream in shown["folder"]["streams"]} == {"globals", "dump"}
    world.cli("show", second).must(0, "in folder", "in s3", "tables", "pg_restore", "zstd -d")
    world.cli("show", second, "--location", "s3").must(0, "age -d", "key.age", "zstd -d")
    world.cli("show", "2020-01-01T00-00-00Z-0000").must(78, "runner list")
    world.cli("show", "../../../etc/passwd").must(64)

    world.cli("verify").must(0, "folder: ok", "s3: ok")
    outcome = world.cli("verify", "--all", "--json").must(0).outcome()
    assert [fate["ok"] for fate in outcome["fates"]] == [True, True]

    target = world.folder / "unpacked"
    printed = world.cli("unpack", second, "--to", str(target)).must(0).out.split()
    assert {Path(path).name for path in printed} == {"globals", "dump"}
    assert (target / "dump").read_bytes()[:5] == b"PGDMP"
    roles = json.loads((target / "globals").read_text())
    assert "postgres" in json.dumps(roles)

    world.cli("prune", "--dry-run").must(0, first, second, "keep")
    world.cli("doctor").must(0, "ok    database", "ok    location folder", "ok    location s3")
    checks = world.cli("doctor", "--json").must(0).json()
    assert all(check["ok"] for check in checks)
    world.assert_all_restorable()
    world.assert_no_half_backup()


def test_status_says_what_is_protected_and_what_comes_next(make_world: MakeWorld) -> None:
    world = make_world("folder", "s3")
    world.configure(backupInterval=1, suspend=False)

    world.cli("status").must(75, "no runner listens")
    with world.runner() as runner:
        backup_id = world.back_up()
        status = world.status()
        text = world.cli("status").must(0, backup_id, "next backup", "folder: ok").out
        assert runner.get("/healthz")[0] == 200
        assert runner.get("/nowhere")[0] == 404

    assert status["status"]["lastBackup"]["id"] == backup_id
    assert status["status"]["lastBackup"]["locations"] == ["folder", "s3"]
    assert status["status"]["lastAttempt"]["succeeded"] is True
    assert status["status"]["recoverableFrom"]
    next_at = datetime.fromisoformat(status["nextBackupAt"])
    assert datetime.now(UTC) < next_at <= datetime.now(UTC) + timedelta(hours=1, seconds=1)
    assert "idle" in text


def test_status_names_the_database_of_a_restore_that_named_none(make_world: MakeWorld) -> None:
    world = make_world("folder")
    backup_id = world.back_up()

    with world.runner():
        world.cli("restore", "--at", "now").must(78, "--replace")
        refused = world.status()["status"]["lastRestore"]
        world.cli("restore", "--at", "now", "--replace", "--yes").must(0)
        done = world.status()["status"]["lastRestore"]

    assert (refused["database"], refused["succeeded"]) == (world.database, False)
    assert (done["database"], done["succeeded"]) == (world.database, True)
    assert done["backupId"] == backup_id


def test_a_new_runner_knows_the_past_from_the_bucket(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure(locations={"folder": SEALED})
    backup_id = world.back_up()
    world.cli("verify").must(0)

    with world.runner() as runner:
        assert runner.metric("stored_backup_count") == 1
        started = datetime.strptime(backup_id[:20], "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
        newest = runner.metric("last_successful_backup")
        assert newest is not None
        assert int(newest) == int(started.timestamp())
        assert (runner.metric("location_last_verified_timestamp_seconds", location="folder")) > 0
        assert world.status()["status"]["lastBackup"]["id"] == backup_id


def test_a_due_backup_runs_by_itself(make_world: MakeWorld) -> None:
    """An object without any backup is due at once."""
    world = make_world("folder")
    world.configure(backupInterval=24, suspend=False)

    with world.runner() as runner:
        eventually(world.backups, say=lambda: runner.log, timeout_s=30)
        eventually(
            lambda: runner.metric("last_job_success", job_type="backup") == 1,
            say=lambda: runner.log,
        )

    world.assert_all_restorable()


def test_a_single_file_on_a_laptop_reads_and_restores_but_never_writes(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder", "s3")
    world.configure(locations={"s3": SEALED})
    before = fingerprint(world.server, world.database)
    backup_id = world.back_up()
    stock = {place.name: place.all_keys() for place in world.places}
    backup = json.loads((world.config / "backup.yaml").read_text())
    backup["spec"]["postgres"]["pass"] = {"value": world.server.password}
    storage = {
        "apiVersion": "backup.nect.com/v1",
        "kind": "DatabaseBackupStorageClass",
        "metadata": {"name": "standard"},
        "spec": json.loads((world.config / "storageSpec.yaml").read_text()),
    }
    laptop = world.folder / "laptop" / "restore.yaml"
    laptop.parent.mkdir()
    laptop.write_text(yaml.safe_dump_all([storage, backup]))

    def run(*argv: str) -> object:
        return world.cli("--config", str(laptop), *argv, CONFIG_DIR="/nonexistent")

    run("list").must(0, backup_id)
    run("show", backup_id).must(0, "pg_restore")
    run("verify").must(0)
    run("backup-now").must(78, "cluster")
    run("prune").must(78, "cluster")
    run("prune", "--dry-run").must(0, backup_id)
    run("adopt", "--yes").must(78, "cluster")
    _drop(world)
    run("restore", "--name", backup_id).must(0)

    assert fingerprint(world.server, world.database) == before
    assert {place.name: place.all_keys() for place in world.places} == stock


def test_the_go_original_s_verbs_keep_working(make_world: MakeWorld) -> None:
    world = make_world("folder")
    before = fingerprint(world.server, world.database)

    world.cli("backup").must(0)
    (backup_id,) = world.backups()
    _drop(world)
    world.cli("restore", "--mode", "name", backup_id).must(0)
    assert fingerprint(world.server, world.database) == before
    _drop(world)
    world.cli("restore", "--mode", "point-in-time", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}").must(
        0
    )
    assert fingerprint(world.server, world.database) == before
    _drop(world)
    world.cli("restore", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}").must(0)

    assert fingerprint(world.server, world.database) == before


def test_several_streams_and_the_retention_of_the_original(make_world: MakeWorld) -> None:
    """Parallel streams, labels at birth, and a version of a configuration in nanoseconds."""
    world = make_world("s3", large=True)
    world.configure(
        locations={"s3": SEALED},
        runner={"parallelism": 3},
        retention=None,
        retentionConfig={"%Y-%m-%d": 7 * 86_400 * 10**9, "%Y-w%V": 31 * 86_400 * 10**9},
    )
    _without_retention(world)
    before = fingerprint(world.server, world.database)

    backup_id = world.back_up()

    shown = world.cli("show", backup_id, "--json").must(0).json()["s3"]
    assert len(shown["streams"]) >= 3
    year, week, _ = datetime.now(UTC).isocalendar()
    assert {label["name"] for label in shown["labels"]} >= {f"{year}-w{week:02}"}
    _drop(world)
    world.cli("restore", "--at", "now").must(0)
    assert fingerprint(world.server, world.database) == before
    world.assert_all_restorable()


def _without_retention(world: World) -> None:
    path = world.config / "backup.yaml"
    backup = json.loads(path.read_text())
    del backup["spec"]["retention"]
    path.write_text(json.dumps(backup))


def test_output_without_a_terminal_is_plain_lines(make_world: MakeWorld) -> None:
    world = make_world("folder")

    done = world.cli("backup-now").must(0, "succeeded")

    assert "\x1b" not in done.said
    assert re.search(r"^backup \S+ succeeded in .*$", done.out, re.MULTILINE)


def test_a_runner_verifies_on_its_schedule_and_knows_that_after_a_restart(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder", "s3")
    backup_id = world.back_up()
    world.cli("verify", "--location", "folder").must(0)
    world.configure(suspend=False, backupCron="0 0 1 1 *", verification={"every": "1d"})

    with world.runner() as runner:
        eventually(
            lambda: runner.metric("jobs_total", job_type="verify", result="success") == 1,
            say=lambda: f"nothing was verified: {runner.log}",
            timeout_s=60,
        )
        for place in world.places:
            assert runner.metric("location_last_verification_success", location=place.name) == 1
        status = world.status()["status"]
        assert status["lastVerification"]["backupId"] == backup_id
        assert status["lastVerification"]["succeeded"]
    with world.runner() as runner:
        world.cli("prune").must(0)
        assert runner.metric("jobs_total", job_type="prune", result="success") == 1
        assert runner.metric("jobs_total", job_type="verify", result="success") == 0
        assert runner.metric("location_last_verification_success", location="s3") == 1
    assert world.backups() == [backup_id]
