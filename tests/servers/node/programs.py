"""The programs of a node: where they are found, and how those are built that no registry has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from attrs import frozen

from tests.servers.kubernetes import find_kubernetes_program
from tests.servers.provider import ServerMissing, find_program

#: Built by `make test-servers`: program -> environment variable that names another one.
BUILT = {
    "kubernetes-node": "DB_BACKUP_TEST_KUBERNETES_NODE",
    "coredns": "DB_BACKUP_TEST_COREDNS",
    "pause": "DB_BACKUP_TEST_PAUSE",
}
#: Those of the operating system: program -> Debian's package of it.
INSTALLED = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
NETWORK_PLUGINS = "containernetworking-plugins"
#: Where distributions and the plugins' own releases put them.
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


@frozen(kw_only=True)
class Programs:
    """Absolute paths.

    Args:
        node: kubelet, kube-proxy, kube-controller-manager and kube-scheduler, by the
            name that it is called by.
        plugins: folder of the network plugins.
    """

    node: Path
    apiserver: Path
    etcd: Path
    kubectl: Path
    coredns: Path
    pause: Path
    containerd: Path
    plugins: Path


def find() -> Programs:
    """Raises ServerMissing: everything that is not there."""
    missing = missing_packages()
    if missing:
        raise ServerMissing(f"a node needs Debian's {', '.join(missing)}, or what is in them")
    return Programs(
        node=_built("kubernetes-node"),
        apiserver=find_kubernetes_program("kube-apiserver"),
        etcd=find_kubernetes_program("etcd"),
        kubectl=find_kubernetes_program("kubectl"),
        coredns=_built("coredns"),
        pause=_built("pause"),
        containerd=Path(shutil.which("containerd") or ""),
        plugins=next(folder for folder in _PLUGIN_FOLDERS if _has_plugins(folder)),
    )


def missing_packages() -> list[str]:
    """By what they install, so that other distributions and own builds count too."""
    missing = [package for name, package in INSTALLED.items() if shutil.which(name) is None]
    if not any(_has_plugins(folder) for folder in _PLUGIN_FOLDERS):
        missing.append(NETWORK_PLUGINS)
    return list(dict.fromkeys(missing))


def can_run() -> bool:
    return os.geteuid() == 0


def _has_plugins(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("bridge", "host-local", "loopback"))


def _built(name: str) -> Path:
    if found := find_program(name, variable=BUILT[name]):
        return found
    raise ServerMissing(f"no {name} program found")
