"""Why a runner is not up: what a kubelet says of its pod is in the object's status, and told."""

from __future__ import annotations

from typing import Any

from controller.api.names import child_name
from controller.kube.resource import DEPLOYMENTS, PODS
from tests.integration.controller.world import Controller, World, wait_for

HASH = "5d8f7c9b6"
#: A person who waits for the runner should not have to look elsewhere.
_SEEN_WITHIN_S = 30.0


def create_pod(world: World) -> str:
    """The pod that the Deployment's ReplicaSet would make."""
    runner = child_name(world.namespace, "shop")
    template = world.child(DEPLOYMENTS)["spec"]["template"]
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{runner}-{HASH}",
        "uid": "0b5f0c3e-0000-4000-8000-000000000000",
    }
    labels = template["metadata"]["labels"] | {"pod-template-hash": HASH}
    metadata = {"labels": labels, "ownerReferences": [replica_set]}
    name = f"{runner}-{HASH}-abcde"
    world.create(PODS, name, {"metadata": metadata, "spec": template["spec"]})
    return name


def say(world: World, pod: str, *, restarts: int = 0, ready: bool = False, **state: Any) -> None:
    """Say of the pod's container what a kubelet would."""
    container = {
        "name": "runner",
        "image": "registry.example.com/runner:1",
        "imageID": "",
        "ready": ready,
        "restartCount": restarts,
    }

    def edit(raw: dict[str, Any]) -> None:
        raw["status"]["containerStatuses"] = [container | state]
        raw["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]

    world.change(PODS, pod, edit, subresource="status")


def told(world: World) -> dict[str, str]:
    path = f"/api/v1/namespaces/{world.namespace}/events"
    events = world.server.request("GET", path).body["items"]
    return {one["reason"]: one["message"] for one in events if one["type"] == "Warning"}


def test_an_image_that_cannot_be_pulled_is_in_the_status_and_told(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    world.wait_for_children()
    world.set_available(is_available=False)
    world.wait_for_condition("Ready", "False", "RunnerNotAvailable")
    pod = create_pod(world)

    words = "failed to resolve reference: not found"
    say(world, pod, state={"waiting": {"reason": "ErrImagePull", "message": words}})

    found = wait_for(
        lambda: (
            world.condition("RunnerAvailable")["reason"] == "ErrImagePull"
            and world.condition("RunnerAvailable")
        ),
        timeout_s=_SEEN_WITHIN_S,
    )
    assert words in found["message"]
    assert pod in found["message"]
    assert words in world.condition("Ready")["message"]
    wait_for(lambda: words in told(world).get("ErrImagePull", ""))
    assert "RunnerNotAvailable" not in told(world)

    # The kubelet's other word for it is nothing new.
    before = world.wait_until_quiet()
    back_off = f'Back-off pulling image "registry.example.com/runner:1": ErrImagePull: {words}'
    say(world, pod, state={"waiting": {"reason": "ImagePullBackOff", "message": back_off}})
    assert world.wait_until_quiet() == before

    say(world, pod, ready=True, state={"running": {}})
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")
    assert world.condition("RunnerAvailable")["reason"] == "PodAvailable"


def test_a_runner_that_was_killed_for_memory_is_told_though_it_is_up_again(
    world: World, controller: Controller
) -> None:
    world.create_backup()
    world.wait_for_children()
    pod = create_pod(world)
    say(world, pod, ready=True, state={"running": {}})
    world.set_available()
    world.wait_for_condition("Ready", "True", "RunnerAvailable")

    killed = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-23T10:04:00Z"}
    last = {"lastState": {"terminated": killed}}
    say(world, pod, restarts=1, ready=True, state={"running": {}}, **last)

    found = world.wait_for_condition("RunnerAvailable", "True", "PodRestarted")
    assert "spec.runner.resources.limits.memory" in found["message"]
    assert "at 2026-11-23T10:04:00Z" in found["message"]
    assert world.condition("Ready")["status"] == "True"
    wait_for(lambda: "exit code 137" in told(world).get("PodRestarted", ""))
