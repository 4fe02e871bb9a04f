"""What an object, or its class for all, may say of the runner's pod.

What runs in it is not among that: a pod holds the credentials of its class.
Volumes are of kinds that reach no node and no token, they are mounted where no
program is looked for, and only those variables may be set that choose none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from attrs import Factory, evolve, field, frozen

from controller.api import pod_rules
from controller.api.bounds import (
    DNS_LABEL,
    DNS_NAME,
    KEY_OR_PREFIX,
    LABEL_VALUE,
    PATH_STEP,
    QUALIFIED_NAME,
    SECRET_KEY,
    TEXT,
    All,
    Between,
    Each,
    Keys,
    Length,
    Matches,
)
from controller.api.raw import RawObject
from controller.api.rules import Checked
from controller.api.secrets import SecretRef

_QUANTITY = Matches(
    r"[0-9]{1,15}(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?", "a quantity such as 500m or 2Gi"
)
_ONE_NAME = evolve(DNS_NAME, optional=True)
_MODE = Between(0, 0o777)
_RELATIVE = Matches(rf"{PATH_STEP}(/{PATH_STEP})*", "a relative path without . or ..", longest=512)
_WHERE_AND_HOW = (
    r"(HTTP|HTTPS|NO|ALL)_PROXY|(http|https|no|all)_proxy"
    r"|AWS_(REGION|DEFAULT_REGION|EC2_METADATA_DISABLED|STS_REGIONAL_ENDPOINTS)"
    r"|GOOGLE_CLOUD_PROJECT"
)
_VARIABLES = Matches(
    _WHERE_AND_HOW,
    "one of the variables of proxies, AWS_* and GOOGLE_* that docs/configuration.md lists",
)
# Each names an identity, or a file that says where to send which other file for one.
_CLASS_VARIABLES = Matches(
    rf"{_WHERE_AND_HOW}|AWS_(ROLE_ARN|ROLE_SESSION_NAME|WEB_IDENTITY_TOKEN_FILE)"
    r"|GOOGLE_APPLICATION_CREDENTIALS",
    "one of the variables of proxies, AWS_* and GOOGLE_* that docs/configuration.md lists",
)


def _read_only(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _map_of(keys: Matches, values: Matches) -> Any:
    return field(
        factory=dict,
        converter=_read_only,
        validator=All((Length(0, 64), Keys(keys), Each(values))),
    )


def _list_of_up_to(count: int, check: Any = None) -> Any:
    checks = (Length(0, count),) if check is None else (Length(0, count), Each(check))
    return field(default=(), converter=tuple, validator=All(checks))


@frozen(kw_only=True)
class Resources(Checked):
    """Requests and limits of the runner's container: cpu, memory, ephemeral-storage.

    Args:
        requests: what is kept free for it.
        limits: what it may use at most.
    """

    RULES = (pod_rules.requests_fit_limits,)

    requests: Mapping[str, str] = _map_of(QUALIFIED_NAME, _QUANTITY)
    limits: Mapping[str, str] = _map_of(QUALIFIED_NAME, _QUANTITY)


class TolerationOperator(enum.Enum):
    """How a taint's value is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(enum.Enum):
    """What a taint does."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@frozen(kw_only=True)
class Toleration:
    """A taint of nodes that the pod puts up with, as in a pod's own spec.

    Args:
        key: of the taint; left out: every key.
        operator: Exists or Equal.
        value: of the taint, for Equal.
        effect: of the taint; left out: every effect.
        toleration_seconds: for NoExecute: how long.
    """

    key: str = field(default="", validator=evolve(QUALIFIED_NAME, optional=True))
    operator: TolerationOperator | None = None
    value: str = field(default="", validator=LABEL_VALUE)
    effect: TaintEffect | None = None
    toleration_seconds: int | None = field(default=None, validator=Between(0, 31_622_400))


@frozen(kw_only=True)
class EnvVariable(Checked):
    """A variable of the runner's environment; only some may be set.

    Args:
        name: of the variable.
        value: the text itself.
        from_secret: a key of a Secret of the object's namespace.
    """

    LIST_KEY: ClassVar[str] = "name"
    RULES = (pod_rules.one_source_of_a_variable,)

    name: str = field(validator=_VARIABLES)
    value: str | None = field(default=None, validator=Matches(r"[^\x00]*", "text", longest=4096))
    from_secret: SecretRef | None = None


@frozen(kw_only=True)
class ClassEnvVariable(EnvVariable):
    """A variable of the environment of a class's runners, which may choose an identity, too."""

    name: str = field(validator=_CLASS_VARIABLES)


