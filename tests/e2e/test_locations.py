"""Two locations, each with its own fate."""

from __future__ import annotations

from tests.e2e.tenant import PostgresTenant, a_class, a_location
from tests.servers import postgres_samples
from tests.servers.minio import MinioServer
from tests.servers.node import addresses
from tests.servers.proxy import TcpProxy


def test_a_location_that_is_down_costs_nobody_the_other_one(
    tenant: PostgresTenant, storage: TcpProxy, minio_server: MinioServer
) -> None:
    before = postgres_samples.fingerprint(tenant.server, tenant.database)
    with TcpProxy(minio_server.port, listen_host=addresses.HOST) as other:
        tenant.kubectl.apply(
            a_class(
                tenant.storage_class,
                a_location(minio_server.new_bucket(), other.port, name="near"),
                a_location(tenant.bucket, storage.port, name="far"),
                minSuccessfulLocations=1,
            )
        )
        tenant.create()
        tenant.wait_for("Ready")
        tenant.first_backup()
        assert {one["storedBackups"] for one in tenant.status()["locations"]} == {1}

        other.is_refusing = True
        other.cut()
        tenant.exec("backup-now").must(0, "far: ok")
        tenant.wait_for("LocationsHealthy=False")
        assert "near" in tenant.condition("LocationsHealthy")["message"]
        assert tenant.condition("BackupHealthy")["status"] == "True"

        tenant.drop_database()
        tenant.exec("restore", "--at", "now").must(0, "far: ok")

    assert before == postgres_samples.fingerprint(tenant.server, tenant.database)
