"""Memory of a runner's parent as in its pod: its Lease held, its status reported."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.benchmarks.cluster.measures import memory_mib
from tests.integration.jobs.cluster import ClusterWorld
from tests.integration.jobs.places import Folder
from tests.integration.jobs.world import World, base_environ
from tests.servers import postgres
from tests.servers.kubernetes import KubernetesServer

#: For renewals of the Lease, reports and the look at the locations to have been made often.
_IDLE_S = 60.0


def idle_runner_mib(server: KubernetesServer) -> float:
    """Resident MiB a minute after the first backup was reported; the definitions are there."""
    with postgres.running(16) as database, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for part in ("tmp", "run", "stored"):
            (folder / part).mkdir(mode=0o700)
        world = World(
            folder=folder,
            server=database,
            database="postgres",
            places=[Folder("stored", folder / "stored")],
            environ=base_environ(folder, POSTGRES_BIN_DIRS=str(database.bin_dir)),
        )
        namespace = server.new_namespace()
        world.configure(metadata={"namespace": namespace}, suspend=False, backupCron="0 3 1 1 *")
        cluster = ClusterWorld(world=world, server=server, namespace=namespace)
        cluster.create()
        with world.runner() as runner:
            cluster.wait_for("BackupHealthy", "True")
            time.sleep(_IDLE_S)
            return memory_mib(runner.process.pid)
