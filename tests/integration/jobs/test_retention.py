"""Retention over a year of backups, and who may prune whose."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.jobs.conftest import MakeWorld
from tests.integration.jobs.places import Place, stock as everything
from tests.integration.jobs.world import MANIFESTS, World, fingerprint

OTHER_CLUSTER = "ffffffff-0000-4000-8000-000000000002"


def _age(world: World, place: Place, model: str, started_at: datetime) -> str:
    """A copy of a real backup that claims to be older; restorable as the real one."""
    backup_id = f"{started_at:%Y-%m-%dT%H-%M-%SZ}-{int(started_at.timestamp()) % 65536:04x}"
    manifest = json.loads(place.read(f"{MANIFESTS}{model}.json"))
    manifest["id"] = backup_id
    text = f"{started_at:%Y-%m-%dT%H:%M:%SZ}"
    manifest |= {"startedAt": text, "finishedAt": text}
    manifest["facts"]["coverage"] |= {"start": text, "end": text}
    for key in world.data_of(place, model):
        place.write(key.replace(model, backup_id), place.read(key))
    place.write(f"{MANIFESTS}{backup_id}.json", json.dumps(manifest).encode())
    return backup_id


def test_a_year_of_backups_is_thinned_out_and_every_reason_is_told(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder", "s3")
    world.configure()
    newest = world.back_up()
    noon = datetime.now(UTC).replace(hour=0, minute=30, second=0, microsecond=0)
    days = [noon - timedelta(days=days) for days in (1, 2, 3, 4, 5, 6, 40, 75, 110, 300)]
    older = {
        place.name: [_age(world, place, newest, day) for day in days] for place in world.places
    }
    assert older["folder"] == older["s3"]
    history = older["folder"]
    stock = world.stock()
    world.configure(retention={"keepLast": 2, "keepDaily": 4, "keepMonthly": 3, "minimumKeep": 1})

    rehearsed = world.cli("prune", "--dry-run").must(0, "would drop", "daily 20", "monthly 20")
    assert world.stock() == stock, "a rehearsal changes nothing"
    verdicts = world.cli("prune", "--json").must(0).events()
    reports = {event["title"]: event["rows"] for event in verdicts if event["event"] == "report"}

    kept = {row["id"] for row in reports["folder"] if row["verdict"] == "keep"}
    dropped = {row["id"] for row in reports["folder"]} - kept
    assert kept | dropped == {newest, *history}
    assert all(row["reasons"] for rows in reports.values() for row in rows)
    assert {newest, *history[:3]} <= kept, "the last two, and one of each of four days"
    assert history[9] not in kept, "older than three months' last ones"
    assert set(history[4:6]) & dropped
    for place in world.places:
        assert set(world.backups(place)) == kept
        for gone in dropped:
            assert world.data_of(place, gone) == []
            assert gone in rehearsed.out
    world.assert_no_half_backup()
    world.assert_all_restorable()
    # Once more changes nothing.
    world.cli("prune").must(0)
    assert set(world.backups()) == kept
    rows = world.cli("list", "--json").must(0).json()
    assert [row["id"] for row in rows] == sorted(kept)


def test_the_newest_and_the_minimum_stay_whatever_the_rules_say(make_world: MakeWorld) -> None:
    world = make_world("folder")
    world.configure()
    newest = world.back_up()
    folder = world.place("folder")
    years = [datetime(year, 6, 1, tzinfo=UTC) for year in (2020, 2019, 2018, 2017)]
    history = [_age(world, folder, newest, day) for day in years]

    world.configure(retention={"keepWithin": "1m", "minimumKeep": 3})
    world.cli("prune").must(0, "minimumKeep")
    assert world.backups() == sorted([newest, *history[:2]])
    world.configure(useSingleBackupTarget=True, retention=None)
    _without_retention(world)
    latest = world.back_up()

    assert world.backups() == [latest], "only the newest is kept, and it is a new one"


def _without_retention(world: World) -> None:
    path = world.config / "backup.yaml"
    backup = json.loads(path.read_text())
    del backup["spec"]["retention"]
    path.write_text(json.dumps(backup))


def test_a_failed_backup_prunes_nothing(make_world: MakeWorld) -> None:
    world = make_world("folder")
    newest = world.back_up()
    folder = world.place("folder")
    old = _age(world, folder, newest, datetime(2020, 1, 1, tzinfo=UTC))
    world.configure(
        retention={"keepLast": 1, "minimumKeep": 1}, database={"pass": {"value": "wrong"}}
    )

    world.cli("backup-now").must(78)

    assert world.backups() == sorted([old, newest])
    world.configure(retention={"keepLast": 1, "minimumKeep": 1})
    latest = world.back_up()
    assert world.backups() == [latest]


def test_a_backup_in_too_few_locations_prunes_nothing_where_it_arrived(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world("folder", "folder")
    newest = world.back_up()
    folder = world.place("folder")
    old = _age(world, folder, newest, datetime(2020, 1, 1, tzinfo=UTC))
    rules = {"keepLast": 1, "minimumKeep": 1}
    world.configure(
        retention=rules, locations={"folder-2": {"path": str(tmp_path / "not-mounted")}}
    )

    short = world.cli("backup-now", "--json").must(78, "1 of 2 locations").outcome()["backupId"]

    assert world.backups(folder) == sorted([old, newest, short])
    world.configure(retention=rules)
    latest = world.back_up()
    assert world.backups(folder) == [latest]


def test_another_cluster_reads_but_neither_writes_nor_prunes_until_it_adopts(
    make_world: MakeWorld,
) -> None:
    world = make_world("folder", "s3")
    backup_id = world.back_up()
    before = fingerprint(world.server, world.database)
    stock = {place.name: everything(place) for place in world.places}
    world.configure(cluster=OTHER_CLUSTER, retention={"keepLast": 1, "minimumKeep": 1})
    new = f"{world.database}_new"

    world.cli("backup-now").must(78, "runner adopt", "0 of 2")
    world.cli("prune").must(78, "runner adopt")
    world.cli("list").must(0, backup_id)
    world.cli("show", backup_id).must(0)
    world.cli("verify").must(0)
    world.cli("restore", "--at", "now", "--database", new).must(0)
    assert fingerprint(world.server, new) == before
    with world.runner() as runner:
        assert runner.metric("location_healthy", location="s3") == 0
        world.cli("status").must(0, "ForeignOwner")
    # Not even what it remembers of its jobs: that would be the other cluster's memory.
    assert {place.name: everything(place) for place in world.places} == stock
    world.cli("adopt").must(64, "--yes")
    world.cli("adopt", "--yes").must(0, "folder: taken over", "s3: taken over")
    world.cli("adopt", "--yes").must(0, "this cluster's already")
    latest = world.back_up()
    assert world.backups() == [latest], "the past is continued, and pruned by the rules"
    # The cluster that lost it is told so.
    world.configure()
    world.cli("backup-now").must(78, "runner adopt")
    assert world.backups() == [latest]
