"""`controller crds --apply`: put both definitions into a cluster, over whatever is there.

The API has to exist before the controller and its objects do, and Helm never
upgrades what is in a chart's folder `crds`: so a hook of the chart runs this.
Nothing here deletes a definition, because all objects would go with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from controller.api.crd import crds
from controller.api.errors import ApiRefused, ApiUnavailable
from controller.apply import FIELD_MANAGER
from controller.kube import config
from controller.kube.client import Client
from controller.kube.resource import CUSTOM_RESOURCE_DEFINITIONS
from controller.process.clock import Clock

#: The server needs a second or two; a minute is for one that is busy.
_TIMEOUT_S = 60.0
_POLL_S = 0.25


def apply(
    *, kubeconfig: str | None, context: str | None, clock: Clock, told: Callable[[str], object]
) -> None:
    """Apply both definitions, and return when the server serves them.

    What another release or the Go original had there is taken over; what is
    stored stays. No right but get, create and patch on the two is needed.

    Args:
        told: gets the name of each that is served.
    Raises:
        ApiRefused: the server does not take one; ApiUnavailable: it does not
            serve one within a minute; InvalidSpec of the kubeconfig, and the
            errors of `Client`.
    """
    with Client(config.load(kubeconfig=kubeconfig, context=context)) as client:
        # Both before the first wait: the server works on them at the same time.
        for crd in crds().values():
            client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, field_manager=FIELD_MANAGER, force=True)
        deadline_mono = clock.monotonic() + _TIMEOUT_S
        for name in crds():
            _wait_served(client, name, clock, deadline_mono)
            told(name)


def _wait_served(client: Client, name: str, clock: Clock, deadline_mono: float) -> None:
    never = threading.Event()
    while True:
        found = _conditions(client.get(CUSTOM_RESOURCE_DEFINITIONS, name))
        names = found.get("NamesAccepted", {})
        if names.get("status") == "False":
            raise ApiRefused(
                f"{name}: another definition has its names; remove that one: {names.get('message')}"
            )
        if found.get("Established", {}).get("status") == "True":
            return
        if clock.monotonic() >= deadline_mono:
            raise ApiUnavailable(
                f"{name}: the server does not serve it after {_TIMEOUT_S:.0f} s;"
                f" look at: kubectl describe crd {name}"
            )
        clock.wait(never, _POLL_S)


def _conditions(crd: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Of a definition's status, by type; a new one has none yet."""
    return {one["type"]: one for one in (crd.get("status") or {}).get("conditions") or ()}
