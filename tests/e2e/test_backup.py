"""Backups by the schedule, by a person, and by one whose connection is cut."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.tenant import Tenant
from tests.integration.jobs.commands import eventually


def test_a_schedule_makes_backups_without_anybody(tenant: Tenant) -> None:
    tenant.create(backupCron="* * * * *")
    tenant.wait_for("Ready")
    tenant.first_backup()

    eventually(
        lambda: len(tenant.backups()) >= 2,
        say=lambda: f"no second backup: {tenant.status()}",
        timeout_s=130,
    )

    assert tenant.condition("BackupHealthy")["status"] == "True"


def test_a_command_shows_how_far_it_is_and_ends_with_the_result(protected: Tenant) -> None:
    tenant = protected

    with tenant.backup_under_way() as client:
        assert client.stdout is not None
        said: list[str] = []
        # Twice of one stage, and so some time after the other, while the dump goes on.
        while sum(line.startswith("dump: ") for line in said) < 2:
            said.append(client.stdout.readline())
            assert said[-1], f"the command ended: {said}"
        assert client.poll() is None
        tenant.wire.bytes_per_s = None
        rest = client.stdout.read()
        client.wait(90)

    earlier, later = [line for line in said if line.startswith("dump: ")]
    assert earlier != later
    assert client.returncode == 0, rest
    for words in (" started", "upload: ", "succeeded"):
        assert words in "".join(said) + rest
    assert len(tenant.backups()) == 2


def test_a_failure_ends_the_command_with_its_own_code(protected: Tenant) -> None:
    tenant = protected
    tenant.wire.is_refusing = True

    done = tenant.exec("backup-now")

    done.must(75, "failed")
    tenant.wait_for("BackupHealthy=False")
    assert tenant.status()["lastAttempt"]["succeeded"] is False
    assert len(tenant.backups()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_connection_that_is_cut_ends_no_backup(protected: Tenant, number: signal.Signals) -> None:
    tenant = protected

    with tenant.backup_under_way() as client:
        client.send_signal(number)
        client.wait(30)
    tenant.wire.bytes_per_s = None

    eventually(
        lambda: len(tenant.backups()) == 2,
        say=lambda: f"the backup did not go on: {tenant.exec('runner', 'status').said}",
    )
    assert tenant.condition("BackupHealthy")["status"] == "True"
