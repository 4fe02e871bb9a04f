"""What `kubectl describe` and `kubectl get events` show of an object's history.

Events are written to the core group, not to events.k8s.io: both are the same
stored object, and the fields that the newer group asks for (a time in
microseconds, series) say nothing that this program knows, while tools that
collect events read the core group's `count`, times and `source`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from attrs import frozen

from controller.kube.resource import EVENTS

#: The API server's own bounds.
_MESSAGE_CHARACTERS = 1024
_NAME_CHARACTERS = 253


@frozen(kw_only=True)
class Event:
    """Something that a person who looks at an object should see.

    Args:
        regarding: the object, of which identity alone is read.
        reason: PascalCase, the same words as in conditions.
        reporter: the program: ``db-backup-controller``.
        instance: which of its processes: the pod's name.
    """

    regarding: Mapping[str, Any]
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    at: datetime
    reporter: str
    instance: str

    def to_raw(self) -> dict[str, Any]:
        """The object to create, in the namespace of what it is about.

        What is in no namespace has its events in "default", where kubectl
        looks for them.
        """
        about = self.regarding["metadata"]
        seconds = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        suffix = f".{secrets.token_hex(8)}"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": about["name"][: _NAME_CHARACTERS - len(suffix)].rstrip(".-") + suffix,
                "namespace": about.get("namespace") or "default",
            },
            "involvedObject": {
                "apiVersion": self.regarding["apiVersion"],
                "kind": self.regarding["kind"],
                "name": about["name"],
                **{key: about[key] for key in ("namespace", "uid") if about.get(key)},
            },
            "type": self.type,
            "reason": self.reason,
            "message": _bounded(self.message),
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
            "source": {"component": self.reporter},
            "reportingComponent": self.reporter,
            "reportingInstance": self.instance,
        }


def _bounded(message: str) -> str:
    if len(message) <= _MESSAGE_CHARACTERS:
        return message
    return message[: _MESSAGE_CHARACTERS - 3] + "..."
