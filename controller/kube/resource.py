"""Which kind of object a request is about, and under which path it lives."""

from __future__ import annotations

from urllib.parse import quote

from attrs import field, frozen

from controller.api.v1 import GROUP, VERSION


@frozen
class Resource:
    """One kind of object, as the API server's discovery would describe it.

    Args:
        group: "" for the core group.
        has_secrets: bodies hold secret values, so nothing that an answer says
            of their content is quoted anywhere.
    """

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = field(default=True, kw_only=True)
    has_secrets: bool = field(default=False, kw_only=True)

    @property
    def api_version(self) -> str:
        """What stands in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The path below the server's address.

        Args:
            namespace: None for all namespaces, or for a kind that is in none.
            name: "" for the collection.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            if not self.is_namespaced:
                raise ValueError(f"{self} are in no namespace")
            parts += ["namespaces", namespace]
        elif self.is_namespaced and name:
            raise ValueError(f"{self} are in namespaces, and none is named for {name!r}")
        parts += [self.plural, *filter(None, (name, subresource))]
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def __str__(self) -> str:
        """As kubectl and RBAC write it: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    is_namespaced=False,
)
DATABASE_BACKUPS = Resource(GROUP, VERSION, "databasebackups", "DatabaseBackup")
DATABASE_BACKUP_STORAGE_CLASSES = Resource(
    GROUP,
    VERSION,
    "databasebackupstorageclasses",
    "DatabaseBackupStorageClass",
    is_namespaced=False,
)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
PODS = Resource("", "v1", "pods", "Pod")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
SECRETS = Resource("", "v1", "secrets", "Secret", has_secrets=True)
SERVICES = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
