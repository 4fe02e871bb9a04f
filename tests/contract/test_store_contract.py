"""What every engine keeps to whose database stores by itself: layers, chains, rights.

Restores are in test_store_restores.py; `stores.py` has the engines and their servers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from controller.api.errors import (
    Cancelled,
    DatabaseUnavailable,
    DependencyMissing,
    NoKey,
    ObjectNotFound,
    PreflightFailed,
    Problem,
    TruncatedBackup,
)
from controller.api.secrets import Secret, SecretValue
from engines import registry
from engines.external_store import ChainEnded, ExternalStore, StoredLayer
from engines.interface import InitOptions, Purpose, StreamEngine, Target
from tests.builders import a_section
from tests.contract.stores import BENCHES, Bench, in_a_thread
from tests.integration.jobs.commands import eventually
from tests.servers.provider import free_port

STORES = [name for name in registry.names() if isinstance(registry.get(name), ExternalStore)]


def test_every_such_engine_has_a_bench() -> None:
    assert sorted(BENCHES) == STORES


# -- inside the controller -----------------------------------------------------------------


@pytest.mark.parametrize("name", STORES)
def test_init_and_pod_spec_ask_for_no_secret_and_no_server(name: str) -> None:
    """Nobody answers at its host, and secrets cannot be read there."""

    def refuse(_value: SecretValue) -> Secret:
        raise DependencyMissing("the controller reads no tenant's secrets")

    engine = registry.get(name)
    engine.init(
        InitOptions(namespace="n", name="x", spec=a_section(name), resolve=refuse, environ={})
    )

    first = engine.pod_spec(image_prefix="registry/x", release="1.2.3")

    assert first == engine.pod_spec(image_prefix="registry/x", release="1.2.3")
    assert first.image.startswith(f"registry/x-{name}:")
    assert first.image.endswith("-1.2.3")
    assert not isinstance(engine, StreamEngine)


# -- preflight -------------------------------------------------------------------------------


def cures(problems: list[Problem]) -> list[str]:
    return [problem.message.split(": ", 1)[1] for problem in problems]


def test_every_missing_right_for_a_backup_is_named_with_its_cure(bench: Bench) -> None:
    engine = bench.store.engine_of("saver")
    before = bench.state()

    def missing() -> list[str]:
        return cures(list(engine.preflight(bench.context(), purpose=Purpose.BACKUP)))

    assert missing()
    with pytest.raises(PreflightFailed):
        engine.store_layer(bench.collection, bench.context(), since=None)
    assert bench.state() == before
    while todo := missing():
        bench.store.run(todo[0].rstrip(";"))
        assert missing() == todo[1:]
    full = engine.store_layer(bench.collection, bench.context(), since=None)
    bench.store.put("a", "2")
    assert engine.store_layer(bench.collection, bench.context(), since=full.facts)


def test_every_missing_right_for_a_restore_is_named_with_its_cure(bench: Bench) -> None:
    """Also for putting it in the place of somebody else's database."""
    bench.store.give_to("boss")
    bench.store.put("a", "1")
    full = bench.back_up()
    engine = bench.store.engine_of("bringer")
    target = Target(database=bench.store.database, replace=True, label="cd34")
    before = bench.state()

    def missing() -> list[str]:
        return cures(
            list(
                engine.preflight(
                    bench.context(), purpose=Purpose.RESTORE, facts=full.facts, target=target
                )
            )
        )

    assert missing()
    with pytest.raises(PreflightFailed):
        bench.restore(full, bench.store.database, engine=engine, replace=True)
    assert bench.state() == before
    while todo := missing():
        bench.store.run(todo[0].rstrip(";"))
        assert missing() == todo[1:]
    bench.restore(full, bench.store.database, engine=engine, replace=True)


def test_a_database_that_is_not_there_is_named(bench: Bench) -> None:
    engine = bench.store.engine_for("nowhere")

    for ask in (
        lambda: engine.preflight(bench.context(), purpose=Purpose.BACKUP),
        lambda: engine.store_layer(bench.collection, bench.context(), since=None),
    ):
        with pytest.raises(ObjectNotFound, match='"nowhere" does not exist'):
            ask()


def test_a_server_that_does_not_answer_is_unavailable(bench: Bench) -> None:
    full = bench.back_up()
    engine, target = bench.store.engine_at(free_port()), Target(database="x", label="ef56")

    asked: list[Callable[[], Any]] = [
        lambda: engine.preflight(bench.context(), purpose=Purpose.BACKUP),
        lambda: engine.folders_in_use(bench.store.location, bench.store.parent, bench.context()),
        lambda: engine.store_layer(bench.collection, bench.context(), since=full.facts),
        lambda: engine.stored_layers(bench.collection, bench.context()),
        lambda: engine.restore_layer(
            bench.collection,
            full.facts,
            bench.context(),
            at=full.facts.coverage.end,
            target=target,
        ),
    ]
    for ask in asked:
        with pytest.raises(DatabaseUnavailable):
            ask()


