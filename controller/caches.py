"""What a reconcile sees of the cluster without asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from controller.api.errors import DependencyMissing
from controller.api.keys import ObjectKey
from controller.api.names import child_name
from controller.api.secrets import Secret, SecretRef
from controller.cache.store import Lister
from controller.kube.resource import DEPLOYMENTS, Resource
from controller.projections import BY_ROLLING, Rollout, SeenBackup, SeenChild, SeenClass, SeenSecret


@frozen(kw_only=True)
class Caches:
    """One lister a kind.

    Args:
        secrets: of the controller's namespace alone.
        children: of the kinds that the controller may list everywhere; with the
            indexes BY_OWNER and BY_ROLLING.
    """

    backups: Lister[SeenBackup]
    classes: Lister[SeenClass]
    secrets: Lister[SeenSecret]
    children: Mapping[Resource, Lister[SeenChild]]

    def rollout(self, key: ObjectKey) -> Rollout | None:
        """How far the runner's Deployment of a DatabaseBackup is; None: there is none."""
        name = child_name(key.namespace, key.name)
        seen = self.children[DEPLOYMENTS].get(ObjectKey(key.namespace, name))
        return seen.rollout if seen else None

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
