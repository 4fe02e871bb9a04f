"""A bounded hand-over between two threads that carries the cause of an end."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipe(Generic[T]):
    """A FIFO of at most `limit` items between one producer and one consumer.

    The end of the items may only ever mean that the producer finished: `close`
    is that end; `abort` fails both sides with its cause, and drops what is
    queued. The first of the two counts, later calls change nothing - except
    that an abort also voids items which a closed pipe still holds.

    Threads: `_condition` guards all fields; nothing is called under it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._condition = threading.Condition()
        self._items: deque[T] = deque()
        self._closed = False
        self._cause: BaseException | None = None

    def put(self, item: T, *, timeout_s: float | None = None) -> bool:
        """Queue `item`, waiting while the pipe is full; False if it was full for `timeout_s`.

        Raises: the cause of an abort.
        """
        with self._condition:
            if not self._condition.wait_for(self._may_put, timeout_s):
                return False
            if self._cause is not None:
                raise self._cause
            if self._closed:
                raise ValueError("put into a closed pipe")
            self._items.append(item)
            self._condition.notify_all()
            return True

    def get(self) -> T | None:
        """The next item, None once the pipe is closed and empty.

        Raises: the cause of an abort, at once.
        """
        with self._condition:
            self._condition.wait_for(self._may_get)
            if self._cause is not None:
                raise self._cause
            if not self._items:
                return None
            item = self._items.popleft()
            self._condition.notify_all()
            return item

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def abort(self, cause: BaseException) -> None:
        with self._condition:
            if self._cause is None:
                self._cause = cause
            self._items.clear()
            self._condition.notify_all()

    def _may_put(self) -> bool:
        return len(self._items) < self._limit or self._closed or self._cause is not None

    def _may_get(self) -> bool:
        return bool(self._items) or self._closed or self._cause is not None
