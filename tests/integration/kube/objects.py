"""Small valid objects, as raw JSON."""

from __future__ import annotations

from typing import Any

from controller.kube.resource import DEPLOYMENTS, LEASES, SECRETS, SERVICE_ACCOUNTS, Resource


def an_object(resource: Resource, namespace: str, name: str, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": namespace, "name": name},
        **fields,
    }


def an_account(namespace: str, name: str) -> dict[str, Any]:
    return an_object(SERVICE_ACCOUNTS, namespace, name)


def a_lease(namespace: str, name: str, holder: str) -> dict[str, Any]:
    return an_object(LEASES, namespace, name, spec={"holderIdentity": holder})


def a_secret(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return an_object(SECRETS, namespace, name, stringData=data)


def a_deployment(namespace: str, name: str, *, image: str = "a:1") -> dict[str, Any]:
    labels = {"app": name}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    return an_object(DEPLOYMENTS, namespace, name, spec=spec)


def missing(wanted: Any, stored: Any, path: str = "") -> list[str]:
    """Where something that was built is not, or is otherwise, in what the server stored."""
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return [
            at
            for key, value in wanted.items()
            for at in missing(value, stored.get(key), f"{path}.{key}")
        ]
    if isinstance(wanted, list) and isinstance(stored, list) and len(wanted) == len(stored):
        return [
            at
            for index, (one, other) in enumerate(zip(wanted, stored, strict=True))
            for at in missing(one, other, f"{path}[{index}]")
        ]
    # What is false a server may leave out.
    is_same = wanted == stored or (wanted is False and stored is None)
    return [] if is_same else [path]
