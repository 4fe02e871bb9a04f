"""The one retry policy: a storage around a storage.

What is retried is what the inner storage calls StorageUnavailable; every other
error passes at once. Streams are not replayed but resumed where they stopped,
and only parts are sent again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from attrs import frozen

from controller.api.errors import Cancelled, ObjectExists, StorageUnavailable
from controller.process.logging import kv
from runner.storage.base import ObjectInfo, Properties, Storage, Upload

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@frozen(kw_only=True)
class RetryPolicy:
    """How long one call is tried.

    Args:
        max_attempts: calls in all, the first included.
        first_delay_s: before the second call; doubled before each further one.
        max_delay_s: the longest wait.
        deadline_s: no further call starts later than this after the first one.
            A call that makes progress (a stream that delivered bytes) starts anew.
    """

    max_attempts: int = 6
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    deadline_s: float = 300.0

    def delay_s(self, failures: int, jitter: float) -> float:
        """The wait after the n-th failure in a row; `jitter` from 0 to 1 spreads callers."""
        longest = min(self.first_delay_s * 2.0 ** (failures - 1), self.max_delay_s)
        return longest * (0.5 + jitter / 2)


class _Attempts:
    """The failures of one call so far, and the wait before the next try.

    Args:
        is_cleanup: tried as often as ever, also where the last call was given up.
    """

    def __init__(self, retrying: Retrying, operation: str, *, is_cleanup: bool = False) -> None:
        self._retrying = retrying
        self._operation = operation
        self._is_cleanup = is_cleanup
        self._begin()

    def succeeded(self) -> None:
        """The storage has answered: what fails from here on is another failure."""
        self._retrying.is_down = False
        self._begin()

    def _begin(self) -> None:
        self._failures = 0
        self._started_mono = self._retrying.monotonic()

    def wait(self, error: StorageUnavailable) -> None:
        """Wait for the next try; raises when there is none."""
        retrying = self._retrying
        self._failures += 1
        if retrying.is_down and not self._is_cleanup:
            error.add_note("not tried again: the last call was given up already")
            raise error
        delay_s = retrying.policy.delay_s(self._failures, retrying.jitter())
        elapsed_s = retrying.monotonic() - self._started_mono
        if self._failures >= retrying.policy.max_attempts:
            retrying.is_down = True
            error.add_note(f"given up after {self._failures} attempts")
            raise error
        if elapsed_s + delay_s > retrying.policy.deadline_s:
            retrying.is_down = True
            error.add_note(f"given up after {elapsed_s:.0f} s")
            raise error
        log.warning(
            "storage call failed, trying again",
            extra=kv(
                operation=self._operation,
                attempt=self._failures,
                requeue_after_s=round(delay_s, 3),
                error=str(error),
            ),
        )
        if retrying.stop.wait(delay_s):
            raise Cancelled(f"cancelled while waiting for a location ({error})") from error


class Retrying:
    """Repeats what failed for a passing reason, until `stop` is set.

    Once a call was given up, those that follow are tried once each until one succeeds: a job asks
    a location several times, and one that is down would hold it up anew each time.

    Args:
        stop: ends every wait; the call then raises Cancelled.
        monotonic: clock in seconds.
        jitter: random numbers from 0 to 1.
    """

    def __init__(
        self,
        inner: Storage,
        *,
        policy: RetryPolicy,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self.policy = policy
        self.stop = stop
        self.monotonic = monotonic
        self.jitter = jitter
        #: Whether the last call was given up. Any thread sets it; none relies on the order.
        self.is_down = False

    @property
    def properties(self) -> Properties:
        return self._inner.properties

    def create_upload(self, key: str, /) -> Upload:
        upload = self.call("create_upload", lambda: self._inner.create_upload(key))
        return RetryingUpload(self, upload)

    def put_new(self, key: str, data: bytes, /) -> ObjectInfo:
        attempts = _Attempts(self, "put_new")
        is_unclear = False
        while True:
            try:
                stored = self._inner.put_new(key, data)
            except ObjectExists:
                # Perhaps our own write, whose answer got lost.
                if is_unclear and self._holds(key, data):
                    return self.stat(key)
                raise
            except StorageUnavailable as error:
                is_unclear = True
                attempts.wait(error)
            else:
                attempts.succeeded()
                return stored

    def put(self, key: str, data: bytes, /) -> ObjectInfo:
        return self.call("put", lambda: self._inner.put(key, data))

    def open_stream(self, key: str, /, *, offset: int = 0) -> Generator[bytes, None, None]:
        attempts = _Attempts(self, "open_stream")
        position = offset
        while True:
            chunks = self._inner.open_stream(key, offset=position)
            try:
                with contextlib.closing(chunks):
                    for chunk in filter(None, chunks):
                        position += len(chunk)
                        yield chunk
                        attempts.succeeded()
                return
            except StorageUnavailable as error:
                attempts.wait(error)

    def stat(self, key: str, /) -> ObjectInfo:
        return self.call("stat", lambda: self._inner.stat(key))

    def list(self, prefix: str, /) -> Iterator[ObjectInfo]:
        attempts = _Attempts(self, "list")
        last_key: str | None = None
        while True:
            try:
                for info in self._inner.list(prefix):
                    if last_key is not None and info.key <= last_key:
                        continue  # listed before the failure
                    last_key = info.key
                    yield info
                    attempts.succeeded()
                self.is_down = False
                return
            except StorageUnavailable as error:
                attempts.wait(error)

    def delete(self, keys: Iterable[str], /) -> None:
        todo = tuple(keys)
        self.call("delete", lambda: self._inner.delete(todo))

    def abort_stale_uploads(self, prefix: str, /, *, begun_before: datetime | None = None) -> int:
        return self.call(
            "abort_stale_uploads",
            lambda: self._inner.abort_stale_uploads(prefix, begun_before=begun_before),
            is_cleanup=True,
        )

    def close(self) -> None:
        self._inner.close()

    def call(
        self, operation: str, function: Callable[[], _Result], *, is_cleanup: bool = False
    ) -> _Result:
        """Run something idempotent until it succeeds, fails for good or runs out of tries."""
        attempts = _Attempts(self, operation, is_cleanup=is_cleanup)
        while True:
            try:
                result = function()
            except StorageUnavailable as error:
                attempts.wait(error)
            else:
                attempts.succeeded()
                return result

    def _holds(self, key: str, data: bytes) -> bool:
        found = bytearray()
        for chunk in self.open_stream(key):
            found += chunk
            if len(found) > len(data):
                return False
        return found == data


class RetryingUpload:
    """An upload whose parts are sent again when they got lost."""

    def __init__(self, retrying: Retrying, inner: Upload) -> None:
        self._retrying = retrying
        self._inner = inner

    def put_part(self, number: int, data: bytes, /) -> None:
        self._retrying.call("put_part", lambda: self._inner.put_part(number, data))

    def complete(self) -> ObjectInfo:
        return self._retrying.call("complete", self._inner.complete)

    def abort(self) -> None:
        """Also tried when `stop` is set already: then once."""
        with contextlib.suppress(Cancelled):
            self._retrying.call("abort", self._inner.abort, is_cleanup=True)
