"""One target of the Makefile a verb; each ends with what to run next."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from release.base import NotMade
from release.docker import BuildFailed, NoDocker
from release.images import NotBuilt
from release.version import NoVersion
from testenv import deploy
from testenv.cluster import Refused, current, kubectl
from tests.servers.node.machine import NotUp
from tests.servers.provider import HOW_TO_GET, ServerMissing

_OBJECT = ("--namespace", deploy.NAMESPACE, "databasebackup/shop")


def deploy_local() -> str:
    cluster = current()
    print(
        f"builds the images and installs the chart into the context {cluster.context}", flush=True
    )
    deploy.controller(cluster, database=deploy.database_for(cluster, os.environ))
    return "make deploy-testenv"


def deploy_testenv() -> str:
    cluster = current()
    is_huge = os.environ.get("TESTENV_HUGEDATA") == "true"
    size = "8 GB" if is_huge else "16 MB"
    print(
        f"installs a database of {size}, MinIO and a DatabaseBackup into the namespace"
        f" {deploy.NAMESPACE} of the context {cluster.context}",
        flush=True,
    )
    database = deploy.database_for(cluster, os.environ)
    deploy.test_environment(cluster, database=database, is_huge=is_huge)
    try:
        kubectl("wait", "--for=condition=Ready", "--timeout=120s", *_OBJECT)
    except Refused as error:
        ready = '{.status.conditions[?(@.type=="Ready")].message}'
        says = kubectl("get", *_OBJECT, f"--output=jsonpath={ready}")
        raise Refused(
            f"{error}: {says} (the image of its runner is one that deploy-local makes in any case"
            " with the same TESTENV_DATABASE)"
        ) from error
    return "make force-local-backup"


def force_local_backup() -> str:
    print(f"backs up the test database of the context {current().context}", flush=True)
    _in_the_runner("backup-now")
    return "make force-local-dbdelete, then make force-local-restore"


def force_local_dbdelete() -> str:
    print(f"DROPS the test database of the context {current().context}", flush=True)
    database = kubectl("get", *_OBJECT, "--output=jsonpath={.spec.databaseType}")
    kubectl(
        *("exec", "--namespace", deploy.NAMESPACE, f"deploy/{database}", "--"),
        *("sh", "/start/drop.sh"),
    )
    return "make force-local-restore"


def force_local_restore() -> str:
    print(f"restores the test database of the context {current().context}", flush=True)
    _in_the_runner("restore", "--at", "now")
    return f"kubectl get dbb --namespace {deploy.NAMESPACE}"


def _in_the_runner(*command: str) -> None:
    runner = kubectl("get", *_OBJECT, "--output=jsonpath={.status.runner}")
    if not runner:
        raise Refused("the DatabaseBackup has no runner yet: kubectl describe dbb shop says why")
    kubectl(
        *("exec", "--namespace", deploy.NAMESPACE, f"deploy/{runner}", "--"),
        *command,
        is_shown=True,
    )


VERBS: dict[str, Callable[[], str]] = {
    "deploy-local": deploy_local,
    "deploy-testenv": deploy_testenv,
    "force-local-backup": force_local_backup,
    "force-local-dbdelete": force_local_dbdelete,
    "force-local-restore": force_local_restore,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in VERBS:
        print(f"usage: python -m testenv {'|'.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        after = VERBS[arguments[0]]()
    except ServerMissing as missing:
        print(f"{missing}; to get it: {HOW_TO_GET}", file=sys.stderr)
        return 1
    except (Refused, BuildFailed, NotBuilt, NoDocker, NoVersion, NotMade, NotUp) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"next: {after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
