"""Signs of life while the cluster looks for files: given while it is at work, and not for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.api.errors import BackupError
from engines.cockroach import statements
from engines.cockroach.connection import Cluster, connected, server_of
from engines.cockroach.engine import CockroachEngine
from engines.cockroach.locations import uri_of
from engines.cockroach.progress import watched
from engines.external_store import Collection
from engines.interface import JobContext, Progress
from tests.integration.jobs.commands import eventually
from tests.servers.cockroach.fixtures import of
from tests.servers.cockroach.server import CockroachServer
from tests.servers.postgres_engine import a_context, reveal
from tests.servers.proxy import TcpProxy

#: Many signs fit in here.
_PERIOD_S, _LONGEST_S = 0.02, 0.5


@pytest.fixture
def collection(engine: CockroachEngine, tmp_path: Path) -> Collection:
    """One with a backup in it."""
    (location,) = engine._options.locations
    found = Collection(location=location, folder="p/_data/2026-11-26T01-00-00Z-5f0c/")
    engine.store_layer(found, a_context(tmp_path), since=None)
    return found


def look(cluster: Cluster, collection: Collection, context: JobContext) -> None:
    uri = uri_of(collection, cluster.version, reveal).text
    with watched(cluster, "look", context, period_s=_PERIOD_S, longest_s=_LONGEST_S):
        cluster.rows("while looking", *statements.show_backup(uri, None, check_files=True))


def test_one_that_does_not_end_gives_signs_for_so_long_alone(
    engine: CockroachEngine, collection: Collection, stand_in: CockroachServer, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    context = a_context(tmp_path, report=reports.append)
    server = server_of(engine._spec, engine._options, context, label="look")
    of(stand_in).looks_end.clear()

    with connected(server) as cluster, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look, cluster, collection, context)
        eventually(lambda: reports[-1:] and reports[-1].signs > 2, say=lambda: "no signs")
        time.sleep(2 * _LONGEST_S)  # the end of the time that it has
        seen = len(reports)
        time.sleep(10 * _PERIOD_S)
        assert len(reports) == seen
        of(stand_in).looks_end.set()
        looking.result()


def test_a_cluster_that_falls_silent_gives_none_and_ends_with_the_job(
    engine: CockroachEngine,
    collection: Collection,
    stand_in: CockroachServer,
    way: TcpProxy,
    tmp_path: Path,
) -> None:
    reports: list[Progress] = []
    cancelled = threading.Event()
    context = a_context(tmp_path, report=reports.append, cancelled=cancelled)
    server = server_of(engine._spec, engine._options, context, label="look")
    of(stand_in).looks_end.clear()

    with connected(server) as cluster, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look, cluster, collection, context)
        eventually(lambda: reports[-1:] and reports[-1].signs > 2, say=lambda: "no signs")
        way.is_hanging = True
        time.sleep(5 * _PERIOD_S)  # what was under way may arrive
        seen = len(reports)
        time.sleep(10 * _PERIOD_S)
        assert len(reports) == seen
        cancelled.set()
        assert isinstance(looking.exception(60), BackupError)
        way.is_hanging = False
        of(stand_in).looks_end.set()