# -- layers ------------------------------------------------------------------------------------


def test_layers_follow_each_other_without_a_gap(bench: Bench) -> None:
    """A full one is an instant; the others are spans that are open at their start."""
    before = bench.store.now()
    full = bench.back_up()
    bench.store.new_table()
    first = bench.back_up(full)
    second = bench.back_up(first)
    after = bench.store.now()

    spans = [(one.facts.coverage.start, one.facts.coverage.end) for one in (full, first, second)]
    assert before <= spans[0][0] == spans[0][1] == spans[1][0]
    assert spans[1][0] < spans[1][1] == spans[2][0] < spans[2][1] <= after
    assert len({one.facts.coverage.lineage for one in (full, first, second)}) == 1
    assert full.facts.coverage.start.utcoffset().total_seconds() == 0
    assert full.facts.engine in registry.names()
    assert full.facts.database == bench.store.database
    assert full.facts.streams == ()
    assert (full.facts.counts, first.facts.counts) == ({"tables": 1}, {"tables": 2})
    found = bench.layers()
    assert [one.facts.coverage.end for one in found] == [end for _, end in spans]
    assert [one.plain_bytes for one in found] == [one.plain_bytes for one in (full, first, second)]
    lines = bench.engine.by_hand(first.facts)
    assert any(bench.store.database in line for line in lines)


def test_what_is_there_is_returned_and_nothing_is_begun_twice(bench: Bench) -> None:
    full = bench.back_up()
    after_full = bench.state()
    assert bench.back_up() == evolve(full, was_found=True)
    assert bench.state() == after_full

    bench.store.put("a", "2")
    layer = bench.back_up(full)
    after_layer = bench.state()
    assert bench.back_up(full) == evolve(layer, was_found=True)
    assert bench.state() == after_layer


def is_at_it(bench: Bench) -> bool:
    """Whether a job is found at the collection."""
    folder = bench.collection.folder.removeprefix(bench.store.parent).strip("/")
    found = bench.engine.folders_in_use(bench.store.location, bench.store.parent, bench.context())
    return found.get(folder, False)


@pytest.mark.parametrize("extends", [False, True])
def test_a_job_that_was_begun_before_is_found_and_waited_for(bench: Bench, extends: bool) -> None:
    """So is that of a runner that died."""
    full = bench.back_up() if extends else None
    bench.store.put("a", "2")

    with bench.store.slow_jobs() as go, in_a_thread(lambda: bench.back_up(full), go) as first:
        eventually(lambda: is_at_it(bench), say=lambda: "no job is found at the folder")
        with in_a_thread(lambda: bench.back_up(full), go) as second:
            eventually(
                lambda: any("backup" in one.stage for one in bench.reports[-1:]),
                say=lambda: "nobody waits",
            )
            go()
    assert second.result() == evolve(first.result(), was_found=True)
    assert len(bench.store.jobs()) == 1 + extends
    assert not is_at_it(bench)


def cancel(bench: Bench, engine: ExternalStore, full: StoredLayer | None = None) -> None:
    """Begin a backup, and end it while the database is at work."""
    cancelled = threading.Event()
    since = full.facts if full else None

    def work() -> object:
        return engine.store_layer(bench.collection, bench.context(cancelled), since=since)

    with bench.store.slow_jobs() as go, in_a_thread(work, go) as came:
        eventually(lambda: is_at_it(bench), say=lambda: "no job is found at the folder")
        cancelled.set()
    assert isinstance(came.exception(), Cancelled)
    assert bench.store.jobs()[-1] == "canceled"
    bench.assert_nothing_half_made()


@pytest.mark.parametrize("extends", [False, True])
def test_a_cancelled_backup_ends_its_job(bench: Bench, extends: bool) -> None:
    full = bench.back_up() if extends else None
    bench.store.put("a", "2")

    cancel(bench, bench.engine, full)

    if full is not None:
        assert isinstance(bench.back_up(full), StoredLayer)


def test_who_lacks_nothing_may_also_end_what_they_began(bench: Bench) -> None:
    engine = bench.store.engine_of("ender")
    for cure in cures(list(engine.preflight(bench.context(), purpose=Purpose.BACKUP))):
        bench.store.run(cure.rstrip(";"))

    cancel(bench, engine)


# -- the end of a chain ------------------------------------------------------------------------