@frozen(kw_only=True)
class VolumeItem:
    """One key as a file.

    Args:
        key: in the Secret or ConfigMap.
        path: of the file in the volume.
    """

    key: str = field(validator=SECRET_KEY)
    path: str = field(validator=_RELATIVE)


@frozen(kw_only=True)
class EmptyDir:
    """A folder that is empty at each start of the pod.

    Args:
        medium: Memory for a file system in memory, which counts as the container's.
        size_limit: the pod is evicted if more is in it.
    """

    medium: str = field(default="", validator=Matches("Memory", "Memory", optional=True))
    size_limit: str | None = field(default=None, validator=_QUANTITY)


@frozen(kw_only=True)
class Claim:
    """The volume of a PersistentVolumeClaim of the object's namespace.

    Args:
        claim_name: name of the claim.
        read_only: nothing can be written to it.
    """

    claim_name: str = field(validator=DNS_NAME)
    read_only: bool = False


@frozen(kw_only=True)
class ConfigMapFiles:
    """Files of a ConfigMap of the object's namespace.

    Args:
        name: of the ConfigMap.
        items: which keys, and where; left out: all.
        optional: the pod starts without it.
        default_mode: permissions of the files, as a number.
    """

    name: str = field(validator=DNS_NAME)
    items: tuple[VolumeItem, ...] = _list_of_up_to(64)
    optional: bool = False
    default_mode: int | None = field(default=None, validator=_MODE)


@frozen(kw_only=True)
class SecretFiles(Checked):
    """Files of a Secret of the object's namespace.

    Args:
        secret_name: name of the Secret.
        items: which keys, and where; left out: all.
        optional: the pod starts without it.
        default_mode: permissions of the files, as a number.
    """

    RULES = (pod_rules.files_of_no_child,)

    secret_name: str = field(validator=DNS_NAME)
    items: tuple[VolumeItem, ...] = _list_of_up_to(64)
    optional: bool = False
    default_mode: int | None = field(default=None, validator=_MODE)


@frozen(kw_only=True)
class ProjectedFiles:
    """Files of one Secret or ConfigMap in a projected volume.

    Args:
        name: of the Secret or ConfigMap.
        items: which keys, and where; left out: all.
        optional: the pod starts without it.
    """

    name: str = field(validator=DNS_NAME)
    items: tuple[VolumeItem, ...] = _list_of_up_to(64)
    optional: bool = False


@frozen(kw_only=True)
class ProjectedSource(Checked):
    """One source of a projected volume: a Secret or a ConfigMap. No tokens.

    Args:
        secret: files of a Secret.
        config_map: files of a ConfigMap.
    """

    RULES = (pod_rules.one_projected_source, pod_rules.source_is_no_child)

    secret: ProjectedFiles | None = None
    config_map: ProjectedFiles | None = None


@frozen(kw_only=True)
class Projected:
    """Files of several Secrets and ConfigMaps in one folder.

    Args:
        sources: whose files.
        default_mode: permissions of the files, as a number.
    """

    sources: tuple[ProjectedSource, ...] = field(converter=tuple, validator=Length(1, 16))
    default_mode: int | None = field(default=None, validator=_MODE)


