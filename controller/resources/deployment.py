"""The Deployment of a runner.

Its pod template says nothing that the mounted configuration says: a change of
schedule, retention or storage, or of the object's labels, changes no template
and so restarts no runner.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from controller.api import places
from controller.api.names import child_name
from controller.api.pod_rules import TAKEN_PREFIX
from controller.api.pods import PodOptions
from controller.api.v1 import DatabaseBackup
from controller.kube.resource import DEPLOYMENTS
from controller.resources import config_secret, pull_secret, runner_options
from controller.resources.labels import Child, Manifest, child, labels, pod_selector
from controller.resources.tenant import Tenant
from engines.interface import PodSpec

METRICS_PORT = 3000
CONTAINER = "runner"
#: How long a job may go on after SIGTERM, and then the time to take it back and to report.
SHUTDOWN_GRACE = "10m"
_TERMINATION_GRACE_S = 660
#: Of no user of a node; the images have a user of this number.
_ID = 65532
#: A certificate's key must not be readable by everybody: libpq refuses it then.
_SECRET_MODE = 0o440
# Nobody else names a volume so: controller.api.pod_rules.
_CONFIG_VOLUME = f"{TAKEN_PREFIX}config"
_RUN_VOLUME = f"{TAKEN_PREFIX}run"
_SCRATCH_VOLUME = f"{TAKEN_PREFIX}scratch"
# Sockets, and what a job puts aside: certificates, a table of contents.
_RUN_LIMIT = "256Mi"


@frozen(kw_only=True)
class RunnerPod:
    """What a runner's pod is made of, beside the object.

    Args:
        engine: the engine's part.
        options: what object and class say, merged.
        tenant: what of the object's namespace it mounts.
        has_pull_secret: there is a child Secret for the image's registry.
    """

    engine: PodSpec
    options: PodOptions
    tenant: Tenant
    has_pull_secret: bool = False


def deployment(backup: DatabaseBackup, pod: RunnerPod) -> Child:
    """Build the Deployment: one pod at most, also while it is replaced."""
    return child(
        DEPLOYMENTS,
        backup,
        spec={
            "replicas": 1,
            # Who pauses a rollout by hand would keep a runner as it was for ever.
            "paused": False,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": pod_selector(backup)},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": _pod_metadata(backup, pod.options),
                "spec": _pod_spec(backup, pod),
            },
        },
    )


def _pod_metadata(backup: DatabaseBackup, options: PodOptions) -> Manifest:
    metadata: Manifest = {"labels": {**options.labels, **labels(backup)}}
    if options.annotations:
        metadata["annotations"] = dict(options.annotations)
    return metadata


def _pod_spec(backup: DatabaseBackup, pod: RunnerPod) -> Manifest:
    namespace, name = backup.metadata.namespace, backup.metadata.name
    spec: Manifest = {
        "serviceAccountName": child_name(namespace, name),
        # For its Lease and its status; see access.py for how little the token can do.
        "automountServiceAccountToken": True,
        # A variable for each Service of the namespace is of no use, and changes with them.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _TERMINATION_GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _ID,
            "runAsGroup": _ID,
            "fsGroup": _ID,
            # Not the whole volume of backups at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pod)],
        "volumes": _volumes(backup, pod),
        **runner_options.placement(pod.options),
    }
    own = [child_name(namespace, name, pull_secret.ROLE)] if pod.has_pull_secret else []
    if pull_secrets := [*own, *pod.options.image_pull_secrets]:
        spec["imagePullSecrets"] = [{"name": one} for one in pull_secrets]
    return spec


def _container(pod: RunnerPod) -> Manifest:
    return {
        "name": CONTAINER,
        "image": pod.engine.image,
        "command": ["runner", "run"],
        "env": _environment(pod),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        # A parent that answers at all is well; a job has its own watchdog.
        "livenessProbe": _probe("/healthz", period_s=20, failures=6),
        "readinessProbe": _probe("/readyz", period_s=10, failures=3),
        "resources": runner_options.resources(pod.options),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": _CONFIG_VOLUME, "mountPath": places.CONFIG_DIR, "readOnly": True},
            {"name": _RUN_VOLUME, "mountPath": places.RUN_VOLUME},
            {"name": _SCRATCH_VOLUME, "mountPath": places.SCRATCH_DIR},
            *(
                {"name": _claim_volume(index), "mountPath": places.claim_folder(claim)}
                for index, claim in enumerate(pod.tenant.claims)
            ),
            *map(runner_options.mount, pod.options.volume_mounts),
        ],
    }


def _environment(pod: RunnerPod) -> list[Manifest]:
    given = {
        "CONFIG_DIR": places.CONFIG_DIR,
        "CONTROL_DIR": places.CONTROL_DIR,
        "LISTEN": f":{METRICS_PORT}",
        "LOG_LEVEL": "INFO",
        "RUNNER_IN_CLUSTER": "true",
        "SHUTDOWN_GRACE": SHUTDOWN_GRACE,
        "TMPDIR": places.SCRATCH_DIR,
    } | dict(pod.engine.environment)
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
    return [
        *({"name": name, "value": value} for name, value in sorted(given.items())),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in fields.items()
        ),
        *map(runner_options.variable, pod.options.env),
    ]


def _probe(path: str, *, period_s: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(backup: DatabaseBackup, pod: RunnerPod) -> list[Manifest]:
    return [
        {"name": _CONFIG_VOLUME, "projected": _config(backup, pod.tenant)},
        {"name": _RUN_VOLUME, "emptyDir": {"sizeLimit": _RUN_LIMIT}},
        {"name": _SCRATCH_VOLUME, **runner_options.scratch(pod.options)},
        *(
            {"name": _claim_volume(index), "persistentVolumeClaim": {"claimName": claim}}
            for index, claim in enumerate(pod.tenant.claims)
        ),
        *map(runner_options.volume, pod.options.volumes),
    ]


def _config(backup: DatabaseBackup, tenant: Tenant) -> Manifest:
    """One volume for all files, which the kubelet therefore publishes at once.

    The tenant's Secrets are optional: the runner starts without one, and says
    which is missing. Never by `subPath`, which is not updated.
    """
    namespace, name = backup.metadata.namespace, backup.metadata.name
    own = {"name": child_name(namespace, name, config_secret.ROLE)}
    sources: list[dict[str, Any]] = [{"secret": own}]
    for secret, keys in tenant.secret_keys.items():
        items = [{"key": key, "path": f"secrets/{secret}/{key}"} for key in keys]
        sources.append({"secret": {"name": secret, "optional": True, "items": items}})
    return {"defaultMode": _SECRET_MODE, "sources": sources}


def _claim_volume(index: int) -> str:
    return f"{TAKEN_PREFIX}claim-{index}"
