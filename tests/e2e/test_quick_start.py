"""The third chapter of docs/quick-start.md: its commands in their order, on the node."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.e2e.tenant import CONTROLLER, PostgresTenant, a_class, a_location
from tests.servers.minio import MinioServer
from tests.servers.proxy import TcpProxy

_PAGE = Path(__file__).parents[2] / "docs" / "quick-start.md"
#: Those marked as shell need no cluster, and have another test.
_BLOCK = re.compile(r"^```(?:sh\n.*?^```\n|\n(.*?)^```$)", re.DOTALL | re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_a_newcomer_has_a_backup_in_a_cluster(
    tenant: PostgresTenant, storage: TcpProxy, minio_server: MinioServer, tmp_path: Path
) -> None:
    chapter = _PAGE.read_text().partition("\n## 3. In a cluster\n")[2].partition("\n## ")[0]
    install, use = filter(None, _BLOCK.findall(chapter))
    # The Secrets of the page belong to the other tests of this run.
    own = {name: f"{name}-{tenant.namespace}" for name in ("backup-s3", "backup-encryption")}
    location = a_location(tenant.bucket, storage.port, secret=own["backup-s3"])
    location["encryptionPass"]["fromSecret"]["name"] = own["backup-encryption"]
    (tmp_path / "class.yaml").write_text(yaml.safe_dump(a_class(tenant.storage_class, location)))
    (tmp_path / "object.yaml").write_text(yaml.safe_dump(tenant.manifest()))
    (tmp_path / "service-account.json").write_text("{}")
    changes = {
        **own,
        "backup-gcs": f"backup-gcs-{tenant.namespace}",
        "-n webshop": f"-n {tenant.namespace}",
        "docs/examples/storage-class.yaml": "class.yaml",
        "docs/examples/database-backup.yaml": "object.yaml",
        "passphrase=...": "passphrase=correct-horse",
        "password=...": f"password={tenant.password}",
        "secret-access-key=...": f"secret-access-key={minio_server.secret_key}",
        "access-key-id=...": f"access-key-id={minio_server.access_key}",
    }
    tenant.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace}}
    )

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env={
                **os.environ,
                "KUBECONFIG": str(tenant.kubectl.kubeconfig),
                "PATH": f"{tenant.kubectl.program.parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for shown, ours in changes.items():
        assert shown in install
        install = install.replace(shown, ours)
    try:
        listed = run(install)
        assert tenant.runner in listed

        backup, restore = use.replace("-n webshop", f"-n {tenant.namespace}").splitlines()
        assert "succeeded" in run(backup.replace("RUNNER", tenant.runner))
        # The page has whole seconds: the one that this backup's instant lies in ends later.
        now = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
        tenant.drop_database()
        assert "nothing was changed" in run(
            _TIME.sub(now, restore.replace("RUNNER", tenant.runner))
        )
    finally:
        names = [*own.values(), changes["backup-gcs"]]
        tenant.kubectl.run("delete", "secret", "-n", CONTROLLER, *names)
