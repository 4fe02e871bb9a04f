"""What is written before a node starts: certificates, kubeconfigs, settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from tests.servers.kubernetes import private_key_pem
from tests.servers.node import addresses
from tests.servers.tls import Authority

#: Who speaks to the API server: file -> name and group, as Kubernetes knows them.
_CLIENTS = {
    "admin": ("admin", "system:masters"),
    "apiserver-client": ("apiserver", "system:masters"),
    "manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{addresses.NODE}", "system:nodes"),
}


@frozen
class Files:
    """Where everything of a node lies."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.pki("ca.crt")

    @property
    def socket(self) -> Path:
        """Of containerd."""
        return self.folder / "containerd.sock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def registries(self) -> Path:
        """A folder for each registry, which containerd looks at before it pulls."""
        return self.folder / "registries"

    def trust(self, registry: str, ca_file: Path, *, reached_at: str = "") -> None:
        """Let containerd pull from a registry whose certificate an authority of its own signed.

        Args:
            registry: host:port, as the names of its images begin.
            reached_at: host:port where the node finds it; empty: by its name.
        """
        folder = self.registries / registry
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_text(ca_file.read_text())
        (folder / "hosts.toml").write_text(
            f'[host."https://{reached_at or registry}"]\n'
            '  capabilities = ["pull", "resolve"]\n'
            f'  ca = "{folder / "ca.crt"}"\n'
        )

    def pki(self, name: str) -> Path:
        return self.folder / "pki" / name

    def settings(self, name: str) -> Path:
        return self.folder / "settings" / name

    def kubeconfig(self, client: str) -> Path:
        return self.settings(f"{client}.kubeconfig")

    def write(self, plugins: Path) -> None:
        """Write all of them into a new folder.

        Args:
            plugins: folder of the network plugins.
        """
        for name in ("pki", "settings", "logs", "network"):
            (self.folder / name).mkdir(mode=0o700, parents=True)
        self._write_certificates()
        for client in _CLIENTS:
            self.kubeconfig(client).write_text(json.dumps(self._kubeconfig(client)))
        self.settings("containerd.toml").write_text(self._containerd(plugins))
        self.settings("kubelet.yaml").write_text(yaml.safe_dump(self._kubelet()))
        self.settings("proxy.yaml").write_text(yaml.safe_dump(self._proxy()))
        self.settings("Corefile").write_text(self._corefile())
        self.settings("resolv.conf").write_text(f"nameserver {addresses.GATEWAY}\n")
        (self.folder / "network" / "10-pods.conflist").write_text(json.dumps(self._network()))

    def _write_certificates(self) -> None:
        authority = Authority("test cluster")
        self.ca.write_text(authority.certificate_pem)
        self.pki("accounts.key").write_text(private_key_pem())
        served = {
            "apiserver": (
                *("127.0.0.1", addresses.ADDRESS, addresses.API_SERVICE),
                *("kubernetes", "kubernetes.default", "kubernetes.default.svc"),
                "kubernetes.default.svc.cluster.local",
            ),
            "kubelet-server": (addresses.ADDRESS,),
        }
        for name, hosts in served.items():
            issued = authority.issue_server(*hosts)
            issued.write(self.folder / "pki", certificate=f"{name}.crt", key=f"{name}.key")
        for name, (user, group) in _CLIENTS.items():
            issued = authority.issue_client(user, organization=group)
            issued.write(self.folder / "pki", certificate=f"{name}.crt", key=f"{name}.key")

    def _kubeconfig(self, client: str) -> dict[str, Any]:
        server = f"https://{addresses.ADDRESS}:{addresses.API_PORT}"
        user = {
            "client-certificate": str(self.pki(f"{client}.crt")),
            "client-key": str(self.pki(f"{client}.key")),
        }
        cluster = {"server": server, "certificate-authority": str(self.ca)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
        }

    def _containerd(self, plugins: Path) -> str:
        state = self.folder / "containerd"
        return f"""\
version = 2
root = "{state}/root"
state = "{state}/state"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{addresses.PAUSE_IMAGE}"
  # Where there is no CAP_SYS_RESOURCE no process may be made less likely to be killed.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{self.registries}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{self.folder / "network"}"
"""

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.ca)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self.pki("kubelet-server.crt")),
            "tlsPrivateKeyFile": str(self.pki("kubelet-server.key")),
            "clusterDomain": "cluster.local",
            "clusterDNS": [addresses.GATEWAY],
            # The machine's own may be a link into a folder that the node does not have.
            "resolvConf": str(self.settings("resolv.conf")),
            "podLogsDir": str(self.folder / "podlogs"),
            "volumePluginDir": str(self.folder / "volumeplugins"),
            "evictionHard": {"memory.available": "100Mi"},
            "imageGCHighThresholdPercent": 100,
            # When a pod's files follow a Secret that changed; elsewhere it is a minute.
            "syncFrequency": "10s",
        }

    def _proxy(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "iptables": {"minSyncPeriod": "0s"},
            "clusterCIDR": addresses.PODS,
            "hostnameOverride": addresses.NODE,
            "clientConnection": {"kubeconfig": str(self.kubeconfig("proxy"))},
            # Limits of the whole machine, which are none of a test's business.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }

    def _corefile(self) -> str:
        return f"""\
.:53 {{
  bind {addresses.GATEWAY}
  errors
  ready {addresses.ADDRESS}:{addresses.DNS_READY_PORT}
  hosts {{
    {addresses.HOST} {addresses.HOST_NAME}
    fallthrough
  }}
  kubernetes cluster.local {{
    kubeconfig {self.kubeconfig("admin")}
    ttl 1
  }}
}}
"""

    def _network(self) -> dict[str, Any]:
        addressing = {
            "type": "host-local",
            "dataDir": str(self.folder / "addresses"),
            "ranges": [[{"subnet": addresses.PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": addresses.BRIDGE,
            "isGateway": True,
            "ipMasq": True,
            # A pod may call a Service that leads back to it.
            "hairpinMode": True,
            "ipam": addressing,
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}
