"""The credentials for the registry of the runner's image, where the chart sets them."""

from __future__ import annotations

from controller.api.secrets import Secret
from controller.api.v1 import DatabaseBackup
from controller.kube.resource import SECRETS
from controller.resources.config_secret import encoded
from controller.resources.labels import Child, child

ROLE = "pull"
#: The key that the kubelet reads.
DOCKER_CONFIG = ".dockerconfigjson"


def pull_secret(backup: DatabaseBackup, docker_config: Secret) -> Child:
    """Build the Secret from the text of a docker configuration ."""
    return child(
        SECRETS,
        backup,
        role=ROLE,
        type="kubernetes.io/dockerconfigjson",
        data={DOCKER_CONFIG: encoded(docker_config.reveal())},
    )
