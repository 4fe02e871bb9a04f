"""What an object says of its pod over what its class says for all, and as a pod's spec has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from controller.api import codec
from controller.api.errors import InvalidSpec, Problem
from controller.api.pods import (
    EnvVariable,
    PodOptions,
    Resources,
    RunnerDefaults,
    Volume,
    VolumeMount,
)
from controller.api.quantity import amount, canonical
from controller.api.wire import join_path, key_path, relocated
from controller.resources.labels import Manifest

_T = TypeVar("_T")

#: Without other settings. A parent is small; a job compresses and uploads parts of 8 MiB.
_RESOURCES = Resources(
    requests={"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
    limits={"memory": "1Gi"},
)


def merged(own: PodOptions, defaults: RunnerDefaults) -> PodOptions:
    """Put an object's options over the class's.

    Maps are merged by key, `env`, `volumes` and `volumeMounts` by name or path;
    tolerations and pull secrets add up; the rest is the object's if it has it.

    Raises: InvalidSpec for annotations and labels that the class does not allow,
        for a mount of a volume that neither has, and for lists that are too
        long together.
    """
    if refused_keys := [*_not_allowed(own, defaults)]:
        raise InvalidSpec(refused_keys)
    try:
        options = _merged(own, defaults)
    except InvalidSpec as refused:
        raise InvalidSpec(relocated(refused, "spec.runner")) from None
    there = {volume.name for volume in options.volumes}
    for mount in options.volume_mounts:
        if mount.name not in there:
            path = f'spec.runner.volumeMounts["{mount.mount_path}"].name'
            raise InvalidSpec(
                [Problem(path, f"there is no volume {mount.name} in spec.runner.volumes")]
            )
    return options


def _not_allowed(own: PodOptions, defaults: RunnerDefaults) -> Iterator[Problem]:
    """What injectors and node agents obey can choose what runs beside the class's credentials."""
    for field_name, given, allowed in (
        ("annotations", own.annotations, defaults.allowed_annotations),
        ("labels", own.labels, defaults.allowed_labels),
    ):
        prefixes = tuple(one for one in allowed if one.endswith("/"))
        for key in given:
            if key not in allowed and not key.startswith(prefixes):
                path = join_path(f"spec.runner.{field_name}", key_path(key))
                cure = f"remove it, or have it added to runner.allowed{field_name.capitalize()}"
                yield Problem(path, f"is not allowed by the storage class: {cure} there")


def _merged(own: PodOptions, defaults: PodOptions) -> PodOptions:
    return PodOptions(
        resources=_resources(_resources(_RESOURCES, defaults.resources), own.resources),
        node_selector={**defaults.node_selector, **own.node_selector},
        affinity=defaults.affinity if own.affinity is None else own.affinity,
        tolerations=(*defaults.tolerations, *own.tolerations),
        annotations={**defaults.annotations, **own.annotations},
        labels={**defaults.labels, **own.labels},
        priority_class_name=own.priority_class_name or defaults.priority_class_name,
        image_pull_secrets=tuple(
            dict.fromkeys((*defaults.image_pull_secrets, *own.image_pull_secrets))
        ),
        env=_by("name", defaults.env, own.env),
        volumes=_by("name", defaults.volumes, own.volumes),
        volume_mounts=_by("mount_path", defaults.volume_mounts, own.volume_mounts),
        scratch=defaults.scratch if own.scratch is None else own.scratch,
    )


def _resources(below: Resources, above: Resources) -> Resources:
    """One amount over the other; what was only a default gives way to what is said."""
    requests = {**below.requests, **above.requests}
    limits = {**below.limits, **above.limits}
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            if name not in above.requests:
                requests[name] = limits[name]
            elif name not in above.limits:
                limits[name] = requests[name]
    return Resources(requests=requests, limits=limits)


def _by(key: str, below: tuple[_T, ...], above: tuple[_T, ...]) -> tuple[_T, ...]:
    found = {getattr(one, key): one for one in (*below, *above)}
    return tuple(found[name] for name in sorted(found))


def resources(options: PodOptions) -> Manifest:
    """The container's requests and limits."""

    def amounts(given: Mapping[str, str]) -> dict[str, str]:
        return {name: canonical(amount) for name, amount in sorted(given.items())}

    return {
        "requests": amounts(options.resources.requests),
        "limits": amounts(options.resources.limits),
    }


def placement(options: PodOptions) -> Manifest:
    """Those fields of a pod's spec that say where it runs; none that says nothing."""
    fields: Manifest = {
        "nodeSelector": dict(options.node_selector),
        "affinity": options.affinity,
        "tolerations": [codec.encode(one) for one in options.tolerations],
        "priorityClassName": options.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}


def variable(one: EnvVariable) -> Manifest:
    """A variable of the container."""
    if one.from_secret is None:
        return {"name": one.name, "value": one.value}
    reference = {"name": one.from_secret.name, "key": one.from_secret.key}
    return {"name": one.name, "valueFrom": {"secretKeyRef": reference}}


def volume(one: Volume) -> Manifest:
    """A volume of the pod: the types are named as Kubernetes names its own."""
    manifest = codec.encode(one)
    empty = manifest.get("emptyDir", {})
    if "sizeLimit" in empty:
        empty["sizeLimit"] = canonical(empty["sizeLimit"])
    return manifest


def mount(one: VolumeMount) -> Manifest:
    """A mount of the container."""
    return codec.encode(one)


def scratch(options: PodOptions) -> Manifest:
    """The source of the volume for temporary files."""
    wanted = options.scratch
    if wanted is not None and wanted.claim_name:
        return {"persistentVolumeClaim": {"claimName": wanted.claim_name}}
    limit = wanted.size_limit if wanted is not None else None
    return {"emptyDir": {} if limit is None else {"sizeLimit": canonical(limit)}}
