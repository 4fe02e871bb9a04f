"""What both sides agree on when an object goes together with its backups.

The controller holds the object by a finalizer and marks the runner's Lease; the
runner, which writes that Lease all the time, sees the mark, asks the API server
whether it is so, deletes, and answers with a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.api.v1 import DeletionPolicy

#: On an object with `deletionPolicy: Delete`; the Go original's, which has it on every object.
FINALIZER = "db-backup.nect.com/finalizer"
#: The runner's condition: True when nothing is left.
DATA_DELETED = "DataDeleted"


def deletes_data(raw: Mapping[str, Any]) -> bool:
    """Whether the object asks for it, be the rest of it valid or not."""
    spec = raw.get("spec")
    return isinstance(spec, Mapping) and spec.get("deletionPolicy") == DeletionPolicy.DELETE.value


def orders_deletion(raw: Mapping[str, Any], uid: str) -> bool:
    """Whether an object as the API server has it is being deleted now, and its backups with it.

    Args:
        uid: which object; a later one of the same name has given no order.
    """
    metadata = raw["metadata"]
    return (
        "deletionTimestamp" in metadata
        and FINALIZER in (metadata.get("finalizers") or ())
        and metadata.get("uid") == uid
        and deletes_data(raw)
    )