def test_a_chain_that_is_not_the_known_one_ends(bench: Bench) -> None:
    full = bench.back_up()
    strange = evolve(full.facts.coverage, end=full.facts.coverage.end.replace(year=2020))

    with pytest.raises(ChainEnded):
        bench.engine.store_layer(
            bench.collection, bench.context(), since=evolve(full.facts, coverage=strange)
        )
    with pytest.raises(ChainEnded):
        other = evolve(bench.collection, folder=f"{bench.store.parent}elsewhere/")
        bench.engine.store_layer(other, bench.context(), since=full.facts)
    assert len(bench.store.jobs()) == 1


def test_a_chain_of_another_version_ends(bench: Bench) -> None:
    full = bench.back_up()

    with pytest.raises(ChainEnded, match=r"v19\.1\.0"):
        older = evolve(full.facts, server_version="v19.1.0")
        bench.engine.store_layer(bench.collection, bench.context(), since=older)


@pytest.mark.parametrize("other", [Secret("battery staple"), None])
def test_without_its_passphrase_nothing_is_read_and_nothing_added(
    bench: Bench, other: Secret | None
) -> None:
    full = bench.back_up()
    bench.collection = evolve(bench.collection, passphrase=other)

    with pytest.raises(NoKey):
        bench.layers()
    with pytest.raises(NoKey):
        bench.restore(full, "stolen")
    with pytest.raises(ChainEnded):
        bench.back_up(full)
    assert "stolen" not in bench.store.databases()
    assert len(bench.store.jobs()) == 1


def test_a_missing_file_is_found_whichever_it_is(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    bench.store.put("a", "2")
    layer = bench.back_up(full)

    for key in bench.store.data_of(bench.collection):
        kept = bench.store.objects()[key]
        bench.store.remove(key)
        with pytest.raises(TruncatedBackup):
            bench.layers()
        with pytest.raises(ChainEnded):
            bench.back_up(layer)
        bench.store.write(key, kept)
        # It may have been stored before the look at the whole chain.
        layer = bench.layers()[-1]


def test_a_layer_does_without_the_files_of_a_later_one(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    of_full = set(bench.store.data_of(bench.collection))
    bench.store.put("a", "2")
    bench.back_up(full)

    for key in set(bench.store.data_of(bench.collection)) - of_full:
        bench.store.remove(key)

    stored = bench.engine.stored_layers(bench.collection, bench.context(), check_files=False)
    assert len(stored) == 2
    bench.restore(full, "early")
    assert bench.store.rows("early") == {"a": "1"}


def test_a_folder_with_nothing_in_it_is_no_backup(bench: Bench) -> None:
    with pytest.raises(TruncatedBackup):
        bench.layers()


# -- signs of life -------------------------------------------------------------------------------


def test_a_look_at_many_files_shows_that_it_goes_on(bench: Bench) -> None:
    """Else the watchdog would end a healthy job."""
    full = bench.back_up()
    bench.reports.clear()

    with bench.store.slow_looks() as go, in_a_thread(bench.layers, go) as came:
        eventually(
            lambda: max((one.signs for one in list(bench.reports)), default=0) > 0,
            say=lambda: f"no signs of life: {bench.reports}",
        )
        go()
    assert came.result() == [full]


def test_a_look_at_many_files_ends_with_the_job(bench: Bench) -> None:
    bench.back_up()
    cancelled = threading.Event()
    bench.reports.clear()

    def work() -> object:
        return bench.engine.stored_layers(bench.collection, bench.context(cancelled))

    with bench.store.slow_looks() as go, in_a_thread(work, go) as came:
        eventually(lambda: bench.reports, say=lambda: "it did not begin")
        cancelled.set()
    assert isinstance(came.exception(), Cancelled)


# -- secrets -----------------------------------------------------------------------------------


def test_secrets_are_in_nothing_that_is_said(bench: Bench) -> None:
    bench.store.put("a", "1")
    full = bench.back_up()
    layer = bench.back_up(full)
    name = f"{bench.store.database}_copy"
    bench.restore(layer, name)
    bench.collection = evolve(bench.collection, passphrase=Secret("another one"))
    with pytest.raises(NoKey) as refused:
        bench.layers()

    said = [
        *bench.store.said(),
        *map(str, bench.reports),
        str(layer),
        *bench.engine.by_hand(layer.facts),
        str(refused.value),
        repr(refused.value.__cause__),
    ]
    for secret in ("correct horse", "another one", *bench.store.secrets()):
        assert not [text for text in said if secret in text]


def test_nothing_of_the_data_lies_in_the_bucket_in_plain_text(bench: Bench) -> None:
    bench.store.put("a-name-that-is-secret", "a-value-that-is-secret" * 9)
    bench.back_up()

    objects = bench.store.objects()

    assert objects
    assert not [key for key, body in objects.items() if b"that-is-secret" in body]
