"""The verbs that read locations, on real folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.cli.main import main
from tests.unit.jobs.environment import CLUSTER, OWNER, Surroundings
from tests.unit.repository.samples import a_manifest, an_id

NOW = datetime.now(UTC)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """Backup 1 in both locations, 2 in the second; a clock that made ids and times disagree."""
    world = Surroundings(tmp_path, now=NOW)
    for name, numbers in {"one": (1,), "two": (1, 2)}.items():
        for number in numbers:
            world.catalogue(name).commit(
                a_manifest(number, started_at=NOW - timedelta(days=number))
            )
    monkeypatch.setenv("CONFIG_DIR", str(world.config_folder))
    monkeypatch.setenv("CONTROL_DIR", str(tmp_path / "run"))
    return world


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _lose(world: Surroundings, *names: str) -> None:
    for name in names:
        world.folders[name].rename(world.folders[name].with_name(f"{name}-away"))


def test_list_shows_each_backup_once_with_its_holders(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("list") == 0

    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "STATE", "OF", "AGE", "DATA", "STORED", "LOCATIONS"]
    assert [line.split()[0] for line in lines] == [an_id(2), an_id(1)]
    assert lines[0].endswith("1000 B  300 B   two")
    assert lines[1].endswith("one, two")


def test_list_as_json(world: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("list", "--json", "--location", "two") == 0

    rows = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["locations"]) for row in rows] == [
        (an_id(2), ["two"]),
        (an_id(1), ["two"]),
    ]
    assert rows[0]["plainBytes"] == 1000
    assert rows[0]["encryption"] == "none"


def test_an_empty_list_says_so(world: Surroundings, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        for number in (1, 2):
            world.catalogue(name).remove(an_id(number))

    assert _run("list") == 0
    assert "no backup yet" in capsys.readouterr().out


def test_a_location_that_is_down_is_warned_about(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    _lose(world, "one")

    assert _run("list") == 0

    captured = capsys.readouterr()
    assert an_id(1) in captured.out
    assert "warning:" in captured.err
    assert "one" in captured.err


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_when_every_location_is_down_nobody_says_that_there_is_no_backup(
    world: Surroundings, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _lose(world, "one", "two")

    assert _run(*arguments) != 0

    captured = capsys.readouterr()
    assert "there is no backup" not in captured.out + captured.err
    assert "[]" not in captured.out


def test_an_unknown_location_is_refused_with_the_known_ones(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("list", "--location", "three") == 64
    assert "there are: one, two" in capsys.readouterr().err


def test_an_unreadable_backup_is_warned_about(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    world.storage("one").put(OWNER.manifest(an_id(9)), b'{"formatVersion": 3}')

    assert _run("list") == 0
    captured = capsys.readouterr()
    assert an_id(9) not in captured.out
    assert f"warning: one: {an_id(9)} is not readable" in captured.err


def test_show_tells_what_it_is_and_how_to_restore_it_by_hand(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("show", an_id(1)) == 0

    text = capsys.readouterr().out
    assert text.startswith(an_id(1))
    assert "shop (postgres 16.14)" in text
    assert "in one:" in text
    assert "in two:" in text
    assert "cat dump.0000 | zstd -d -o dump" in text
    assert "age -d" not in text


def test_show_as_json_is_the_manifest(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("show", an_id(2), "--json") == 0

    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["two"]
    assert shown["two"]["id"] == an_id(2)
    assert shown["two"]["streams"][0]["objects"][0]["name"] == "dump.0000"


@pytest.mark.parametrize(("name", "code"), [(an_id(7), 78), ("../x", 64)])
def test_show_of_what_is_not_there(
    world: Surroundings, name: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("show", name) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_unpack_writes_over_nothing(
    world: Surroundings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "globals").write_text("mine")

    assert _run("unpack", an_id(1), "--to", str(target)) == 64

    assert "is not empty" in capsys.readouterr().err
    assert [path.read_text() for path in target.iterdir()] == ["mine"]


def test_adopt_takes_over_and_says_from_whom(
    world: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    world.catalogue("one").claim("another-cluster")
    world.catalogue("two").claim(CLUSTER)

    assert _run("adopt", "--yes") == 0

    assert capsys.readouterr().out.splitlines() == [
        "one: taken over from another-cluster",
        "two: is this cluster's already",
    ]
    world.catalogue("one").claim(CLUSTER)


def test_adopt_without_a_terminal_wants_yes(world: Surroundings) -> None:
    world.catalogue("one").claim("another-cluster")

    done = subprocess.run(
        [sys.executable, "-m", "runner.cli.main", "adopt"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 64
    assert b"--yes" in done.stderr
    owner = world.catalogue("one").owner()
    assert owner is not None
    assert owner.cluster_id == "another-cluster"


def test_adopt_mends_an_owner_that_cannot_be_read(world: Surroundings) -> None:
    world.storage("one").put(OWNER.owner, b"garbage")

    assert _run("adopt", "--yes") == 0
    world.catalogue("one").claim(CLUSTER)


def test_prune_runs_as_a_job_of_its_own_without_a_runner(world: Surroundings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runner.cli.main", "prune", "--dry-run", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert events[-1]["event"] == "outcome"
    assert events[-1]["exitCode"] == 0
    titles = [event["title"] for event in events if event["event"] == "report"]
    assert titles == ["one", "two"]


def test_who_reads_no_further_ends_a_long_list_quietly(world: Surroundings) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "runner.cli.main", "list"],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert (done.returncode, done.stderr) == (141, b"")