@frozen(kw_only=True)
class Volume(Checked):
    """A further volume of the pod: of one of these kinds and no other.

    Args:
        name: for `volumeMounts`; names that begin with db-backup- are taken.
    """

    LIST_KEY: ClassVar[str] = "name"
    RULES = (pod_rules.one_kind_of_volume, pod_rules.name_is_not_taken)

    name: str = field(validator=DNS_LABEL)
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: Claim | None = None
    config_map: ConfigMapFiles | None = None
    secret: SecretFiles | None = None
    projected: Projected | None = None


@frozen(kw_only=True)
class VolumeMount:
    """Where a volume is mounted.

    Args:
        name: of the volume.
        mount_path: a folder below /mnt.
        read_only: nothing can be written to it.
    """

    LIST_KEY: ClassVar[str] = "mountPath"

    name: str = field(validator=DNS_LABEL)
    mount_path: str = field(
        validator=Matches(rf"/mnt(/{PATH_STEP})+", "a folder below /mnt, without . or ..")
    )
    read_only: bool = False


@frozen(kw_only=True)
class Scratch(Checked):
    """The volume for temporary files; left out: on the node's disk, without a limit.

    Args:
        size_limit: on the node's disk, with this limit; the pod is evicted over it.
        claim_name: on the volume of this PersistentVolumeClaim instead.
    """

    RULES = (pod_rules.one_kind_of_scratch,)

    size_limit: str | None = field(default=None, validator=_QUANTITY)
    claim_name: str = field(default="", validator=_ONE_NAME)


@frozen(kw_only=True)
class PodOptions(Checked):
    """What may be said of a runner's pod.

    Args:
        node_selector: labels of the nodes that it may run on.
        affinity: as in a pod's own spec.
        tolerations: taints of nodes that it puts up with.
        annotations: further annotations of the pod; of an object those that its class allows.
        labels: further labels of the pod; of an object those that its class allows.
        priority_class_name: name of a PriorityClass.
        image_pull_secrets: names of Secrets of the object's namespace for the image's registry.
        env: further variables.
        volumes: further volumes.
        volume_mounts: where they are mounted.
    """

    RULES = (
        pod_rules.labels_are_not_ours,
        pod_rules.pulls_with_no_child,
        pod_rules.names_differ,
    )

    resources: Resources = Factory(Resources)
    node_selector: Mapping[str, str] = _map_of(QUALIFIED_NAME, LABEL_VALUE)
    affinity: RawObject | None = None
    tolerations: tuple[Toleration, ...] = _list_of_up_to(32)
    annotations: Mapping[str, str] = field(
        factory=dict,
        converter=_read_only,
        validator=All((Length(0, 64), Keys(QUALIFIED_NAME))),
    )
    labels: Mapping[str, str] = _map_of(QUALIFIED_NAME, LABEL_VALUE)
    priority_class_name: str = field(default="", validator=_ONE_NAME)
    image_pull_secrets: tuple[str, ...] = _list_of_up_to(16, DNS_NAME)
    env: tuple[EnvVariable, ...] = _list_of_up_to(32)
    volumes: tuple[Volume, ...] = _list_of_up_to(32)
    volume_mounts: tuple[VolumeMount, ...] = _list_of_up_to(32)
    scratch: Scratch | None = None


@frozen(kw_only=True)
class RunnerDefaults(PodOptions):
    """Defaults for the pods of all runners of a class; what an object says itself wins.

    Args:
        image: the whole name of the image, instead of the one that engine,
            database version and release make.
        allowed_annotations: keys that the objects' own annotations may have;
            one that ends in / stands for all below it. Left out: none.
        allowed_labels: the same for labels.
    """

    env: tuple[ClassEnvVariable, ...] = _list_of_up_to(32)
    image: str = field(default="", validator=evolve(TEXT, optional=True))
    allowed_annotations: tuple[str, ...] = _list_of_up_to(64, KEY_OR_PREFIX)
    allowed_labels: tuple[str, ...] = _list_of_up_to(64, KEY_OR_PREFIX)
