"""A Kubernetes API server and its etcd for tests: real, and nothing else of a cluster.

No controller manager and no kubelet run: Deployments have no pods, namespaces
stay Terminating, owner references collect no garbage, no service account comes
by itself. What is left is what a controller speaks to.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import select
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.audit import POLICY, AuditEntry, AuditLog
from tests.servers.provider import (
    ServerMissing,
    ServerProcess,
    answers_http,
    find_program,
    free_port,
    start_process,
)
from tests.servers.tls import Authority

#: The folder of etcd, kube-apiserver and kubectl that `setup-envtest` prints.
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
VARIABLES = {
    "etcd": "DB_BACKUP_TEST_ETCD",
    "kube-apiserver": "DB_BACKUP_TEST_KUBE_APISERVER",
    "kubectl": "DB_BACKUP_TEST_KUBECTL",
}
# A cold start on a busy machine.
_START_TIMEOUT_S = 90.0
_TOKEN_S = 3600


def find_kubernetes_program(name: str) -> Path:
    """Raises ServerMissing."""
    if not os.environ.get(VARIABLES[name]) and (folder := os.environ.get(ASSETS_VARIABLE)):
        program = Path(folder) / name
        if not program.is_file():
            raise ServerMissing(f"{ASSETS_VARIABLE} names {folder}, where {name} is not")
        return program
    if found := find_program(name, variable=VARIABLES[name]):
        return found
    raise ServerMissing(f"no {name} program found")


@frozen(kw_only=True)
class Answer:
    status: int
    body: dict[str, Any]


class KubernetesServer:
    """A running API server; its objects stay through every fault below."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.ca_file = folder / "ca.crt"
        self._etcd_port = free_port()
        self._audit_file = folder / "audit.log"
        #: Connections of the admin, for any thread.
        self._idle: list[http.client.HTTPSConnection] = []
        self._audit_log = AuditLog(self._audit_file)
        self._authority = Authority("kubernetes")
        self._admin = self._authority.issue_client("admin", organization="system:masters")
        self._etcd: ServerProcess | None = None
        self._api: ServerProcess | None = None
        self._write_files()
        self._tls = ssl.create_default_context(cafile=self.ca_file)
        self._tls.load_cert_chain(folder / "admin.crt", folder / "admin.key")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._api is not None
        return self._api.pid

    def start(self) -> None:
        etcd, api = find_kubernetes_program("etcd"), find_kubernetes_program("kube-apiserver")
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        self._etcd = start_process(
            [
                etcd,
                *(f"--data-dir={self.folder / 'etcd'}", "--name=test", "--unsafe-no-fsync"),
                *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
                *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
                f"--initial-cluster=test={peer}",
            ],
            log_file=self.folder / "etcd.log",
            is_ready=lambda: answers_http(self._etcd_port, "/health"),
            timeout_s=_START_TIMEOUT_S,
        )
        self._start_api(api)

    def stop(self) -> None:
        for connection in self._idle:
            connection.close()
        for process in (self._api, self._etcd):
            if process is not None:
                process.stop()

    def suspend(self) -> None:
        """Let it hang: connections are accepted by the kernel and never answered."""
        assert self._api is not None
        self._api.suspend()

    def resume(self) -> None:
        assert self._api is not None
        self._api.resume()

    def restart(self, *, is_killed: bool = False) -> None:
        """End the API server, orderly or by SIGKILL, and start it on the same port."""
        assert self._api is not None
        if is_killed:
            self._api.kill()
        else:
            self._api.stop()
        self._start_api(find_kubernetes_program("kube-apiserver"))

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask as cluster-admin, without any code of the project in between."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        content = None if body is None else json.dumps(body)
        connection = self._connection()
        try:
            connection.request(method, path, body=content, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return Answer(status=answer.status, body=json.loads(text))

    def _connection(self) -> http.client.HTTPSConnection:
        """One that is open and idle, or a new one.

        Tests look again and again, and a handshake for each look is most of what it costs.
        """
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                # Nothing was asked, so what there is to read is its end.
                if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
                    return connection
                connection.close()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self._tls)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST as cluster-admin; anything but success fails the test."""
        answer = self.request("POST", path, body)
        assert answer.status in {200, 201}, answer.body
        return answer.body

    def new_namespace(self) -> str:
        """An empty namespace of its own for one test."""
        name = f"test-{secrets.token_hex(6)}"
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def token_for(self, namespace: str, account: str) -> str:
        """A token of a service account, which is made if it is not there."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        answer = self.request("POST", path, {"metadata": {"name": account}})
        assert answer.status in {201, 409}, answer.body
        spec = {"spec": {"expirationSeconds": _TOKEN_S}}
        token: str = self.create(f"{path}/{account}/token", spec)["status"]["token"]
        return token

    def allow(
        self, namespace: str | None, account: tuple[str, str], rules: Sequence[Mapping[str, Any]]
    ) -> None:
        """Give rules to a service account, in one namespace or in all; they count on return."""
        kind = "Role" if namespace else "ClusterRole"
        name = f"test-{secrets.token_hex(6)}"
        group = "rbac.authorization.k8s.io"
        where = f"/apis/{group}/v1" + (f"/namespaces/{namespace}" if namespace else "")
        self.create(f"{where}/{kind.lower()}s", {"metadata": {"name": name}, "rules": list(rules)})
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}],
        }
        self.create(f"{where}/{kind.lower()}bindings", binding)
        # The authorizer sees both a moment later, through a watch of its own.
        deadline = time.monotonic() + 30
        while not all(self._may(account, namespace, rule) for rule in rules):
            assert time.monotonic() < deadline, f"{account} has not got its rights"
            time.sleep(0.02)

    def _may(
        self, account: tuple[str, str], namespace: str | None, rule: Mapping[str, Any]
    ) -> bool:
        """Whether the first thing that `rule` allows is allowed by now."""
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {
            "namespace": namespace or "",
            "verb": rule["verbs"][0],
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "name": next(iter(rule.get("resourceNames", ())), ""),
        }
        spec = {
            "user": f"system:serviceaccount:{account[0]}:{account[1]}",
            "resourceAttributes": attributes,
        }
        answer = self.create(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
        )
        return bool(answer["status"]["allowed"])

    def kubeconfig(
        self, *, token: str | None = None, namespace: str = "default", port: int | None = None
    ) -> Path:
        """A kubeconfig for cluster-admin, or for who has the token; all is inline.

        Args:
            port: of a proxy before the server.
        """

        def inline(text: str) -> str:
            return base64.b64encode(text.encode()).decode()

        user = {"token": token} if token else {
            "client-certificate-data": inline(self._admin.certificate_pem),
            "client-key-data": inline(self._admin.key_pem),
        }  # fmt: skip
        cluster = {
            "server": f"https://127.0.0.1:{port or self.port}",
            "certificate-authority-data": inline(self._authority.certificate_pem),
        }
        context = {"cluster": "test", "user": "test", "namespace": namespace}
        file = self.folder / f"kubeconfig-{secrets.token_hex(4)}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": context}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(document))
        return file

    def compact(self) -> None:
        """Let etcd forget all history but the present."""
        status = self._ask_etcd("/v3/maintenance/status", {})
        revision = status["header"]["revision"]
        self._ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def audit_entries(self) -> list[AuditEntry]:
        """All requests so far but the tests' own."""
        return self._audit_log.entries()

    def _ask_etcd(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, body=json.dumps(body))
            answer = connection.getresponse()
            content: dict[str, Any] = json.loads(answer.read())
            assert answer.status == 200, content
            return content

    def _write_files(self) -> None:
        self.ca_file.write_text(self._authority.certificate_pem)
        self._authority.issue_server().write(
            self.folder, certificate="server.crt", key="server.key"
        )
        self._admin.write(self.folder, certificate="admin.crt", key="admin.key")
        (self.folder / "accounts.key").write_text(private_key_pem())
        (self.folder / "audit.yaml").write_text(POLICY)

    def _start_api(self, program: Path) -> None:
        folder = self.folder
        self._api = start_process(
            [
                program,
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                *("--bind-address=127.0.0.1", f"--secure-port={self.port}"),
                # Nothing reaches the "kubernetes" Service, and it would refuse a loopback address.
                *("--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"),
                *("--authorization-mode=RBAC", "--anonymous-auth=false"),
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                f"--client-ca-file={self.ca_file}",
                f"--tls-cert-file={folder / 'server.crt'}",
                f"--tls-private-key-file={folder / 'server.key'}",
                f"--cert-dir={folder}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={folder / 'accounts.key'}",
                f"--service-account-signing-key-file={folder / 'accounts.key'}",
                f"--audit-policy-file={folder / 'audit.yaml'}",
                f"--audit-log-path={self._audit_file}",
                # In MB: one file, whatever a run does.
                "--audit-log-maxsize=10000",
                # History goes when a test says so.
                "--etcd-compaction-interval=0",
            ],
            log_file=folder / "kube-apiserver.log",
            is_ready=self._is_ready,
            timeout_s=_START_TIMEOUT_S,
        )

    def _is_ready(self) -> bool:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=5, context=self._tls
        )
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False


@contextlib.contextmanager
def running() -> Iterator[KubernetesServer]:
    """Start a server without objects; raises ServerMissing."""
    for name in ("etcd", "kube-apiserver"):
        find_kubernetes_program(name)
    with tempfile.TemporaryDirectory(prefix="kubernetes-") as name:
        server = KubernetesServer(Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def private_key_pem() -> str:
    """A key with which an API server signs the tokens of accounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,  # the only form it takes
        serialization.NoEncryption(),
    ).decode()
