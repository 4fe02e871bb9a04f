"""What people write into objects, well or badly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from controller.kube.resource import (
    DEPLOYMENTS,
    LEASES,
    NETWORK_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.integration.controller.churn_model import NEVER
from tests.integration.kube.objects import a_deployment

Raw = dict[str, Any]

CLASS_NAMES = tuple(f"class-{number}" for number in range(6))
SECRET_NAMES = tuple(f"bucket-{number}" for number in range(4))
#: Of each of these Secrets.
KEYS = ("key", "passphrase")


def a_spec(random: Random) -> Raw:
    """Of a DatabaseBackup; one in five is wrong, or waits for something."""
    spec: Raw = {
        "databaseType": "postgres",
        "databaseVersion": random.choice(["15", "16", "17"]),
        "backupStorageClass": random.choice([*CLASS_NAMES, *CLASS_NAMES, "nowhere"]),
        "postgres": {"database": "shop", "host": "db", "user": "backup"},
    }
    if random.random() < 0.05:
        mysql = {"database": "shop", "host": "db", "user": {"value": "backup"}}
        spec |= {"databaseType": "mysql", "postgres": None, "mysql": mysql}
    if random.random() < 0.05:
        spec["backupCron"] = NEVER
    else:
        spec["backupInterval"] = random.randint(1, 99)
    runner: Raw = {}
    if random.random() < 0.3:
        runner["resources"] = {"limits": {"memory": f"{random.randint(2, 9)}Gi"}}
    if random.random() < 0.1:
        runner["labels"] = {"team": "web"}
    if runner:
        spec["runner"] = runner
    return {name: value for name, value in spec.items() if value is not None}


def a_class_spec(random: Random, namespaces: Sequence[str]) -> Raw:
    """Of a DatabaseBackupStorageClass; some are for most namespaces only."""

    def ref(key: str) -> Raw:
        return {"fromSecret": {"name": random.choice(SECRET_NAMES), "key": key}}

    location: Raw = {
        "name": "s3",
        "storageType": "s3",
        "storageBucket": random.choice(["backups", "other"]),
        "storageAccessKeyID": {"value": "an-id"},
        "storageSecretAccessKey": ref("key"),
    }
    if random.random() < 0.3:
        location["encryptionPass"] = ref("passphrase")
    spec: Raw = {"backupLocations": [location]}
    if random.random() < 0.2:
        spec["allowedNamespaces"] = random.sample(namespaces, len(namespaces) - 1)
    if random.random() < 0.2:
        spec["credentialScope"] = "Namespace"
    if random.random() < 0.7:
        spec["runner"] = {"allowedLabels": ["team"]}
        if random.random() < 0.3:
            spec["runner"]["nodeSelector"] = {"disk": random.choice(["fast", "slow"])}
    return spec


_THEIRS = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": "theirs"}
#: What a stranger's object says, where it has to say something.
CONTENT: dict[Resource, Raw] = {
    ROLE_BINDINGS: {"roleRef": _THEIRS},
    DEPLOYMENTS: {"spec": a_deployment("", "theirs")["spec"]},
    NETWORK_POLICIES: {"spec": {"podSelector": {}}},
}


def _widen(raw: Raw) -> None:
    raw["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]})


def _scale(raw: Raw) -> None:
    raw["spec"]["replicas"] = 2
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"


def _invite(raw: Raw) -> None:
    raw["subjects"].append({"kind": "User", "name": "mallory", "apiGroup": ROLES.group})


_COMPONENT = "app.kubernetes.io/component"
#: What people do to a child by hand, and what has to be put right.
EDITS: dict[Resource, Callable[[Raw], object]] = {
    SECRETS: lambda raw: raw["data"].update(cluster=""),
    SERVICE_ACCOUNTS: lambda raw: raw.update(automountServiceAccountToken=True),
    ROLES: _widen,
    ROLE_BINDINGS: _invite,
    LEASES: lambda raw: raw["metadata"].setdefault("labels", {}).update({_COMPONENT: "other"}),
    NETWORK_POLICIES: lambda raw: raw["spec"].update(ingress=[{}]),
    DEPLOYMENTS: _scale,
}
