"""What every engine keeps to whose database stores by itself: restores, to any instant."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from attrs import evolve

from controller.api.errors import BackupError, Cancelled, TargetExists
from engines.interface import Purpose, Target
from tests.contract.stores import Bench, in_a_thread
from tests.integration.jobs.commands import eventually

_TICK = timedelta(microseconds=1)


def fresh(bench: Bench, *parts: object) -> str:
    """A name that nothing has yet."""
    return "_".join([bench.store.database, *map(str, parts)])


# -- instants ------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_chain_is_restored_to_every_time_that_it_covers(bench: Bench, encrypted: bool) -> None:
    """Between two layers, at their ends, and right after their open start."""
    if not encrypted:
        bench.collection = evolve(bench.collection, passphrase=None)
    store = bench.store
    store.put("a", "first")
    store.put("ключ '\"%s", "wert %% ☃")
    full = bench.back_up()
    store.put("a", "wanted")
    store.new_table()
    between = store.now()
    store.put("a", "wrong")
    store.delete("ключ '\"%s")
    first = bench.back_up(full)
    store.put("a", "newest")
    second = bench.back_up(first)

    odd = {"ключ '\"%s": "wert %% ☃"}
    for number, (layer, at, rows) in enumerate(
        (
            (full, full.facts.coverage.end, {"a": "first", **odd}),
            (first, first.facts.coverage.start + _TICK, {"a": "first", **odd}),
            (first, between, {"a": "wanted", **odd}),
            (first, first.facts.coverage.end, {"a": "wrong"}),
            (second, second.facts.coverage.start + _TICK, {"a": "wrong"}),
            (second, second.facts.coverage.end, {"a": "newest"}),
        )
    ):
        restored = bench.restore(layer, fresh(bench, number), at=at)
        assert store.rows(fresh(bench, number)) == rows
        assert restored.kept_as is None
        if at == layer.facts.coverage.end:
            assert restored.counts == layer.facts.counts
    assert store.rows(store.database) == {"a": "newest"}


def test_a_time_that_nothing_covers_restores_nothing(bench: Bench) -> None:
    full = bench.back_up()
    end = full.facts.coverage.end

    # How far back the first layer itself can show the past is more than it promises.
    for number, at in enumerate((end - timedelta(days=1), end + _TICK)):
        with pytest.raises(BackupError):
            bench.restore(full, fresh(bench, number), at=at)
        assert fresh(bench, number) not in bench.store.databases()
    bench.assert_nothing_half_made()


# -- a write load ----------------------------------------------------------------------------

_ACCOUNTS, _EACH, _SESSIONS = 20, 100, 3


@contextmanager
def transfers(bench: Bench) -> Iterator[None]:
    """Sums of money change hands all the time, from several sessions at once."""
    done = threading.Event()

    def work(seed: int) -> None:
        choose = random.Random(seed)
        while not done.is_set():
            source, target = choose.sample(range(_ACCOUNTS), 2)
            bench.store.move(f"n{source:02}", f"n{target:02}", choose.randint(1, 9))

    with ThreadPoolExecutor(_SESSIONS) as pool:
        working = [pool.submit(work, seed) for seed in range(_SESSIONS)]
        try:
            yield
        finally:
            done.set()
        for one in working:
            one.result()


def assert_balanced(rows: Mapping[str, str]) -> None:
    assert len(rows) == _ACCOUNTS
    assert sum(map(int, rows.values())) == _ACCOUNTS * _EACH


def test_what_is_written_during_backups_is_one_instant(bench: Bench) -> None:
    """No sum is lost or doubled at the end of a layer, or at any time between two ends."""
    for number in range(_ACCOUNTS):
        bench.store.put(f"n{number:02}", str(_EACH))

    with transfers(bench):
        full = bench.back_up()
        first = bench.back_up(full)
        second = bench.back_up(first)

    found = []
    for number, layer in enumerate((full, first, second)):
        span = layer.facts.coverage
        choose = random.Random(number)
        instants = {span.end} | (
            {span.start + (span.end - span.start) * choose.random() for _ in range(3)}
            if span.start < span.end
            else set()
        )
        for at in instants:
            name = fresh(bench, number, len(found))
            bench.restore(layer, name, at=at)
            found.append(bench.store.rows(name))
            assert_balanced(found[-1])
    assert len({tuple(rows.items()) for rows in found}) > 3, "there was no load"


# -- targets -----------------------------------------------------------------------------------


def test_data_is_never_overwritten_unasked(bench: Bench) -> None:
    full = bench.back_up()
    bench.store.put("a", "later")
    name = bench.store.database

    problems = bench.engine.preflight(
        bench.context(),
        purpose=Purpose.RESTORE,
        facts=full.facts,
        target=Target(database=name),
    )

    assert [problem.path for problem in problems] == ["target"]
    with pytest.raises(TargetExists):
        bench.restore(full, name)
    assert bench.store.rows(name) == {"a": "later"}
    bench.assert_nothing_half_made()


def test_a_replaced_database_is_kept_under_a_dated_name(bench: Bench) -> None:
    store, name = bench.store, bench.store.database
    store.put("a", "good")
    full = bench.back_up()
    store.put("a", "bad")

    restored = bench.restore(full, name, replace=True)

    assert restored.kept_as
    assert restored.kept_as.startswith(f"{name}_before_")
    assert (store.rows(name), store.rows(restored.kept_as)) == ({"a": "good"}, {"a": "bad"})
    bench.assert_nothing_half_made()


def test_an_empty_target_is_filled_and_its_shell_is_not_kept(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    shell = fresh(bench, "shell")
    bench.store.new_database(shell)

    restored = bench.restore(full, shell)

    assert restored.kept_as is None
    assert bench.store.rows(shell) == {"a": "1"}
    assert not [one for one in bench.store.databases() if one.startswith(f"{shell}_before")]


def test_odd_names_are_names(bench: Bench) -> None:
    full = bench.back_up()

    for odd in ['quo"te', "sp ace", "UPPER", "per%cent", "ünïcode", "semi;colon--"]:
        bench.restore(full, fresh(bench, odd))
        assert fresh(bench, odd) in bench.store.databases()


# -- failures ----------------------------------------------------------------------------------


def test_a_damaged_backup_restores_nothing(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    for key in bench.store.data_of(bench.collection):
        bench.store.remove(key)
    before = bench.store.databases()

    with pytest.raises(BackupError):
        bench.restore(full, bench.store.database, replace=True)

    assert bench.store.databases() == before
    assert bench.store.rows(bench.store.database) == {"a": "1"}
    bench.assert_nothing_half_made()


def test_a_backup_of_another_engine_or_layout_is_refused(bench: Bench) -> None:
    full = bench.back_up()

    for facts in (evolve(full.facts, engine="other"), evolve(full.facts, engine_version="999")):
        with pytest.raises(BackupError):
            bench.restore(full, fresh(bench, "strange"), facts=facts)
    assert fresh(bench, "strange") not in bench.store.databases()


def test_a_cancelled_restore_leaves_all_as_it_was(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    begun = len(bench.store.jobs())
    cancelled = threading.Event()
    before = bench.store.databases()

    def work() -> object:
        return bench.engine.restore_layer(
            bench.collection,
            full.facts,
            bench.context(cancelled),
            at=full.facts.coverage.end,
            target=Target(database=bench.store.database, replace=True, label="ab12"),
        )

    with bench.store.slow_jobs() as go, in_a_thread(work, go) as came:
        eventually(lambda: len(bench.store.jobs()) > begun, say=lambda: "no job began")
        cancelled.set()
    assert isinstance(came.exception(), Cancelled)
    assert bench.store.databases() == before
    assert bench.store.rows(bench.store.database) == {"a": "1"}
    bench.assert_nothing_half_made()


def test_a_target_that_appears_meanwhile_is_kept(bench: Bench) -> None:
    """Or cannot appear, because the name is taken from the restore's beginning on."""
    bench.store.put("a", "1")
    full = bench.back_up()
    begun = len(bench.store.jobs())
    before = bench.store.databases()
    name = fresh(bench, "meanwhile")

    with (
        bench.store.slow_jobs() as go,
        in_a_thread(lambda: bench.restore(full, name), go) as came,
    ):
        eventually(lambda: len(bench.store.jobs()) > begun, say=lambda: "no job began")
        appeared = _makes(bench, name)
        go()
    assert (came.exception() is None) != appeared
    if not appeared:
        assert bench.store.rows(name) == {"a": "1"}
    assert bench.store.databases() == before | {name}
    bench.assert_nothing_half_made()


def _makes(bench: Bench, name: str) -> bool:
    """Whether an empty database can be made."""
    try:
        bench.store.new_database(name)
    except Exception:  # noqa: BLE001 - each engine's driver has its own
        return False
    return True


def test_views_come_back_and_cannot_be_replaced_where_nothing_renames_them(bench: Bench) -> None:
    """A cluster may refuse to rename what a view reads: a free name must do without."""
    bench.store.put("a", "1")
    bench.store.new_view("seen")
    full = bench.back_up()
    copy, name = fresh(bench, "copy"), bench.store.database

    bench.restore(full, copy)

    assert bench.store.rows(copy) == {"a": "1"}
    assert bench.store.count(copy, "seen") == 1
    bench.store.put("a", "2")
    target = Target(database=name, replace=True, label="ab12")
    problems = bench.engine.preflight(
        bench.context(), purpose=Purpose.RESTORE, facts=full.facts, target=target
    )
    if problems:
        assert "--database" in problems[0].message
        with pytest.raises(BackupError):
            bench.restore(full, name, replace=True)
        assert bench.store.rows(name) == {"a": "2"}
    else:
        bench.restore(full, name, replace=True)
        assert bench.store.rows(name) == {"a": "1"}
    bench.assert_nothing_half_made()
