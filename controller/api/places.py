"""Where a runner's pod has its things: what the controller mounts and the runner looks for."""

from __future__ import annotations

from pathlib import PurePosixPath

#: The object, its class's spec, the cluster's id, and `secrets/<name>/<key>`.
CONFIG_DIR = "/etc/db-backup"
#: A volume in memory or on the node, for what a running runner leaves there.
RUN_VOLUME = "/run/db-backup"
#: A folder on it: the volume's own root belongs to root and is open to the pod's group.
CONTROL_DIR = f"{RUN_VOLUME}/runner"
#: Temporary files; the only other folder that can be written to.
SCRATCH_DIR = "/scratch"
_CLAIMS = PurePosixPath("/var/lib/db-backup/claims")


def claim_folder(claim_name: str) -> str:
    """Where the volume of a PersistentVolumeClaim is, for locations of type filesystem."""
    return str(_CLAIMS / claim_name)
