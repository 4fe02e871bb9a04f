"""Objects, classes and Secrets, and the children that are built of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from controller.api import codec, v1
from controller.api.errors import DependencyMissing
from controller.api.secrets import Secret, SecretRef
from controller.resources.desired import Desired, Settings, desired
from controller.resources.labels import Child
from controller.resources.passphrases import ClassKeys
from tests.builders import a_backup_manifest, a_class_manifest, a_location_manifest

UID = "6f3c2b1a-0d5e-4f7a-9b8c-7d6e5f4a3b2c"
#: One for all tests: a passphrase that was stretched once is not stretched again.
KEYS = ClassKeys()
SETTINGS = Settings(
    image_prefix="registry.example.com/db-backup-runner",
    release="1.2.3",
    cluster_id="2f0b6e54-5f5c-4b1c-8f9d-000000000001",
    keys=KEYS,
)
SECRETS = {
    "bucket/id": "the-access-key",
    "bucket/secret": "the-secret-key",
    "encryption/passphrase": "the class's passphrase\n",
    "encryption/old": "the class's old passphrase",
    "registry/.dockerconfigjson": '{"auths": {}}',
}


def ref(name: str, key: str) -> dict[str, Any]:
    return {"fromSecret": {"name": name, "key": key}}


def lookup(reference: SecretRef) -> Secret:
    """As the controller finds texts of its own namespace."""
    try:
        return Secret(SECRETS[str(reference)])
    except KeyError:
        raise DependencyMissing(f"no Secret {reference}") from None


def a_raw_backup(*, metadata: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An object as the API server gives it."""
    raw = a_backup_manifest(**spec)
    raw["metadata"] |= {"uid": UID, "generation": 1} | dict(metadata or {})
    return raw


def build(
    raw: Mapping[str, Any], raw_class: Mapping[str, Any], settings: Settings = SETTINGS
) -> Desired:
    """Build from manifests."""
    return desired(
        codec.decode(v1.DatabaseBackup, raw),
        codec.decode(v1.DatabaseBackupStorageClass, raw_class),
        raw_backup=raw,
        secrets=lookup,
        settings=settings,
    )


def child_of(built: Desired, kind: str, *, suffix: str = "") -> Child:
    """The one child of a kind; of the two Secrets, that with `suffix` in its name."""
    (found,) = [
        one
        for one in built.children
        if one.resource.kind == kind and suffix in one.manifest["metadata"]["name"]
    ]
    return found


def template_of(built: Desired) -> dict[str, Any]:
    template: dict[str, Any] = child_of(built, "Deployment").manifest["spec"]["template"]
    return template


#: What a class has to allow for EVERY_OPTION and for the objects of tests.strategies.
ALLOWING = {
    "allowedAnnotations": ["a", "b.c/", "prometheus.io/"],
    "allowedLabels": ["team", "example.com/"],
}
A_CLASS = a_class_manifest(
    runner=ALLOWING,
    backupLocations=[
        a_location_manifest(
            name="s3",
            storageAccessKeyID=ref("bucket", "id"),
            storageSecretAccessKey=ref("bucket", "secret"),
            encryptionPass=ref("encryption", "passphrase"),
            previousEncryptionPasses=[ref("encryption", "old")],
        ),
        {"name": "nas", "storageType": "filesystem", "claimName": "backups", "path": "shop"},
    ],
)
WITH_SECRETS = {
    "database": "shop",
    "host": "shop-db",
    "user": "backup",
    "pass": ref("shop-db", "password"),
    "sslMode": "verify-full",
    "sslRootCert": ref("shop-db-tls", "ca.crt"),
    "sslCert": ref("shop-db-tls", "tls.crt"),
    "sslKey": ref("shop-db-tls", "tls.key"),
}

EVERY_OPTION: dict[str, Any] = {
    "parallelism": 4,
    "resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "2048Mi", "cpu": "2"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "affinity": {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "db-backup"}},
                    },
                }
            ]
        }
    },
    "tolerations": [
        {
            "key": "backups",
            "operator": "Equal",
            "value": "true",
            "effect": "NoExecute",
            "tolerationSeconds": 60,
        },
        {"operator": "Exists"},
    ],
    "annotations": {"prometheus.io/scrape": "true"},
    "labels": {"team": "web"},
    "imagePullSecrets": ["registry"],
    "env": [
        {"name": "NO_PROXY", "value": ".svc"},
        {"name": "HTTPS_PROXY"} | ref("proxy", "url"),
    ],
    "volumes": [
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "0.5Gi"}},
        {"name": "nas", "persistentVolumeClaim": {"claimName": "nas", "readOnly": True}},
        {"name": "files", "configMap": {"name": "files", "items": [{"key": "k", "path": "p"}]}},
        {"name": "gcp", "secret": {"secretName": "gcp", "optional": True, "defaultMode": 288}},
        {
            "name": "both",
            "projected": {
                "sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}],
                "defaultMode": 288,
            },
        },
    ],
    "volumeMounts": [
        {"name": "memory", "mountPath": "/mnt/memory"},
        {"name": "nas", "mountPath": "/mnt/nas", "readOnly": True},
        {"name": "files", "mountPath": "/mnt/files"},
        {"name": "gcp", "mountPath": "/mnt/gcp"},
        {"name": "both", "mountPath": "/mnt/both"},
    ],
    "scratch": {"claimName": "scratch"},
}

#: name -> object, class, settings.
CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any], Settings]] = {
    "smallest": (a_raw_backup(), a_class_manifest(), SETTINGS),
    "secrets-and-claims": (
        a_raw_backup(databaseVersion="16", postgres=WITH_SECRETS),
        A_CLASS,
        attrs.evolve(SETTINGS, pull_secret="registry"),
    ),
    "every-option": (
        a_raw_backup(runner=EVERY_OPTION),
        a_class_manifest(runner=ALLOWING),
        SETTINGS,
    ),
}


def children_of(case: str) -> Desired:
    return build(*CASES[case])
