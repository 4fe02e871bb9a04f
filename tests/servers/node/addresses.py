"""Names and addresses of the node: fixed, for tests to write them down; one node a machine."""

from __future__ import annotations

from pathlib import Path

#: Everything of a running node; not below /run and the like, which the node has for itself.
FOLDER = Path("/var/lib/db-backup-node")
NODE = "node"
#: What pods reach of the machine that the node runs on, by this name too.
HOST = "10.89.0.1"
HOST_NAME = "host.test"
#: The node itself: API server, and ports of the node.
ADDRESS = "10.89.0.2"
API_PORT = 6443
DNS_READY_PORT = 8181
PODS = "10.88.0.0/16"
#: The pods' gateway, which answers their questions for names.
GATEWAY = "10.88.0.1"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
#: Both ends of the wire between machine and node, and the bridge of the pods.
HOST_DEVICE = "dbb-host"
NODE_DEVICE = "dbb-node"
BRIDGE = "dbb-pods"
#: The bridge would have another one with each pod that comes, and neighbours would ask in vain.
BRIDGE_MAC = "02:db:b0:00:00:01"
PAUSE_IMAGE = "localhost/pause:test"
