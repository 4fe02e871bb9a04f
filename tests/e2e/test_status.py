"""What a person sees who asks the cluster alone."""

from __future__ import annotations

import json
import urllib.request

from tests.e2e.tenant import NAME, Tenant
from tests.integration.jobs.commands import eventually


def test_kubectl_get_answers_whether_it_is_protected(watched: Tenant) -> None:
    tenant = watched
    within = ("--namespace", tenant.namespace)

    shown = tenant.kubectl.run("get", "dbb", *within, "--output=wide").must(0).out

    header, row = shown.splitlines()
    assert header.split()[:3] == ["NAME", "TYPE", "CLASS"]
    for word in (NAME, "postgres", tenant.storage_class, "True", tenant.runner):
        assert word in row.split()


def test_scripts_can_wait_for_it(watched: Tenant) -> None:
    watched.wait_for("Ready")
    watched.wait_for("BackupHealthy")
    watched.wait_for("LocationsHealthy")

    told = {one["type"]: one["status"] for one in watched.status()["conditions"]}
    assert told["Ready"] == told["BackupHealthy"] == told["LocationsHealthy"] == "True"


def test_events_tell_what_happened(protected: Tenant) -> None:
    tenant = protected
    tenant.exec("restore", "--at", "now", "--database", f"{tenant.database}_look").must(0)

    def described() -> str:
        return tenant.kubectl.run("describe", "dbb", NAME, "--namespace", tenant.namespace).out

    # They are sent after the fact, by threads of their own.
    reasons = ("RunnerCreated", "BackupSucceeded", "RestoreStarted", "RestoreSucceeded")
    eventually(
        lambda: all(reason in described() for reason in reasons),
        say=lambda: f"not all of {reasons} in:\n{described()}",
        timeout_s=15,
    )
    events = tenant.events_of_the_object()
    assert {one["type"] for one in events if one["reason"] in reasons} == {"Normal"}


def test_the_class_counts_its_objects_and_the_runners_that_reach_it(watched: Tenant) -> None:
    found = watched.kubectl.get("databasebackupstorageclass", watched.storage_class)

    assert found["status"]["usedBy"] == 1
    (location,) = found["status"]["locations"]
    assert (location["name"], location["healthy"]) == ("s3", 1)


def test_the_pod_serves_metrics_that_a_prometheus_reads(watched: Tenant) -> None:
    address = watched.pod()["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:3000/metrics", timeout=10) as answer:
        text = answer.read().decode()

    labels = f'engine="postgres",name="{NAME}",namespace="{watched.namespace}"'
    assert f"db_backup_controller_stored_backup_count{{{labels}}} 1.0" in text


def test_the_pod_is_of_the_strictest_kind(watched: Tenant) -> None:
    """The namespace takes no other; what the kernel says of it is looked at here."""
    seen = watched.exec(
        "python3",
        "-c",
        "import json, os; status = dict(line.split(':', 1) for line in open('/proc/self/status'));"
        "print(json.dumps([os.getuid(), os.getgid(), status['CapEff'].strip(),"
        " status['NoNewPrivs'].strip(), status['Seccomp'].strip(),"
        " os.access('/', os.W_OK), os.statvfs('/').f_flag & os.ST_RDONLY]))",
    ).must(0)

    assert json.loads(seen.out) == [65532, 65532, "0" * 16, "1", "2", False, 1]
