"""Rules that cross fields of what is said of a runner's pod; see controller.api.rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from controller.api.cel import Cel, only_here, quoted, re2, rule
from controller.api.errors import Problem
from controller.api.names import CHILD_SECRET
from controller.api.quantity import amount
from controller.api.rules import RUNNERS_OWN
from controller.api.wire import wire_name

if TYPE_CHECKING:
    from controller.api import pods

#: Volumes of these names are the controller's.
TAKEN_PREFIX = "db-backup-"
#: Labels below these are ours: they say whose pod it is.
RESERVED_LABELS = ("app.kubernetes.io/", "db-backup.nect.com/")
_KINDS = ("empty_dir", "persistent_volume_claim", "config_map", "secret", "projected")


def _count(names: tuple[str, ...]) -> str:
    """CEL for how many of some fields there are."""
    return " + ".join(f"(has(self.{wire_name(name)}) ? 1 : 0)" for name in names)


def _given(value: Any, names: tuple[str, ...]) -> int:
    return sum(getattr(value, name) is not None for name in names)


_ONE_KIND = Problem(
    "",
    "needs exactly one of emptyDir, persistentVolumeClaim, configMap, secret, projected: "
    "a runner mounts no other kinds",
)


@rule(Cel(f"{_count(_KINDS)} == 1", _ONE_KIND))
def one_kind_of_volume(volume: pods.Volume) -> Iterator[Problem]:
    if _given(volume, _KINDS) != 1:
        yield _ONE_KIND


_TAKEN = Problem("name", f"must not begin with {TAKEN_PREFIX}: those are the controller's")


@rule(Cel(f"!self.name.startsWith('{TAKEN_PREFIX}')", _TAKEN))
def name_is_not_taken(volume: pods.Volume) -> Iterator[Problem]:
    if volume.name.startswith(TAKEN_PREFIX):
        yield _TAKEN


_TOO_MUCH = Problem("requests", "must not be above the limits")


@rule(
    Cel(
        "!has(self.requests) || !has(self.limits)"
        " || self.requests.all(name, !(name in self.limits)"
        " || quantity(self.requests[name]).compareTo(quantity(self.limits[name])) <= 0)",
        _TOO_MUCH,
    )
)
def requests_fit_limits(resources: pods.Resources) -> Iterator[Problem]:
    requests, limits = resources.requests, resources.limits
    if any(amount(requests[name]) > amount(limits[name]) for name in requests if name in limits):
        yield _TOO_MUCH


_ONE_SOURCE = Problem("", "needs exactly one of secret, configMap: a runner mounts no tokens")


@rule(Cel(f"{_count(('secret', 'config_map'))} == 1", _ONE_SOURCE))
def one_projected_source(source: pods.ProjectedSource) -> Iterator[Problem]:
    if _given(source, ("secret", "config_map")) != 1:
        yield _ONE_SOURCE


# Whoever mounts one has the class's credentials in a place that a variable can name.
_IS_CHILD = f"matches({quoted(re2(CHILD_SECRET))})"
_OWN_FILES = Problem("secretName", RUNNERS_OWN)
_OWN_SOURCE = Problem("secret", RUNNERS_OWN)
_OWN_PULL_SECRET = Problem("imagePullSecrets", RUNNERS_OWN)


@rule(Cel(f"!self.secretName.{_IS_CHILD}", _OWN_FILES))
def files_of_no_child(files: pods.SecretFiles) -> Iterator[Problem]:
    if re.fullmatch(CHILD_SECRET, files.secret_name):
        yield _OWN_FILES


@rule(Cel(f"!has(self.secret) || !self.secret.name.{_IS_CHILD}", _OWN_SOURCE))
def source_is_no_child(source: pods.ProjectedSource) -> Iterator[Problem]:
    if source.secret is not None and re.fullmatch(CHILD_SECRET, source.secret.name):
        yield _OWN_SOURCE


@rule(
    Cel(
        f"!has(self.imagePullSecrets) || self.imagePullSecrets.all(name, !name.{_IS_CHILD})",
        _OWN_PULL_SECRET,
    )
)
def pulls_with_no_child(options: pods.PodOptions) -> Iterator[Problem]:
    if any(re.fullmatch(CHILD_SECRET, name) for name in options.image_pull_secrets):
        yield _OWN_PULL_SECRET


_ONE_VALUE = Problem("", "needs exactly one of value, fromSecret")


@rule(Cel(f"{_count(('value', 'from_secret'))} == 1", _ONE_VALUE))
def one_source_of_a_variable(variable: pods.EnvVariable) -> Iterator[Problem]:
    if _given(variable, ("value", "from_secret")) != 1:
        yield _ONE_VALUE


_ONE_SCRATCH = Problem("claimName", "cannot be combined with sizeLimit: a claim has its own size")


@rule(Cel("!has(self.sizeLimit) || !has(self.claimName) || self.claimName == ''", _ONE_SCRATCH))
def one_kind_of_scratch(scratch: pods.Scratch) -> Iterator[Problem]:
    if scratch.size_limit is not None and scratch.claim_name:
        yield _ONE_SCRATCH


_OURS = Problem("labels", f"must not have keys below {' or '.join(RESERVED_LABELS)}")


@rule(
    Cel(
        "!has(self.labels) || self.labels.all(key, "
        + " && ".join(f"!key.startsWith('{prefix}')" for prefix in RESERVED_LABELS)
        + ")",
        _OURS,
    )
)
def labels_are_not_ours(options: pods.PodOptions) -> Iterator[Problem]:
    if any(key.startswith(RESERVED_LABELS) for key in options.labels):
        yield _OURS


@only_here("the API server sees it by the type of the lists, whose key these names are")
def names_differ(options: pods.PodOptions) -> Iterator[Problem]:
    for field_name, key in (("env", "name"), ("volumes", "name"), ("volume_mounts", "mount_path")):
        seen: set[str] = set()
        for index, item in enumerate(getattr(options, field_name)):
            if (name := getattr(item, key)) in seen:
                path = f"{wire_name(field_name)}[{index}].{wire_name(key)}"
                yield Problem(path, "is there twice")
            seen.add(name)
