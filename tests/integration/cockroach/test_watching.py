"""Watching a job while nodes go: for how long, and what is told meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.api.errors import Cancelled, DatabaseUnavailable
from engines.cockroach import jobs, statements
from engines.cockroach.connection import Cluster, ClusterFailed, connected, server_of
from engines.cockroach.engine import CockroachEngine
from engines.cockroach.locations import uri_of
from engines.external_store import Collection
from engines.interface import JobContext, Progress
from engines.postgres.connection import Server
from tests.integration.jobs.commands import eventually
from tests.servers.cockroach.fixtures import of
from tests.servers.cockroach.server import CockroachServer
from tests.servers.postgres_engine import a_context, reveal
from tests.servers.proxy import TcpProxy


def begin(cluster: Cluster, engine: CockroachEngine) -> int:
    """A backup, which does not end until it may."""
    (location,) = engine._options.locations
    uri = uri_of(Collection(location=location, folder="p/x/"), cluster.version, reveal).text
    statement = statements.backup(
        engine._spec.database,
        uri,
        None,
        at=cluster.row("now", "SELECT clock_timestamp()")["clock_timestamp"],
        extend=False,
        history=True,
    )
    return jobs.started(cluster.row("begin", *statement))


def lose(way: TcpProxy) -> None:
    """End what is connected, and let nobody in any more."""
    way.is_refusing = True
    way.cut()


def server(engine: CockroachEngine, context: JobContext) -> Server:
    return server_of(engine._spec, engine._options, context, label="watch")


def test_signs_are_given_while_nobody_answers_and_the_job_is_found_again(
    engine: CockroachEngine, stand_in: CockroachServer, way: TcpProxy, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    context = a_context(tmp_path, report=reports.append)
    of(stand_in).jobs.go.clear()

    with connected(server(engine, context)) as cluster, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(jobs.wait, cluster, begin(cluster, engine), context, stage="backup")
        eventually(lambda: reports, say=lambda: "no look")
        lose(way)
        seen = reports[-1].signs
        eventually(lambda: reports[-1].signs > seen + 1, say=lambda: "no signs")
        assert not waiting.done()
        way.is_refusing = False
        of(stand_in).jobs.go.set()
        waiting.result(60)

        # Also for those who hold a copy of the same link.
        assert cluster.hiding().rows("after", "SHOW DATABASES")
    done = [one.done for one in reports]
    assert done == sorted(done)


def test_a_cluster_that_nobody_reaches_any_more_is_given_up(
    engine: CockroachEngine, stand_in: CockroachServer, way: TcpProxy, tmp_path: Path
) -> None:
    warnings: list[str] = []
    context = JobContext(
        cancelled=threading.Event(), report=lambda _: None, scratch=tmp_path, warn=warnings.append
    )
    of(stand_in).jobs.go.clear()

    with connected(server(engine, context)) as cluster:
        number = begin(cluster, engine)
        lose(way)
        begun_mono = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            jobs.wait(cluster, number, context, stage="backup", unreachable_s=1)

    assert time.monotonic() - begun_mono >= 1
    assert len(warnings) == 1
    assert of(stand_in).jobs.get(number).status == "running"


def test_a_job_that_is_to_end_while_nobody_answers_ends_soon(
    engine: CockroachEngine, stand_in: CockroachServer, way: TcpProxy, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    cancelled = threading.Event()
    context = a_context(tmp_path, report=reports.append, cancelled=cancelled)
    of(stand_in).jobs.go.clear()

    with connected(server(engine, context)) as cluster, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(jobs.wait, cluster, begin(cluster, engine), context, stage="backup")
        eventually(lambda: reports, say=lambda: "no look")
        lose(way)
        cancelled.set()
        assert isinstance(waiting.exception(20), DatabaseUnavailable)


def test_a_job_is_cancelled_in_another_session_after_a_loss(
    engine: CockroachEngine, stand_in: CockroachServer, tmp_path: Path
) -> None:
    """Whether the loss is met by a look or by the cancelling."""
    cancelled = threading.Event()
    context = a_context(tmp_path, cancelled=cancelled)
    of(stand_in).jobs.go.clear()

    with connected(server(engine, context)) as cluster:
        seen, unseen = begin(cluster, engine), begin(cluster, engine)
        of(stand_in).drain()
        jobs.cancel(cluster, jobs.Job(id=unseen, status="running", description=""), context)
        of(stand_in).drain()
        cancelled.set()
        with pytest.raises(Cancelled):
            jobs.wait(cluster, seen, context, stage="backup")

    assert {of(stand_in).jobs.get(number).status for number in (seen, unseen)} == {"canceled"}


def test_a_drained_session_fails_one_statement_and_no_further_one(
    engine: CockroachEngine, stand_in: CockroachServer, tmp_path: Path
) -> None:
    with connected(server(engine, a_context(tmp_path))) as cluster:
        of(stand_in).drain()

        with pytest.raises(DatabaseUnavailable, match="shutting down"):
            cluster.rows("before", "SHOW DATABASES")
        assert cluster.rows("after", "SHOW DATABASES")


def test_what_is_refused_while_the_cluster_answers_is_told_at_once(
    engine: CockroachEngine, tmp_path: Path
) -> None:
    context = a_context(tmp_path)

    with (
        connected(server(engine, context)) as cluster,
        pytest.raises(ClusterFailed, match="999 does not exist"),
    ):
        jobs.wait(cluster, 999, context, stage="backup")
