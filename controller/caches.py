"""What a reconcile sees of the cluster without asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

from attrs import frozen

from controller.api.errors import DependencyMissing
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.secrets import Secret, SecretRef
from controller.availability import Rollout, SeenPod, project_pod, runner_of
from controller.cache.mutation import MutationDetector
from controller.cache.store import Store
from controller.kube.resource import (
    DEPLOYMENTS,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    Resource,
)
from controller.projections import (
    BY_CLASS,
    BY_OWNER,
    BY_ROLLING,
    BY_RUNNER,
    BY_SECRET,
    SeenBackup,
    SeenChild,
    SeenClass,
    SeenSecret,
    class_of,
    owners_of,
    project_backup,
    project_child,
    project_class,
    project_secret,
    rolling_of,
    secrets_of,
)

#: Children that may be listed in all namespaces; Secrets may not, Leases need not.
CHILDREN = (SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES, DEPLOYMENTS)


@frozen(kw_only=True)
class Caches:
    """One store a kind: informers write to it, reconciles read.

    Args:
        secrets: of the controller's namespace alone.
        children: of `CHILDREN`.
        pods: of the runners.
    """

    backups: Store[SeenBackup]
    classes: Store[SeenClass]
    secrets: Store[SeenSecret]
    children: Mapping[Resource, Store[SeenChild]]
    pods: Store[SeenPod]

    @classmethod
    def new(cls, detector: MutationDetector | None = None) -> Self:
        """Make them, empty, with the projections and indexes that reconciles need.

        Args:
            detector: as of `Store`.
        """
        of_child = {BY_OWNER: owners_of, BY_ROLLING: rolling_of}
        return cls(
            backups=Store(project_backup, indexers={BY_CLASS: class_of}, detector=detector),
            classes=Store(project_class, indexers={BY_SECRET: secrets_of}, detector=detector),
            secrets=Store(project_secret, detector=detector),
            children={
                one: Store(project_child, indexers=of_child, detector=detector) for one in CHILDREN
            },
            pods=Store(project_pod, indexers={BY_RUNNER: runner_of}, detector=detector),
        )

    def rollout(self, key: ObjectKey) -> Rollout | None:
        """How far the runner's Deployment of a DatabaseBackup is; None: there is none."""
        name = child_name(key.namespace, key.name)
        seen = self.children[DEPLOYMENTS].get(ObjectKey(key.namespace, name))
        return seen.rollout if seen else None

    def pods_of(self, key: ObjectKey) -> tuple[SeenPod, ...]:
        """The pods of the runner of a DatabaseBackup."""
        runner = ObjectKey(key.namespace, child_name(key.namespace, key.name))
        return self.pods.by_index(BY_RUNNER, runner)

    def runners(self) -> dict[ObjectKey, bool]:
        """Whether a pod of its runner is up, of each object that is not being deleted."""
        # By owner: a name has a hash in it, which is dear for all objects at each scrape.
        with_pod = {
            uid
            for deployment in self.children[DEPLOYMENTS].values()
            if deployment.rollout and deployment.rollout.is_available
            for uid, _ in deployment.owners
        }
        return {
            seen.key: seen.uid in with_pod
            for seen in self.backups.values()
            if seen.deleted_at is None
        }

    def is_rolled_out(self, key: ObjectKey) -> bool:
        """Whether nothing of that runner is on its way any more."""
        rollout = self.rollout(key)
        return rollout is None or rollout.is_complete

    def rolling(self) -> Iterator[ObjectKey]:
        """Objects whose runner is being replaced; not those that are gone with it."""
        for seen in self.children[DEPLOYMENTS].by_index(BY_ROLLING, True):
            for uid, name in seen.owners:
                owner = self.backups.get(ObjectKey(seen.key.namespace, name))
                if owner is not None and owner.uid == uid:
                    yield owner.key

    def secret(self, namespace: str, reference: SecretRef) -> Secret:
        """The text that a class refers to.

        Raises:
            DependencyMissing: there is no such Secret or key, or it is no text.
        """
        key = ObjectKey(namespace, reference.name)
        seen = self.secrets.get(key)
        if seen is None:
            raise DependencyMissing(
                f"Secret {key} is not there; create it with the key {reference.key}"
            )
        return seen.text(reference.key)
