"""All children of one DatabaseBackup, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, evolve, frozen

from controller.api.errors import AccessDenied, DependencyMissing
from controller.api.names import child_name
from controller.api.secrets import Secret, SecretRef, SecretValue
from controller.api.v1 import DatabaseBackup, DatabaseBackupStorageClass, StorageClassSpec
from controller.resources.access import role, role_binding, service_account
from controller.resources.config_secret import Lookup, config_secret, resolved_storage
from controller.resources.deployment import RunnerPod, deployment
from controller.resources.labels import Child
from controller.resources.lease import lease
from controller.resources.network_policy import network_policy
from controller.resources.passphrases import ClassKeys
from controller.resources.pull_secret import DOCKER_CONFIG, pull_secret
from controller.resources.runner_options import merged
from controller.resources.tenant import tenant_of
from engines import registry
from engines.interface import InitOptions, PodSpec


@frozen(kw_only=True)
class Settings:
    """What one controller gives to all of its runners.

    Args:
        image_prefix: of the runners' images: ``<prefix>-<engine>:<version>-<release>``.
        release: of this build, see controller.api.version.
        cluster_id: UID of the namespace kube-system.
        pull_secret: name of the Secret with a docker configuration for the
            images' registry, which `secrets` finds; empty: there is none.
    """

    image_prefix: str
    release: str
    cluster_id: str
    pull_secret: str = ""
    keys: ClassKeys = Factory(ClassKeys)


@frozen(kw_only=True)
class Desired:
    """What has to be there.

    Args:
        name: of the Deployment, and of each child that is alone of its kind.
        children: what a later one refers to comes before it.
    """

    name: str
    children: tuple[Child, ...]


def desired(
    backup: DatabaseBackup,
    storage_class: DatabaseBackupStorageClass,
    *,
    raw_backup: Mapping[str, Any],
    secrets: Lookup,
    settings: Settings,
) -> Desired:
    """Build the children.

    Args:
        raw_backup: the same object as the cluster has it: the runner gets every
            field, also those that this build does not know.
        secrets: finds the text of a Secret of the controller's namespace.
    Raises:
        InvalidSpec, UnknownEngine: a person has to change the object or class.
        AccessDenied: the class is not for this namespace.
        DependencyMissing: from `secrets`.
    """
    _check_allowed(backup, storage_class)
    spec = storage_class.spec
    pod = RunnerPod(
        engine=_engine_pod(backup, spec, settings),
        options=merged(backup.spec.runner, spec.runner),
        tenant=tenant_of(backup, spec),
        has_pull_secret=bool(settings.pull_secret),
    )
    storage = resolved_storage(backup, storage_class, secrets, settings.keys)
    children = [config_secret(backup, raw_backup, storage, cluster_id=settings.cluster_id)]
    if settings.pull_secret:
        children.append(pull_secret(backup, _docker_config(settings.pull_secret, secrets)))
    children += [
        service_account(backup, spec.service_account_annotations),
        role(backup),
        role_binding(backup),
        lease(backup),
        network_policy(backup),
        deployment(backup, pod),
    ]
    name = child_name(backup.metadata.namespace, backup.metadata.name)
    return Desired(name=name, children=tuple(children))


def _check_allowed(backup: DatabaseBackup, storage_class: DatabaseBackupStorageClass) -> None:
    namespace = backup.metadata.namespace
    if not storage_class.spec.allows(namespace):
        raise AccessDenied(
            f"the storage class {storage_class.metadata.name} is not for namespace {namespace}: "
            "name another one, or have the namespace added to its spec.allowedNamespaces"
        )


def _engine_pod(backup: DatabaseBackup, storage: StorageClassSpec, settings: Settings) -> PodSpec:
    engine = registry.get(backup.spec.database_type)
    engine.init(
        InitOptions(
            namespace=backup.metadata.namespace,
            name=backup.metadata.name,
            spec=getattr(backup.spec, backup.spec.database_type),
            resolve=_resolve_nothing,
            environ={},
            version=backup.spec.database_version,
            locations=storage.backup_locations,
        )
    )
    pod = engine.pod_spec(image_prefix=settings.image_prefix, release=settings.release)
    return evolve(pod, image=storage.runner.image or pod.image)


def _docker_config(name: str, secrets: Lookup) -> Secret:
    try:
        return secrets(SecretRef(name=name, key=DOCKER_CONFIG))
    except DependencyMissing as error:
        # Told to who looks at the object: say that this is about the installation.
        raise DependencyMissing(f"credentials for the registry of all runners: {error}") from error


def _resolve_nothing(_value: SecretValue) -> Secret:
    raise DependencyMissing("secrets of a DatabaseBackup are read by its runner alone")
