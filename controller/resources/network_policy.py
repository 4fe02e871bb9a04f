"""What may reach a runner over the network."""

from __future__ import annotations

from controller.api.v1 import DatabaseBackup
from controller.kube.resource import NETWORK_POLICIES
from controller.resources.deployment import METRICS_PORT
from controller.resources.labels import Child, child, pod_selector


def network_policy(backup: DatabaseBackup) -> Child:
    """Build the policy: in, from everywhere, to the port of metrics and probes; nothing else.

    Out is not limited: rules know addresses, and databases and buckets are names.
    """
    port = {"protocol": "TCP", "port": METRICS_PORT}
    return child(
        NETWORK_POLICIES,
        backup,
        spec={
            "podSelector": {"matchLabels": pod_selector(backup)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [port]}],
        },
    )
