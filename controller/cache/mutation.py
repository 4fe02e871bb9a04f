"""Finds who changes a cached value: for tests, as it keeps two of each."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import attrs


class MutationDetector:
    """Remembers values as they were, to say later whether they still are.

    Cached values are shared by all threads. A projection that lets a dict
    through invites somebody to write to it; what then breaks is another object's
    reconcile, much later.
    """

    def __init__(self) -> None:
        # Guards _watched; nothing is called under it.
        self._lock = threading.Lock()
        self._watched: list[tuple[object, object]] = []

    def watch(self, value: object) -> None:
        """Remember `value` as it is now."""
        as_it_was = _content(value)
        with self._lock:
            self._watched.append((value, as_it_was))

    def check(self) -> None:
        """Raise AssertionError if a value is not what it was."""
        with self._lock:
            watched = tuple(self._watched)
        for value, as_it_was in watched:
            if _content(value) != as_it_was:
                raise AssertionError(f"a cached value was changed: {as_it_was!r} is now {value!r}")


def _content(value: object) -> object:
    """A copy of all that can be changed, also of fields that are not compared; secrets stay so."""
    kind = type(value)
    if attrs.has(kind):
        return kind, [_content(getattr(value, field.name)) for field in attrs.fields(kind)]
    match value:
        case Mapping():
            return {key: _content(one) for key, one in value.items()}
        case list() | tuple():
            return [_content(one) for one in value]
        case set():
            return frozenset(value)
    return value
