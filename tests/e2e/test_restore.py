"""What is dropped comes back, by the commands of the documentation."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import MARIADB_IMAGE
from tests.e2e.tenant import CONTROLLER, MariadbTenant, PostgresTenant
from tests.integration.jobs.commands import eventually
from tests.servers import mysql_samples, postgres_samples

#: What a runner may take that does nothing.
_IDLE_BYTES = 60 * 2**20


@pytest.mark.short
def test_a_dropped_database_comes_back_row_by_row(
    tenant: PostgresTenant, figures: dict[str, str]
) -> None:
    before = postgres_samples.fingerprint(tenant.server, tenant.database)
    tenant.prepare()
    began = time.monotonic()
    tenant.kubectl.apply(tenant.manifest())
    eventually(tenant.pods, say=lambda: f"no pod: {tenant.status()}")
    figures["from kubectl apply to the runner's pod"] = f"{time.monotonic() - began:.1f} s"
    tenant.wait_for("Ready")
    figures["from kubectl apply to a runner that is ready"] = f"{time.monotonic() - began:.1f} s"
    tenant.first_backup()

    tenant.exec("backup-now").must(0, "succeeded")
    at = tenant.server_time()
    tenant.drop_database()
    tenant.exec("restore", "--at", at).must(0, "restored", "succeeded")

    assert before == postgres_samples.fingerprint(tenant.server, tenant.database)
    (controller,) = tenant.kubectl.list("pods", "--namespace", CONTROLLER)
    for what, pod in (("controller", controller), ("runner", tenant.pod())):
        about = pod["metadata"]
        usage = tenant.kubectl.usage(about["name"], about["namespace"])
        megabytes, cpu = usage.memory_bytes / 2**20, usage.cores * 100
        figures[f"an idle {what}"] = f"{megabytes:.0f} MiB, {cpu:.1f} % of a core"
    assert usage.memory_bytes <= _IDLE_BYTES


def test_a_dropped_database_of_mariadb_comes_back_row_by_row(
    mariadb_tenant: MariadbTenant,
) -> None:
    tenant = mariadb_tenant
    before = mysql_samples.fingerprint(tenant.server, tenant.database)
    tenant.create()
    tenant.wait_for("Ready")
    assert f"-{MARIADB_IMAGE}-" in tenant.pod()["spec"]["containers"][0]["image"]
    tenant.first_backup()

    tenant.exec("backup-now").must(0, "succeeded")
    at = tenant.server_time()
    tenant.drop_database()
    tenant.exec("restore", "--at", at).must(0, "restored", "succeeded")

    assert before == mysql_samples.fingerprint(tenant.server, tenant.database)


def test_a_backup_by_its_name_goes_into_a_database_beside(protected: PostgresTenant) -> None:
    tenant = protected
    before = postgres_samples.fingerprint(tenant.server, tenant.database)
    (backup,) = tenant.backups()
    with tenant.server.connect(tenant.database) as connection:
        connection.execute("DELETE FROM app.event")
    beside = f"{tenant.database}_look"

    tenant.exec("restore", "--name", backup, "--database", beside).must(0, beside)

    assert before == postgres_samples.fingerprint(tenant.server, beside)
    assert before != postgres_samples.fingerprint(tenant.server, tenant.database)


def test_a_database_with_data_is_never_written_over_unasked(protected: PostgresTenant) -> None:
    tenant = protected
    with tenant.server.connect(tenant.database) as connection:
        connection.execute("CREATE TABLE public.newer AS SELECT 1 AS a")
    before = postgres_samples.fingerprint(tenant.server, tenant.database)

    tenant.exec("restore", "--at", "now").must(78, "--replace")
    tenant.exec("restore", "--at", "now", "--replace").must(64, "--yes")
    tenant.exec("restore", "--at", "2020-01-01T00:00:00Z").must(78)

    assert before == postgres_samples.fingerprint(tenant.server, tenant.database)


def test_a_database_is_replaced_when_told_and_the_former_one_is_kept(
    protected: PostgresTenant,
) -> None:
    tenant = protected
    before = postgres_samples.fingerprint(tenant.server, tenant.database)
    with tenant.server.connect(tenant.database) as connection:
        connection.execute("DELETE FROM app.event")

    done = tenant.exec("restore", "--at", "now", "--replace", "--yes")

    done.must(0, "former database kept as", f"{tenant.database}_before_")
    assert before == postgres_samples.fingerprint(tenant.server, tenant.database)
