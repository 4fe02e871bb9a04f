"""Whether a runner is up, and if not why: by its Deployment and by its pods.

That no pod is up the Deployment says. Why not it says after ten minutes, and
that is only that it waited for so long; the pod says it at once, in the words of
the scheduler and the kubelet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from controller.api.conditions import is_reason
from controller.api.keys import ObjectKey
from controller.resources.deployment import CONTAINER

Raw = Mapping[str, Any]

#: A container that waits for these is on its way.
_BEGINS = frozenset({"ContainerCreating", "PodInitializing"})
#: The kubelet alternates between the two; the second has the words of the first after its own.
_PULLS = frozenset({"ErrImagePull", "ImagePullBackOff"})
_PULL_FAILED = "ErrImagePull"
_OUT_OF_MEMORY = "OOMKilled"
_ENDED = "RunnerEnded"
_NOT_READY = "PodNotReady"


@frozen(kw_only=True)
class Rollout:
    """How far a Deployment is.

    Args:
        is_available: a pod is up, be it an old one.
        is_complete: that pod is the newest one, and the only one.
        is_rolling: its pod is being replaced, and there is hope.
        reason, message: the Deployment's own words if it is not available.
    """

    is_available: bool
    is_complete: bool
    is_rolling: bool = False
    reason: str = ""
    message: str = ""


@frozen
class Trouble:
    """What keeps a pod from being up, or did.

    Args:
        pod: its name.
        reason: one PascalCase word; the cluster's own where it has one.
    """

    pod: str
    reason: str
    message: str


@frozen(kw_only=True)
class SeenPod:
    """A pod of a runner.

    Args:
        runner: the Deployment whose it is; None: it was made by somebody else.
        created: the time of its creation, as the server writes it.
        is_up: it is ready, and stays.
        is_over: it has come to its end, such as by an eviction; another one follows it.
        trouble: why it is not up, or, if it is, why its container was started again; None: it
            is up since it came, or on its way, or being deleted.
    """

    key: ObjectKey
    runner: ObjectKey | None
    created: str
    is_up: bool
    is_over: bool
    trouble: Trouble | None


def project_pod(raw: Raw) -> SeenPod:
    metadata, status = raw["metadata"], raw.get("status") or {}
    key = ObjectKey.of(raw)
    is_deleting = "deletionTimestamp" in metadata
    return SeenPod(
        key=key,
        runner=_runner_of(key.namespace, metadata),
        created=metadata.get("creationTimestamp") or "",
        is_up=not is_deleting and _is_ready(status),
        is_over=status.get("phase") in {"Failed", "Succeeded"},
        trouble=None if is_deleting else next(_troubles(key.name, status), None),
    )


def runner_of(seen: SeenPod) -> tuple[ObjectKey, ...]:
    return (seen.runner,) if seen.runner else ()


def trouble_of(pods: Iterable[SeenPod]) -> Trouble | None:
    """What a runner with these pods has for trouble; None: none that a pod knows of."""
    every = tuple(pods)
    # One that was evicted stays beside the one that came after it.
    found = [one for one in every if one.is_up] or [one for one in every if one.trouble]
    return max(found, key=lambda one: (not one.is_over, one.created)).trouble if found else None


def _runner_of(namespace: str, metadata: Raw) -> ObjectKey | None:
    """A ReplicaSet's name is that of its Deployment with the hash of the template."""
    template = (metadata.get("labels") or {}).get("pod-template-hash")
    for owner in metadata.get("ownerReferences") or ():
        name = owner.get("name", "")
        if template and owner.get("kind") == "ReplicaSet" and name.endswith(f"-{template}"):
            return ObjectKey(namespace, name.removesuffix(f"-{template}"))
    return None


def _is_ready(status: Raw) -> bool:
    conditions = status.get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _troubles(pod: str, status: Raw) -> Iterator[Trouble]:
    if status.get("phase") == "Failed":
        yield _trouble(pod, status, or_else="PodFailed")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield _trouble(pod, condition, or_else="Unschedulable")
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            # Of those that others put beside the runner only what keeps the pod from being up.
            if container.get("name") == CONTAINER or not container.get("ready"):
                yield from _container_troubles(pod, container)


def _container_troubles(pod: str, container: Raw) -> Iterator[Trouble]:
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason") or "", waiting.get("message") or ""
    # "CrashLoopBackOff" says only that it waits after an end.
    if reason in _PULLS:
        detail = message.partition(f"{_PULL_FAILED}: ")[2] or message
        yield Trouble(pod, _PULL_FAILED, f"image {container.get('image', '')}: {detail}")
    elif reason and reason not in _BEGINS and (reason != "CrashLoopBackOff" or not ended):
        yield _trouble(pod, waiting, or_else=_ENDED)
    elif ended:
        end = _end(pod, ended)
        if not container.get("ready") and "running" in state:
            # It may be weeks ago, and something else that keeps it from being ready now.
            yield Trouble(pod, _NOT_READY, f"it is not ready; before, {_when(end, ended)}")
        elif "running" in state:
            yield evolve(end, message=_when(end, ended))
        else:
            # In a loop the time would be another one each time, and nothing else new.
            yield end


def _when(end: Trouble, ended: Raw) -> str:
    return f"{end.message}, at {ended.get('finishedAt', '')}"


def _end(pod: str, ended: Raw) -> Trouble:
    code = ended.get("exitCode", 0)
    if ended.get("reason") != _OUT_OF_MEMORY:
        return Trouble(pod, _ENDED, f"its container ended with exit code {code}")
    return Trouble(
        pod,
        _OUT_OF_MEMORY,
        f"its container was killed for want of memory (exit code {code}); raise"
        " spec.runner.resources.limits.memory",
    )


def _trouble(pod: str, said: Raw, *, or_else: str) -> Trouble:
    """In the cluster's own words, where a condition can have its reason."""
    reason, message = said.get("reason") or "", said.get("message") or ""
    return Trouble(pod, reason if is_reason(reason) else or_else, message or reason)


def rollout_of(raw: Raw) -> Rollout:
    """How far a Deployment is; one that was just written has a generation that nobody observed."""
    status = raw.get("status") or {}
    wanted = (raw.get("spec") or {}).get("replicas", 1)
    conditions = {one.get("type"): one for one in status.get("conditions") or ()}
    is_current = status.get("observedGeneration", 0) >= raw["metadata"].get("generation", 0)
    is_available = conditions.get("Available", {}).get("status") == "True"
    is_complete = (
        is_current
        and is_available
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
    )
    rollout = Rollout(
        is_available=is_available,
        is_complete=is_complete,
        is_rolling=not is_complete and _is_rolling(status, conditions, is_current=is_current),
    )
    if is_available:
        return rollout
    # The first that says why; "Available" only says that it is not.
    for kind, told in (
        ("ReplicaFailure", "True"),
        ("Progressing", "False"),
        ("Available", "False"),
    ):
        condition = conditions.get(kind, {})
        if condition.get("status") == told:
            return evolve(
                rollout,
                reason=condition.get("reason", ""),
                message=condition.get("message", ""),
            )
    return rollout


def _is_rolling(status: Raw, conditions: Mapping[Any, Raw], *, is_current: bool) -> bool:
    """Whether a change is on its way, of what is not complete.

    Not: a Deployment that is new, one that went past its progress deadline, and
    one whose change is through and whose pod failed since.
    """
    if not is_current:
        return bool(status.get("observedGeneration"))
    progressing = conditions.get("Progressing", {})
    return (
        progressing.get("status") == "True"
        and progressing.get("reason") != "NewReplicaSetAvailable"
        and status.get("observedGeneration", 0) > 1
    )
