"""What `spec.runner` refuses, and Secrets that are one runner's alone, by every way to them."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api import codec, v1
from controller.api.errors import InvalidSpec
from controller.api.names import child_name
from tests.builders import a_backup_manifest, nested
from tests.unit.api.test_bad_input import DNS_NAME, OBJECT, PG, TEXT

VARIABLE = (
    "must be one of the variables of proxies, AWS_* and GOOGLE_* that docs/configuration.md lists"
)
KINDS = (
    "needs exactly one of emptyDir, persistentVolumeClaim, configMap, secret, projected: "
    "a runner mounts no other kinds"
)
CONFIG_SECRET = child_name("db", "shop", "config")
PULL_SECRET = child_name("db", "n" * 200, "pull")
OF_A_RUNNER = {"fromSecret": {"name": CONFIG_SECRET, "key": "storageSpec.yaml"}}
NOT_A_RUNNERS = "is a Secret that the controller makes for one runner alone: name one of your own"

# changed fields of the spec, path below spec, message
RUNNER_CASES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"runner": {"resources": {"limits": {"memory": "lots"}}}},
        "runner.resources.limits.memory",
        "must be a quantity such as 500m or 2Gi",
    ),
    ({"runner": {"resources": {"limits": {"cpu": 1}}}}, "runner.resources.limits.cpu", TEXT),
    (
        {"runner": {"resources": {"requests": {"cpu": "1500m"}, "limits": {"cpu": "1"}}}},
        "runner.resources.requests",
        "must not be above the limits",
    ),
    ({"runner": {"affinity": []}}, "runner.affinity", OBJECT),
    (
        {"runner": {"affinity": nested(33)}},
        "runner.affinity",
        "is nested deeper than 32 levels",
    ),
    (
        {"runner": {"tolerations": [{"operator": "Like"}]}},
        "runner.tolerations[0].operator",
        "must be one of Exists, Equal",
    ),
    (
        {"runner": {"labels": {"a": "b c"}}},
        "runner.labels.a",
        "must be a label's value: up to 63 letters, digits, -, _ and .",
    ),
    (
        {"runner": {"labels": {"app.kubernetes.io/name": "mine"}}},
        "runner.labels",
        "must not have keys below app.kubernetes.io/ or db-backup.nect.com/",
    ),
    (
        {"runner": {"env": [{"name": "LD_PRELOAD", "value": "/mnt/x.so"}]}},
        "runner.env[0].name",
        VARIABLE,
    ),
    (
        {"runner": {"env": [{"name": "CONFIG_DIR", "value": "/mnt"}]}},
        "runner.env[0].name",
        VARIABLE,
    ),
    *(
        ({"runner": {"env": [{"name": name, "value": "/mnt/x"}]}}, "runner.env[0].name", VARIABLE)
        for name in (
            "AWS_CONFIG_FILE",
            "AWS_ROLE_ARN",
            "AWS_ROLE_SESSION_NAME",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "GOOGLE_APPLICATION_CREDENTIALS",
        )
    ),
    (
        {"runner": {"env": [{"name": "AWS_REGION"}]}},
        "runner.env[0]",
        "needs exactly one of value, fromSecret",
    ),
    (
        {"runner": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
        "runner.volumes[0]",
        KINDS,
    ),
    (
        {"runner": {"volumes": [{"name": "two", "emptyDir": {}, "secret": {"secretName": "s"}}]}},
        "runner.volumes[0]",
        KINDS,
    ),
    (
        {
            "runner": {
                "volumes": [
                    {
                        "name": "t",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                    }
                ]
            }
        },
        "runner.volumes[0].projected.sources[0]",
        "needs exactly one of secret, configMap: a runner mounts no tokens",
    ),
    (
        {"runner": {"volumes": [{"name": "db-backup-config", "emptyDir": {}}]}},
        "runner.volumes[0].name",
        "must not begin with db-backup-: those are the controller's",
    ),
    (
        {"runner": {"volumeMounts": [{"name": "a", "mountPath": "/usr/bin"}]}},
        "runner.volumeMounts[0].mountPath",
        "must be a folder below /mnt, without . or ..",
    ),
    (
        {"runner": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/../etc"}]}},
        "runner.volumeMounts[0].mountPath",
        "must be a folder below /mnt, without . or ..",
    ),
    (
        {"runner": {"scratch": {"sizeLimit": "1Gi", "claimName": "c"}}},
        "runner.scratch.claimName",
        "cannot be combined with sizeLimit: a claim has its own size",
    ),
    ({"runner": {"imagePullSecrets": ["A"]}}, "runner.imagePullSecrets[0]", DNS_NAME),
    # Secrets of a runner, this one's or a neighbour's, by every way to them.
    ({"postgres": PG | {"pass": OF_A_RUNNER}}, "postgres.pass.fromSecret.name", NOT_A_RUNNERS),
    (
        {"postgres": PG | {"sslRootCert": OF_A_RUNNER}},
        "postgres.sslRootCert.fromSecret.name",
        NOT_A_RUNNERS,
    ),
    (
        {"runner": {"env": [{"name": "HTTPS_PROXY"} | OF_A_RUNNER]}},
        "runner.env[0].fromSecret.name",
        NOT_A_RUNNERS,
    ),
    (
        {"runner": {"volumes": [{"name": "a", "secret": {"secretName": CONFIG_SECRET}}]}},
        "runner.volumes[0].secret.secretName",
        NOT_A_RUNNERS,
    ),
    (
        {
            "runner": {
                "volumes": [
                    {"name": "a", "projected": {"sources": [{"secret": {"name": PULL_SECRET}}]}}
                ]
            }
        },
        "runner.volumes[0].projected.sources[0].secret",
        NOT_A_RUNNERS,
    ),
    (
        {"runner": {"imagePullSecrets": ["mine", PULL_SECRET]}},
        "runner.imagePullSecrets",
        NOT_A_RUNNERS,
    ),
]


@pytest.mark.parametrize(("change", "path", "message"), RUNNER_CASES)
def test_what_a_runner_may_not_get_is_refused(
    change: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        codec.decode(v1.DatabaseBackup, a_backup_manifest(**change))

    assert str(refused.value) == f"spec.{path}: {message}"
