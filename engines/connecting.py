"""Connecting in a thread of its own: nothing wakes who waits for a server that says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T", bound=_Closable)


class Connecting(threading.Thread, Generic[_T]):
    """One attempt to connect, which may be left behind: then it closes what it gets.

    Threads: `_lock` guards `_session` and `_is_abandoned`; `_error` is read after `done`.
    """

    def __init__(self, connect: Callable[[], _T]) -> None:
        super().__init__(name="database-connect", daemon=True)
        self._connect = connect
        self._lock = threading.Lock()
        self._session: _T | None = None
        self._error: Exception | None = None
        self._is_abandoned = False
        self.done = threading.Event()

    def run(self) -> None:
        try:
            session = self._connect()
            with self._lock:
                self._session = session
                if self._is_abandoned:
                    session.close()
        except Exception as error:  # noqa: BLE001 - thread top: raised by `result`
            self._error = error
        finally:
            self.done.set()

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            if self._session is not None:
                self._session.close()

    def result(self) -> _T:
        """The session, or the error; after `done`."""
        if self._error is not None:
            raise self._error
        assert self._session is not None  # noqa: S101 - one of the two is there
        return self._session
