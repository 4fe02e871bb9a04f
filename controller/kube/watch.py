"""What a list and a watch deliver."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@frozen
class Listing:
    """All objects of one kind at one moment.

    Args:
        resource_version: of the moment; a watch goes on from it.
    """

    items: tuple[dict[str, Any], ...] = field(repr=False)
    resource_version: str


@frozen
class WatchEvent:
    """What happened to one object, and the object after it.

    Args:
        type: after BOOKMARK the object has a resource version and nothing else.
    """

    type: EventType
    object: dict[str, Any] = field(repr=False)
