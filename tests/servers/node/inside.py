"""The first process of a node: starts all programs of it, and ends when one of them does.

It has its own processes, mounts and network. When it ends, the kernel ends
everything else in there, containers too.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.servers.node import addresses
from tests.servers.node.files import Files
from tests.servers.node.programs import Programs, find

#: What kubelet and network plugins write to, whatever they are told; emptied for the node alone.
FIXED_FOLDERS = ("/var/lib/kubelet", "/var/lib/cni", "/var/log/containers")
_START_TIMEOUT_S = 60.0
_TICK_S = 0.05
# One object after the other is what the default limits of both make of a hundred pods.
_UNHURRIED = ("--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000")


class NotStarted(Exception):
    """Something of the node did not come up; the message says what."""


class Node:
    """The programs of a node, by the name that each has in the log."""

    def __init__(self, files: Files, programs: Programs) -> None:
        self._files = files
        self._programs = programs
        self._names: dict[int, str] = {}

    def start(self) -> None:
        """Start everything; returns when all of it runs, which is before it is ready.

        Raises: NotStarted.
        """
        files, programs = self._files, self._programs
        self._run(
            "containerd",
            [programs.containerd, "--config", files.settings("containerd.toml")],
        )
        self._run(
            "etcd", [programs.etcd, f"--data-dir={files.folder / 'etcd'}", "--unsafe-no-fsync"]
        )
        self._run("kube-apiserver", [programs.apiserver, *self._api_options()])
        self._wait_for_api()
        self._run(
            "kube-controller-manager",
            [
                *("kube-controller-manager", f"--kubeconfig={files.kubeconfig('manager')}"),
                f"--service-account-private-key-file={files.pki('accounts.key')}",
                *(f"--root-ca-file={files.ca}", "--use-service-account-credentials=true"),
                f"--flex-volume-plugin-dir={files.folder / 'volumeplugins'}",
                *_UNHURRIED,
            ],
        )
        self._run(
            "kube-scheduler",
            ["kube-scheduler", f"--kubeconfig={files.kubeconfig('scheduler')}", *_UNHURRIED],
        )
        self._run(
            "kubelet",
            [
                *("kubelet", f"--config={files.settings('kubelet.yaml')}"),
                f"--kubeconfig={files.kubeconfig('kubelet')}",
                *(f"--root-dir={files.folder / 'kubelet'}", f"--cert-dir={files.folder / 'pki'}"),
                *(f"--hostname-override={addresses.NODE}", f"--node-ip={addresses.ADDRESS}"),
            ],
        )
        self._run("kube-proxy", ["kube-proxy", f"--config={files.settings('proxy.yaml')}"])
        self._run("coredns", [programs.coredns, "-conf", files.settings("Corefile")])

    def first_end(self) -> str:
        """Wait for the first program that ends, and say which and how; orphans are reaped."""
        while True:
            pid, status = os.wait()
            if pid in self._names:
                return f"{self._names[pid]} ended with {os.waitstatus_to_exitcode(status)}"

    def _run(self, name: str, argv: Sequence[str | Path]) -> None:
        """Start a program; one without a path is of the one program that is several."""
        program = argv[0] if isinstance(argv[0], Path) else self._programs.node
        with (self._files.logs / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(one) for one in argv],
                executable=program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._names[process.pid] = name

    def _api_options(self) -> list[str]:
        pki = self._files.pki
        return [
            *("--etcd-servers=http://127.0.0.1:2379", f"--secure-port={addresses.API_PORT}"),
            f"--advertise-address={addresses.ADDRESS}",
            f"--service-cluster-ip-range={addresses.SERVICES}",
            *("--authorization-mode=Node,RBAC", "--anonymous-auth=false"),
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            f"--client-ca-file={self._files.ca}",
            f"--tls-cert-file={pki('apiserver.crt')}",
            f"--tls-private-key-file={pki('apiserver.key')}",
            f"--kubelet-client-certificate={pki('apiserver-client.crt')}",
            f"--kubelet-client-key={pki('apiserver-client.key')}",
            f"--kubelet-certificate-authority={self._files.ca}",
            # Nobody knows the node by its name: exec and logs go to its address.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki('accounts.key')}",
            f"--service-account-signing-key-file={pki('accounts.key')}",
        ]

    def _wait_for_api(self) -> None:
        context = ssl.create_default_context(cafile=self._files.ca)
        context.load_cert_chain(self._files.pki("admin.crt"), self._files.pki("admin.key"))
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _is_ready(context):
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if ended in self._names:
                raise NotStarted(f"{self._names[ended]} ended")
            if time.monotonic() > deadline:
                raise NotStarted(f"no API server after {_START_TIMEOUT_S:.0f} s")
            time.sleep(_TICK_S)


def _is_ready(context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", addresses.API_PORT, timeout=5, context=context
    )
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def prepare() -> None:
    """Mounts and network of the node.

    Raises: subprocess.CalledProcessError, NotStarted.
    """
    # The mounts of a pod have to be seen by its containers.
    _command("mount", "--make-rshared", "/")
    for folder in ("/run", *FIXED_FOLDERS):
        _command("mount", "-t", "tmpfs", "tmpfs", folder)
    _command("ip", "link", "set", "lo", "up")
    bridge = addresses.BRIDGE
    _command("ip", "link", "add", bridge, "address", addresses.BRIDGE_MAC, "type", "bridge")
    _command("ip", "addr", "add", f"{addresses.GATEWAY}/16", "dev", bridge)
    _command("ip", "link", "set", bridge, "up")
    # The other end is given to the node from outside.
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not Path("/proc/self/net/dev").read_text().count(addresses.NODE_DEVICE):
        if time.monotonic() > deadline:
            raise NotStarted(f"{addresses.NODE_DEVICE} was not given to the node")
        time.sleep(_TICK_S)
    _command("ip", "addr", "add", f"{addresses.ADDRESS}/24", "dev", addresses.NODE_DEVICE)
    _command("ip", "link", "set", addresses.NODE_DEVICE, "up")
    _command("ip", "route", "add", "default", "via", addresses.HOST)


def _command(*argv: str) -> None:
    subprocess.run(argv, check=True)


def main(folder: Path) -> int:
    prepare()
    node = Node(Files(folder), find())
    node.start()
    print(node.first_end(), flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
