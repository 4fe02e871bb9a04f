"""Secrets that change while everything runs."""

from __future__ import annotations

import secrets

from tests.e2e.tenant import CONTROLLER, PostgresTenant, a_class, a_location, a_secret, unique
from tests.integration.jobs.commands import eventually
from tests.servers.minio import MinioServer
from tests.servers.proxy import TcpProxy

#: The node's kubelet publishes what changed every 10 s, and a half more.
_PUBLISHED_S = 60


def test_a_new_password_of_the_database_needs_no_restart(tenant: PostgresTenant) -> None:
    role, first, second = unique("backup"), secrets.token_hex(8), secrets.token_hex(8)
    with tenant.server.connect() as connection:
        connection.execute(f"CREATE ROLE \"{role}\" SUPERUSER LOGIN PASSWORD '{first}'")
    manifest = tenant.manifest()
    tenant.prepare()
    tenant.set_password(first)
    tenant.kubectl.apply(tenant.manifest(postgres=manifest["spec"]["postgres"] | {"user": role}))
    tenant.wait_for("Ready")
    tenant.first_backup()
    pod = tenant.pod()["metadata"]["uid"]

    tenant.set_password(second)
    with tenant.server.connect() as connection:
        connection.execute(f"ALTER ROLE \"{role}\" PASSWORD '{second}'")

    eventually(
        lambda: tenant.exec("backup-now").code == 0,
        say=lambda: f"the new password did not arrive: {tenant.exec('runner', 'doctor').said}",
        timeout_s=_PUBLISHED_S,
    )
    assert tenant.pod()["metadata"]["uid"] == pod
    with tenant.server.connect() as connection:
        connection.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_a_class_s_new_keys_reach_its_runners_without_a_restart(
    tenant: PostgresTenant, storage: TcpProxy, minio_server: MinioServer
) -> None:
    name = unique("keys")
    location = a_location(tenant.bucket, storage.port, secret=name)
    tenant.kubectl.apply(
        a_secret(CONTROLLER, name, access_key_id="wrong", secret_access_key="wrong-too"),
        a_class(tenant.storage_class, location),
    )
    tenant.create()
    tenant.wait_for("BackupHealthy=False")
    pod = tenant.pod()["metadata"]["uid"]

    tenant.kubectl.apply(
        a_secret(
            CONTROLLER,
            name,
            access_key_id=minio_server.access_key,
            secret_access_key=minio_server.secret_key,
        )
    )

    eventually(
        lambda: tenant.exec("backup-now").code == 0,
        say=lambda: f"the new keys did not arrive: {tenant.exec('runner', 'doctor').said}",
        timeout_s=_PUBLISHED_S,
    )
    assert tenant.pod()["metadata"]["uid"] == pod
