"""A store: projections of all objects of one kind, by key and by index."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from controller.api.keys import ObjectKey
from controller.cache.mutation import MutationDetector
from controller.process.logging import kv

log = logging.getLogger(__name__)

T = TypeVar("T")
_T_co = TypeVar("_T_co", covariant=True)

#: Makes of a raw object what a reconcile needs of it: an immutable value that
#: is compared by its content. It should take everything that an API server lets
#: in; what it cannot read is a value too, so that somebody can be told.
Projection = Callable[[Mapping[str, Any]], T]
#: Gives the values under which an object is found; pure.
Indexer = Callable[[T], Iterable[Hashable]]


@frozen
class Change(Generic[T]):
    """What a store made of an event: old None: it is new; new None: it is gone."""

    key: ObjectKey
    old: T | None
    new: T | None


class Lister(Protocol[_T_co]):
    """The reading half of a store. What it gives is shared: never to be changed."""

    def get(self, key: ObjectKey, /) -> _T_co | None: ...
    def keys(self) -> tuple[ObjectKey, ...]: ...
    def values(self) -> tuple[_T_co, ...]: ...
    def index_keys(self, index: str, value: Hashable, /) -> tuple[ObjectKey, ...]: ...
    def by_index(self, index: str, value: Hashable, /) -> tuple[_T_co, ...]: ...
    def __len__(self) -> int: ...


_Index = dict[Hashable, dict[ObjectKey, None]]


class Store(Generic[T]):
    """Projections by key, with named indexes.

    A change that the projection does not see is no change: the old value
    stays, and nobody has to be told. An object on which the projection fails
    is as if it were not there: one object must not stop its kind.

    Args:
        project: of each object that comes in.
        indexers: by the name of their index.
        detector: in tests, finds who changes a value that all share.

    Threads: any number of readers, each sees a write whole or not at all; one
    writer, as projections and indexers run outside of the lock.
    """

    def __init__(
        self,
        project: Projection[T],
        *,
        indexers: Mapping[str, Indexer[T]] | None = None,
        detector: MutationDetector | None = None,
    ) -> None:
        self._project = project
        self._indexers = dict(indexers or {})
        self._detector = detector
        # Guards the two below, and that they belong together; nothing is called under it.
        self._lock = threading.Lock()
        self._objects: dict[ObjectKey, T] = {}
        # By name of the index and by value; no empty entries. Keys in order of their coming.
        self._indexes: dict[str, _Index] = {name: {} for name in self._indexers}
        # Objects that are there and on which the projection failed. The writer's alone.
        self._unreadable: set[ObjectKey] = set()

    def put(self, object_raw: Mapping[str, Any]) -> Change[T] | None:
        """Keep an object as it is now; None if that is no change.

        Raises: FormatError for what has no key.
        """
        key = ObjectKey.of(object_raw)
        new = self._projected(key, object_raw)
        old = self._objects.get(key)
        if old == new:
            return None
        return self._write(Change(key, old, new))

    def remove(self, object_raw: Mapping[str, Any]) -> Change[T] | None:
        """Forget an object; None if it was not there."""
        key = ObjectKey.of(object_raw)
        self._unreadable.discard(key)
        old = self._objects.get(key)
        return None if old is None else self._write(Change(key, old, None))

    def replace(self, items_raw: Iterable[Mapping[str, Any]]) -> tuple[Change[T], ...]:
        """Keep exactly these objects; say what changed by it, the vanished ones last.

        How deletes come out that nobody told of while the watch was down.
        """
        before = self._objects
        objects: dict[ObjectKey, T] = {}
        self._unreadable = set()
        for object_raw in items_raw:
            key = ObjectKey.of(object_raw)
            new = self._projected(key, object_raw)
            if new is not None:
                old = before.get(key)
                objects[key] = old if old is not None and old == new else new
        indexes: dict[str, _Index] = {name: {} for name in self._indexers}
        for key, value in objects.items():
            _enter(indexes, key, self._index_values(value))
        with self._lock:
            self._objects, self._indexes = objects, indexes
        came = tuple(
            Change(key, before.get(key), value)
            for key, value in objects.items()
            if before.get(key) is not value
        )
        return came + tuple(
            Change(key, value, None) for key, value in before.items() if key not in objects
        )

    def get(self, key: ObjectKey, /) -> T | None:
        with self._lock:
            return self._objects.get(key)

    def keys(self) -> tuple[ObjectKey, ...]:
        with self._lock:
            return tuple(self._objects)

    def values(self) -> tuple[T, ...]:
        with self._lock:
            return tuple(self._objects.values())

    def index_keys(self, index: str, value: Hashable, /) -> tuple[ObjectKey, ...]:
        """Give the keys of all objects that the indexer gave `value` for.

        Raises: KeyError for an index that does not exist: a defect of the caller.
        """
        with self._lock:
            return tuple(self._indexes[index].get(value, ()))

    def by_index(self, index: str, value: Hashable, /) -> tuple[T, ...]:
        """Give these objects themselves."""
        with self._lock:
            return tuple(self._objects[key] for key in self._indexes[index].get(value, ()))

    def __len__(self) -> int:
        with self._lock:
            return len(self._objects)

    def unreadable_count(self) -> int:
        """How many objects are there that the projection could not take: each is a defect."""
        return len(self._unreadable)

    def _projected(self, key: ObjectKey, object_raw: Mapping[str, Any]) -> T | None:
        try:
            value = self._project(object_raw)
        except Exception:
            # Whoever reads the kind would read this object first, and again, and no other.
            self._unreadable.add(key)
            log.exception("object cannot be read", extra=kv(object_key=str(key)))
            return None
        self._unreadable.discard(key)
        if self._detector is not None:
            self._detector.watch(value)
        return value

    def _index_values(self, value: T | None) -> dict[str, tuple[Hashable, ...]]:
        if value is None:
            return {}
        return {name: tuple(indexer(value)) for name, indexer in self._indexers.items()}

    def _write(self, change: Change[T]) -> Change[T]:
        left, entered = self._index_values(change.old), self._index_values(change.new)
        with self._lock:
            _leave(self._indexes, change.key, left)
            _enter(self._indexes, change.key, entered)
            if change.new is None:
                del self._objects[change.key]
            else:
                self._objects[change.key] = change.new
        return change


def _enter(
    indexes: dict[str, _Index], key: ObjectKey, values: Mapping[str, tuple[Hashable, ...]]
) -> None:
    for name, of_object in values.items():
        for value in of_object:
            indexes[name].setdefault(value, {})[key] = None


def _leave(
    indexes: dict[str, _Index], key: ObjectKey, values: Mapping[str, tuple[Hashable, ...]]
) -> None:
    for name, of_object in values.items():
        # Once each: an indexer may give a value twice.
        for value in set(of_object):
            keys = indexes[name][value]
            del keys[key]
            if not keys:
                del indexes[name][value]
