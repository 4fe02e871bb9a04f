"""The engine on each version of the stand-in, and on a real server where there is one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve

from controller.api.errors import (
    BackupError,
    NoKey,
    PreflightFailed,
    TargetExists,
    TruncatedBackup,
)
from controller.api.secrets import Secret
from engines.cockroach.engine import CockroachEngine
from engines.interface import ChainEnded, Collection, JobContext, Purpose, StoredLayer, Target
from tests.servers.cockroach.server import CockroachServer, a_location, an_engine
from tests.servers.moto import MotoServer
from tests.servers.postgres_engine import a_context

FOLDER = "p/db/shop/_data/2026-11-26T01-00-00Z-5f0c/"


class Bench:
    """A database, a bucket, and the engine between them."""

    def __init__(self, server: CockroachServer, s3: MotoServer, folder: Path) -> None:
        self.server, self.s3, self._folder = server, s3, folder
        self.bucket = s3.new_bucket()
        self.location = a_location(s3, self.bucket)
        self.database = server.new_database()
        self.engine: CockroachEngine = an_engine(server, self.database, self.location)
        self.collection = Collection(
            location=self.location, folder=FOLDER, passphrase=Secret("correct horse")
        )

    def context(self) -> JobContext:
        return a_context(self._folder)

    def store(self, since: StoredLayer | None = None) -> StoredLayer:
        return self.engine.store_layer(
            self.collection, self.context(), since=since.facts if since else None
        )

    def restore(self, layer: StoredLayer, into: str, **options: object) -> object:
        at = options.pop("at", layer.facts.coverage.end)
        return self.engine.restore_layer(
            self.collection,
            layer.facts,
            self.context(),
            at=at,  # type: ignore[arg-type]
            target=Target(database=into, label="ab12", **options),  # type: ignore[arg-type]
        )

    def objects(self) -> list[str]:
        pages = self.s3.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]


@pytest.fixture
def bench(cockroach: CockroachServer, moto_server: MotoServer, tmp_path: Path) -> Bench:
    return Bench(cockroach, moto_server, tmp_path)


def test_a_chain_can_be_restored_to_every_time_that_it_covers(bench: Bench) -> None:
    server, name = bench.server, bench.database
    server.put(name, "a", "first")
    server.put(name, "ключ '\"%s", "wert %% ☃")
    full = bench.store()
    server.put(name, "a", "wanted")
    server.new_table(name, "later")
    between = server.now()
    server.put(name, "a", "wrong")
    server.delete(name, "ключ '\"%s")
    first = bench.store(full)
    server.put(name, "a", "newest")
    second = bench.store(first)

    for layer, at, rows in (
        (full, full.facts.coverage.end, {"a": "first", "ключ '\"%s": "wert %% ☃"}),
        (first, between, {"a": "wanted", "ключ '\"%s": "wert %% ☃"}),
        (first, first.facts.coverage.end, {"a": "wrong"}),
        (second, second.facts.coverage.end, {"a": "newest"}),
    ):
        target = f"{name}_{layer.facts.coverage.end:%H%M%S%f}_{at:%f}"
        bench.restore(layer, target, at=at)
        assert server.rows(target) == rows
    assert server.rows(name) == {"a": "newest"}


def test_layers_follow_each_other_without_a_gap(bench: Bench) -> None:
    full = bench.store()
    bench.server.new_table(bench.database, "u")
    layer = bench.store(full)

    assert full.facts.coverage.start == full.facts.coverage.end
    assert layer.facts.coverage.start == full.facts.coverage.end
    assert layer.facts.coverage.end > layer.facts.coverage.start
    assert full.facts.counts == {"tables": 1}
    assert layer.facts.counts == {"tables": 2}
    stored = bench.engine.stored_layers(bench.collection, bench.context())
    assert [one.facts.coverage.end for one in stored] == [
        full.facts.coverage.end,
        layer.facts.coverage.end,
    ]


def test_what_is_there_is_returned_and_nothing_is_begun_twice(bench: Bench) -> None:
    full = bench.store()
    after_full = bench.objects()
    assert bench.store() == full
    assert bench.objects() == after_full

    layer = bench.store(full)
    after_layer = bench.objects()
    assert bench.store(full) == layer
    assert bench.objects() == after_layer


def test_a_time_that_no_layer_covers_restores_nothing(bench: Bench) -> None:
    full = bench.store()
    early = full.facts.coverage.end - timedelta(hours=1)

    with pytest.raises(BackupError, match="do not cover requested time"):
        bench.restore(full, "early", at=early)

    assert "early" not in bench.server.databases()
    assert not any(name.startswith("dbb_restore_") for name in bench.server.databases())


def test_another_passphrase_opens_nothing(bench: Bench) -> None:
    full = bench.store()
    bench.collection = evolve(bench.collection, passphrase=Secret("battery staple"))

    with pytest.raises(NoKey):
        bench.engine.stored_layers(bench.collection, bench.context())
    with pytest.raises(NoKey):
        bench.restore(full, "stolen")
    with pytest.raises(ChainEnded, match="decrypt"):
        bench.store(full)
    bench.collection = evolve(bench.collection, passphrase=None)
    with pytest.raises(NoKey):
        bench.engine.stored_layers(bench.collection, bench.context())


def test_nothing_of_the_data_lies_in_the_bucket_in_plain_text(bench: Bench) -> None:
    bench.server.put(bench.database, "a-name-that-is-secret", "v" * 100)
    bench.store()

    client = bench.s3.client()
    for key in bench.objects():
        body = client.get_object(Bucket=bench.bucket, Key=key)["Body"].read()
        assert b"a-name-that-is-secret" not in body, key


def test_a_missing_file_is_found(bench: Bench) -> None:
    full = bench.store()
    key = next(key for key in bench.objects() if key.endswith(".sst") and "/data/" in key)
    bench.s3.client().delete_object(Bucket=bench.bucket, Key=key)

    with pytest.raises(TruncatedBackup):
        bench.engine.stored_layers(bench.collection, bench.context())
    with pytest.raises(BackupError):
        bench.restore(full, "half")
    assert "half" not in bench.server.databases()


def test_data_is_never_overwritten_unasked(bench: Bench) -> None:
    full = bench.store()
    target = Target(database=bench.database)

    problems = bench.engine.preflight(
        bench.context(), purpose=Purpose.RESTORE, facts=full.facts, target=target
    )

    assert [problem.path for problem in problems] == ["target"]
    with pytest.raises(TargetExists):
        bench.restore(full, bench.database)


def test_a_replaced_database_is_kept_under_a_dated_name(bench: Bench) -> None:
    server, name = bench.server, bench.database
    server.put(name, "a", "good")
    full = bench.store()
    server.put(name, "a", "bad")

    restored = bench.restore(full, name, replace=True)

    kept = restored.kept_as  # type: ignore[attr-defined]
    assert kept.startswith(f"{name}_before_")
    assert (server.rows(name), server.rows(kept)) == ({"a": "good"}, {"a": "bad"})


def test_an_empty_target_is_filled_and_its_shell_is_not_kept(bench: Bench) -> None:
    full = bench.store()
    bench.server.execute("CREATE DATABASE empty_shell")

    restored = bench.restore(full, "empty_shell")

    assert restored.kept_as is None  # type: ignore[attr-defined]
    assert bench.server.rows("empty_shell") == {}
    assert not [one for one in bench.server.databases() if one.startswith("empty_shell_before")]


@pytest.mark.parametrize("name", ['quo"te', "sp ace", "UPPER", "per%cent", "ünïcode"])
def test_odd_names_are_names(bench: Bench, name: str) -> None:
    full = bench.store()

    bench.restore(full, name)

    assert name in bench.server.databases()


def test_a_database_that_does_not_exist_is_named(bench: Bench) -> None:
    engine = an_engine(bench.server, "nowhere", bench.location)

    with pytest.raises(BackupError, match='the database "nowhere" does not exist'):
        engine.preflight(bench.context(), purpose=Purpose.BACKUP)


def test_an_unencrypted_chain_is_one(bench: Bench) -> None:
    bench.collection = evolve(bench.collection, passphrase=None)
    bench.server.put(bench.database, "a", "1")
    full = bench.store()
    bench.restore(bench.store(full), "plain")

    assert bench.server.rows("plain") == {"a": "1"}


@pytest.fixture
def user(bench: Bench) -> Callable[[str], CockroachEngine]:
    """An engine for a user that has nothing."""

    def make(name: str) -> CockroachEngine:
        bench.server.execute(f"CREATE USER {name}")
        return an_engine(bench.server, bench.database, bench.location, user=name)

    return make


def test_every_missing_right_for_a_backup_is_named_with_its_grant(
    bench: Bench, user: Callable[[str], CockroachEngine]
) -> None:
    engine = user("saver")
    problems = engine.preflight(bench.context(), purpose=Purpose.BACKUP)

    older = bench.server.version < (25, 1)
    assert len(problems) == 2 + older
    with pytest.raises(PreflightFailed):
        engine.store_layer(bench.collection, bench.context(), since=None)
    for problem in problems:
        bench.server.execute(problem.message.split(": ", 1)[1].rstrip(";"))
    assert engine.preflight(bench.context(), purpose=Purpose.BACKUP) == []
    assert engine.store_layer(bench.collection, bench.context(), since=None)


def test_every_missing_right_for_a_restore_is_named_with_its_grant(
    bench: Bench, user: Callable[[str], CockroachEngine]
) -> None:
    full = bench.store()
    engine, target = user("bringer"), Target(database="brought", label="cd34")

    def problems() -> list[str]:
        found = engine.preflight(
            bench.context(), purpose=Purpose.RESTORE, facts=full.facts, target=target
        )
        return [problem.message for problem in found]

    assert len(problems()) == 3 + (bench.server.version < (25, 1))
    for message in problems():
        bench.server.execute(message.split(": ", 1)[1].rstrip(";"))
    assert problems() == []
    engine.restore_layer(
        bench.collection,
        full.facts,
        bench.context(),
        at=full.facts.coverage.end,
        target=target,
    )
    assert "brought" in bench.server.databases()
