"""Which backup a restore takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from controller.api.errors import NotRestorable, UsageError
from runner.jobs.request import JobRequest, RestoreOptions
from runner.jobs.restore import choose, newest_at_or_before
from runner.outcome import JobKind
from runner.repository.index import Summary
from runner.wording import time_text
from tests.unit.jobs.environment import Surroundings
from tests.unit.repository.samples import START, a_layer, a_manifest, an_id, facts_of

NOW = START + timedelta(days=30)
_minutes = st.integers(0, 40_000)


def _summary(number: int, minute: int) -> Summary:
    """A backup whose id says nothing about its coverage."""
    start = START + timedelta(minutes=minute)
    return Summary.of(a_manifest(number, facts=facts_of("dump", start=start)))


_backups = st.lists(_minutes, max_size=12).flatmap(
    lambda minutes: st.permutations(
        [_summary(number, minute) for number, minute in enumerate(minutes)]
    )
)


@given(_backups, _minutes)
def test_the_newest_at_or_before_is_the_maximum_of_what_is_not_later(
    backups: Sequence[Summary], minute: int
) -> None:
    at = START + timedelta(minutes=minute)
    candidates = [backup for backup in backups if backup.coverage_start <= at]

    if not candidates:
        with pytest.raises(NotRestorable):
            newest_at_or_before(at, backups, NOW + timedelta(days=30))
        return
    found = newest_at_or_before(at, backups, NOW + timedelta(days=30))
    assert found in candidates
    assert all(found.coverage_start >= other.coverage_start for other in candidates)


@given(_backups.filter(bool))
def test_the_very_instant_of_a_backup_finds_it(backups: Sequence[Summary]) -> None:
    wanted = backups[0]

    found = newest_at_or_before(wanted.coverage_start, backups, NOW)

    assert found.coverage_start == wanted.coverage_start


_chains = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4)


def _layered(lengths: Sequence[tuple[int, bool]]) -> list[Summary]:
    """Chains one after the other, with history or without, a minute a layer and ten between."""
    found: list[Summary] = []
    first = 0
    for length, has_history in lengths:
        for number in range(length):
            summary = Summary.of(a_layer(first, number))
            if not has_history:
                summary = evolve(summary, coverage_start=summary.coverage_end)
            found.append(summary)
        first += length + 10
    return found


@given(_chains, st.integers(-60, 60 * 80), st.randoms())
def test_of_chains_it_is_what_comes_closest_and_never_a_later_state(
    lengths: Sequence[tuple[int, bool]], second: int, order: Random
) -> None:
    """Against a model that looks at every second of every span."""
    at = START + timedelta(seconds=second)
    backups = _layered(lengths)
    states = {
        moment: one
        for one in backups
        for moment in (
            [one.coverage_end]
            if one.coverage_start == one.coverage_end
            else [one.coverage_start + timedelta(seconds=n) for n in range(1, 61)]
        )
    }
    possible = [moment for moment in states if moment <= at]
    order.shuffle(backups)

    if not possible:
        with pytest.raises(NotRestorable):
            newest_at_or_before(at, backups, NOW)
        return
    found = newest_at_or_before(at, backups, NOW)
    assert found == states[max(possible)]
    assert found.reach(at) == max(possible)


def test_of_two_that_come_equally_close_it_is_the_one_with_fewer_layers() -> None:
    layer, full = Summary.of(a_layer(0, 3)), Summary.of(a_layer(3, 0))

    assert newest_at_or_before(layer.coverage_end, [full, layer], NOW) == full
    assert newest_at_or_before(layer.coverage_end, [layer, full], NOW) == full


def test_neither_the_start_of_the_job_nor_the_id_decides() -> None:
    slow = evolve(_summary(1, 100), started_at=START)
    quick = evolve(_summary(9, 50), started_at=START + timedelta(minutes=99))

    assert newest_at_or_before(START + timedelta(minutes=60), [slow, quick], NOW) == quick


@given(st.integers(61, 10**6))
def test_the_future_is_refused(seconds: int) -> None:
    with pytest.raises(UsageError, match="is in the future"):
        newest_at_or_before(NOW + timedelta(seconds=seconds), [_summary(1, 1)], NOW)


def test_the_refusal_of_the_future_names_the_newest_backup() -> None:
    with pytest.raises(UsageError) as refused:
        newest_at_or_before(
            NOW + timedelta(days=1), [_summary(2, 10), _summary(1, 20), _summary(3, 5)], NOW
        )

    assert f"The newest backup is {an_id(1)}, of 2026-11-23T02:20:00Z" in str(refused.value)
    assert f"--name {an_id(1)}" in str(refused.value)


def test_it_names_the_latest_state_of_a_chain_and_not_what_its_newest_layer_begins_with() -> None:
    full, layer = Summary.of(a_layer(0, 0)), Summary.of(a_layer(0, 1))
    assert layer.coverage_end > layer.coverage_start

    with pytest.raises(UsageError) as refused:
        newest_at_or_before(NOW + timedelta(days=1), [layer, full], NOW)

    assert f"is {layer.id}, of {time_text(layer.coverage_end)}" in str(refused.value)


def test_the_future_is_refused_where_no_backup_is_and_names_none() -> None:
    with pytest.raises(UsageError, match=r"check the offset$"):
        newest_at_or_before(NOW + timedelta(days=1), [], NOW)


def test_a_clock_that_is_a_little_ahead_is_not_the_future() -> None:
    backup = _summary(1, 1)

    assert newest_at_or_before(NOW + timedelta(seconds=60), [backup], NOW) == backup


def test_before_the_oldest_the_refusal_names_the_oldest() -> None:
    with pytest.raises(NotRestorable) as refused:
        newest_at_or_before(START, [_summary(2, 20), _summary(1, 10)], NOW)

    assert f"the oldest is {an_id(1)}, of 2026-11-23T02:10:00Z" in str(refused.value)
    assert f"--name {an_id(1)}" in str(refused.value)


def test_without_any_backup_the_refusal_says_so() -> None:
    with pytest.raises(NotRestorable, match="no backup here yet"):
        newest_at_or_before(START, [], NOW)


# -- over real locations --------------------------------------------------------------


def _choose(world: Surroundings, **options: object) -> tuple[str, list[str]]:
    restore = RestoreOptions(**options)  # type: ignore[arg-type]
    job = world.job(JobRequest(kind=JobKind.RESTORE, restore=restore))
    with job.locations() as locations:
        choice = choose(job, locations.chosen(restore.location), restore)
        return choice.backup.id, [location.name for location in choice.locations]


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    world = Surroundings(tmp_path, now=NOW)
    for name, numbers in {"one": (1, 2), "two": (1, 3)}.items():
        for number in numbers:
            manifest = a_manifest(number)
            world.catalogue(name).commit(manifest)
    return world


def test_the_newest_of_all_locations_is_chosen_with_those_that_hold_it(
    world: Surroundings,
) -> None:
    assert _choose(world, at=NOW) == (an_id(3), ["two"])
    assert _choose(world, at=START + timedelta(minutes=1)) == (an_id(1), ["one", "two"])
    assert _choose(world, at=NOW, location="one") == (an_id(2), ["one"])


def test_a_name_is_found_or_the_nearest_are_named(world: Surroundings) -> None:
    assert _choose(world, name=an_id(2)) == (an_id(2), ["one"])

    with pytest.raises(NotRestorable) as refused:
        _choose(world, name=an_id(7))
    assert all(an_id(number) in str(refused.value) for number in (1, 2, 3))
    with pytest.raises(UsageError, match="not a backup id"):
        _choose(world, name="../x")


def test_a_location_that_is_down_is_named_and_the_others_are_asked(world: Surroundings) -> None:
    folder = world.folders["two"]
    folder.rename(folder.with_name("away"))

    assert _choose(world, at=NOW) == (an_id(2), ["one"])
    assert any("two" in event["message"] for event in world.told("warning"))


def test_no_location_at_all_is_no_answer_that_there_is_no_backup(world: Surroundings) -> None:
    for folder in world.folders.values():
        folder.rename(folder.with_name(f"{folder.name}-away"))

    with pytest.raises(Exception, match=r"(?i)no such|not|volume") as refused:
        _choose(world, at=NOW)
    assert not isinstance(refused.value, NotRestorable)


def test_an_unreadable_backup_is_named_and_passed_over(world: Surroundings) -> None:
    key = world.catalogue("two").layout.manifest(an_id(9))
    world.storage("two").put(key, b'{"formatVersion": 3}')

    assert _choose(world, at=NOW)[0] == an_id(3)
    assert any(an_id(9) in event["message"] for event in world.told("warning"))


def test_times_of_other_zones_compare(world: Surroundings) -> None:
    elsewhere = datetime.fromisoformat("2026-11-23T11:02:30+09:00")
    assert elsewhere.astimezone(UTC) == START + timedelta(minutes=2, seconds=30)

    assert _choose(world, at=elsewhere) == (an_id(2), ["one"])
