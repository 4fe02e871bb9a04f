"""Why a runner is not up, as its pods say it: statuses that kubelets and schedulers write."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.keys import ObjectKey
from controller.availability import project_pod, runner_of, trouble_of

DIGEST = "6c9f7d8b5"
RUNNER = "backup-db-shop-1a2b3c4d"
PULL = (
    'failed to pull and unpack image "registry.example.com/runner:1":'
    " failed to resolve reference: not found"
)


def a_pod(
    *containers: dict[str, Any], number: int = 1, is_deleting: bool = False, **status: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"{RUNNER}-{DIGEST}-{number:05d}",
        "namespace": "db",
        "uid": f"pod-{number}",
        "creationTimestamp": f"2026-11-23T10:00:{number:02d}Z",
        "labels": {"pod-template-hash": DIGEST},
        "ownerReferences": [{"kind": "ReplicaSet", "name": f"{RUNNER}-{DIGEST}"}],
    }
    if is_deleting:
        metadata["deletionTimestamp"] = "2026-11-23T10:05:00Z"
    return {
        "metadata": metadata,
        "status": {"phase": "Pending", "containerStatuses": list(containers), **status},
    }


def a_container(
    *, name: str = "runner", ready: bool = False, last: dict[str, Any] | None = None, **state: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "image": "registry.example.com/runner:1",
        "ready": ready,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def killed(reason: str = "OOMKilled", code: int = 137, at: str = "10:04:00") -> dict[str, Any]:
    return {"reason": reason, "exitCode": code, "finishedAt": f"2026-11-23T{at}Z"}


def said(*pods: dict[str, Any]) -> tuple[str, str] | None:
    trouble = trouble_of(map(project_pod, pods))
    return (trouble.reason, trouble.message) if trouble else None


def test_a_pod_is_found_by_its_deployment() -> None:
    assert runner_of(project_pod(a_pod())) == (ObjectKey("db", RUNNER),)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": None},
        {"ownerReferences": None},
        {"ownerReferences": [{"kind": "Job", "name": f"{RUNNER}-{DIGEST}"}]},
        {"labels": {"pod-template-hash": "another"}},
    ],
)
def test_a_pod_that_somebody_else_made_is_no_runners(metadata: dict[str, Any]) -> None:
    raw = a_pod()
    raw["metadata"] |= metadata

    assert runner_of(project_pod(raw)) == ()


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(),
        a_pod(a_container(waiting={"reason": "ContainerCreating"})),
        a_pod(a_container(waiting={"reason": "PodInitializing"})),
        a_pod(a_container(running={}), phase="Running"),
        a_pod(a_container(running={}, ready=True), phase="Running"),
        a_pod(conditions=[{"type": "PodScheduled", "status": "True"}]),
    ],
)
def test_a_pod_that_is_up_or_on_its_way_has_no_trouble(pod: dict[str, Any]) -> None:
    assert said(pod) is None


def test_an_image_that_cannot_be_pulled_says_the_same_in_both_of_its_states() -> None:
    waits = {"reason": "ImagePullBackOff"}
    waits["message"] = (
        f'Back-off pulling image "registry.example.com/runner:1": ErrImagePull: {PULL}'
    )
    tries = {"reason": "ErrImagePull", "message": PULL}

    assert said(a_pod(a_container(waiting=waits))) == said(a_pod(a_container(waiting=tries)))
    assert said(a_pod(a_container(waiting=tries))) == (
        "ErrImagePull",
        f"image registry.example.com/runner:1: {PULL}",
    )


def test_a_pod_for_which_there_is_no_node_says_why() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    scheduled["message"] = "0/3 nodes are available: 3 Insufficient memory."

    assert said(a_pod(conditions=[scheduled])) == ("Unschedulable", scheduled["message"])


def test_a_container_that_cannot_be_made_says_why() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}

    assert said(a_pod(a_container(waiting=waiting))) == tuple(waiting.values())


@pytest.mark.parametrize(
    "container",
    [
        a_container(terminated=killed()),
        a_container(waiting={"reason": "CrashLoopBackOff", "message": "back-off"}, last=killed()),
    ],
)
def test_who_was_killed_for_memory_is_told_alike_through_all_of_the_loop(
    container: dict[str, Any],
) -> None:
    found = said(a_pod(container))

    assert found == said(a_pod(a_container(terminated=killed())))
    assert found is not None
    assert found[0] == "OOMKilled"
    assert "spec.runner.resources.limits.memory" in found[1]


def test_an_old_end_is_not_taken_for_what_keeps_it_from_being_ready_now() -> None:
    found = said(a_pod(a_container(running={}, last=killed())))

    assert found is not None
    assert found[0] == "PodNotReady"
    assert "for want of memory" in found[1]
    assert found[1].endswith("at 2026-11-23T10:04:00Z")


def test_another_end_is_told_with_its_exit_code() -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    container = a_container(waiting=waiting, last=killed("Error", 78))

    assert said(a_pod(container)) == ("RunnerEnded", "its container ended with exit code 78")


def test_a_runner_that_was_started_again_says_when_it_ended() -> None:
    container = a_container(running={}, ready=True, last=killed())

    found = said(a_pod(container, phase="Running"))

    assert found is not None
    assert found[0] == "OOMKilled"
    assert found[1].endswith("at 2026-11-23T10:04:00Z")


def test_what_others_put_beside_the_runner_is_told_only_while_it_is_in_the_way() -> None:
    runner = a_container(running={}, ready=True)
    mesh = a_container(name="mesh", running={}, ready=True, last=killed("Error", 1))
    broken = a_container(name="mesh", terminated=killed("Error", 1))

    assert said(a_pod(runner, mesh)) is None
    assert said(a_pod(runner, broken)) is not None
    done = a_container(name="setup", ready=True, terminated=killed("Completed", 0))
    assert said(a_pod(runner, initContainerStatuses=[done])) is None


def test_an_evicted_pod_speaks_until_its_successor_does() -> None:
    evicted = a_pod(phase="Failed", reason="Evicted", message="The node was low on memory.")
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    next_one = a_pod(number=2, conditions=[unschedulable | {"message": "no node"}])

    assert said(evicted) == ("Evicted", "The node was low on memory.")
    assert said(next_one, evicted) == ("Unschedulable", "no node")
    assert said(a_pod(number=2), evicted) == ("Evicted", "The node was low on memory.")
    up = a_pod(number=2, conditions=[{"type": "Ready", "status": "True"}])
    assert said(evicted, up) is None


def test_a_pod_that_is_being_deleted_says_nothing_any_more() -> None:
    assert said(a_pod(a_container(terminated=killed()), is_deleting=True)) is None


@pytest.mark.parametrize("reason", ["not-pascal", "", "with space"])
def test_a_reason_that_no_condition_can_have_is_replaced(reason: str) -> None:
    pod = a_pod(phase="Failed", reason=reason, message="gone")

    assert said(pod) == ("PodFailed", "gone")
