"""The control socket: how `kubectl exec` talks to the runner.

A client connects, sends one JSON line and gets JSON lines until the end. Who
may open the socket may do everything: its directory is ours alone (0700). A
client that goes away, or never reads, changes nothing for the job.

    {"verb": "start", "request": {...}, "detach": false,     events, then the outcome
     "wait": true}
    {"verb": "status"}                                     one line
    {"verb": "cancel"}                                     one line
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from controller.api.errors import (
    BackupError,
    BusyError,
    FormatError,
    RetriableError,
    TerminalError,
    UsageError,
)
from controller.process.logging import kv
from runner.jobs.events import Event, parse_event
from runner.jobs.request import JobRequest, decode_request, encode_request
from runner.jobs.slot import JobSlot, new_listener
from runner.outcome import JobKind
from runner.pipeline.pipe import Pipe
from runner.ports import Overtaken
from runner.rundir import own_directory

log = logging.getLogger(__name__)

#: A request is a few hundred bytes.
_MAX_REQUEST_BYTES = 64 * 1024
#: A client that connects and says nothing, or that stops reading, is cut off.
_CLIENT_TIMEOUT_S = 30.0
_CLIENTS = 24
#: Of those that start a job or wait for their turn: the rest is for `cancel` and `status`.
_STARTING = 16
#: Between two lines to a client that waits for its turn.
_WAIT_LINE_S = 5.0


#: What SO_PEERCRED gives: process, user and group.
_UCRED = struct.Struct("iII")


_TOO_MANY = "too many clients talk to the runner: see `runner status`, `runner cancel`"


class RunnerNotRunning(RetriableError):
    """No runner listens at the control socket."""

    reason = "RunnerNotRunning"


class ControlServer:
    """Serves the control socket; each client in a thread of its own."""

    def __init__(
        self, path: Path, slot: JobSlot, status: Callable[[], Mapping[str, object]]
    ) -> None:
        self._path = path
        self._slot = slot
        self._status = status
        self._socket: socket.socket | None = None
        self._clients = threading.BoundedSemaphore(_CLIENTS)
        self._starting = threading.BoundedSemaphore(_STARTING)
        self._threads: set[threading.Thread] = set()

    def bind(self) -> None:
        """Start listening.

        Raises: TerminalError if the directory is not ours alone, or no socket can be there.
        """
        own_directory(self._path.parent)
        server = socket.socket(socket.AF_UNIX)
        try:
            self._path.unlink(missing_ok=True)
            server.bind(str(self._path))
            self._path.chmod(0o600)
            server.listen(_CLIENTS)
        except OSError as error:
            server.close()
            raise TerminalError(
                f"no socket can be made at {self._path} ({error}): set CONTROL_DIR to another "
                "directory"
            ) from error
        server.settimeout(0.5)
        self._socket = server

    def run(self, stop: threading.Event) -> None:
        """Accept clients until `stop`."""
        assert self._socket is not None, "bind first"  # noqa: S101
        with self._socket as server:
            while not stop.is_set():
                try:
                    client, _ = server.accept()
                except TimeoutError:
                    continue
                except OSError as error:  # out of descriptors: that passes, and so must we
                    log.warning("no client accepted", extra=kv(error=str(error)))
                    stop.wait(1)
                    continue
                if not self._clients.acquire(blocking=False):
                    with client, contextlib.suppress(OSError):
                        _send(client, _refusal(BusyError(_TOO_MANY)))
                    continue
                thread = threading.Thread(target=self._serve, args=(client,), name="control")
                self._threads.add(thread)
                thread.start()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        for thread in list(self._threads):
            thread.join(_CLIENT_TIMEOUT_S)

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_CLIENT_TIMEOUT_S)
                self._answer(client)
        except OSError as error:
            log.info("control client went away", extra=kv(error=type(error).__name__))
        except Exception:
            log.exception("control request failed")
        finally:
            self._threads.discard(threading.current_thread())
            self._clients.release()

    def _answer(self, client: socket.socket) -> None:
        line = _read_line(client)
        if not line:  # somebody only looked whether we are there
            return
        try:
            message = orjson.loads(line)
            verb = message["verb"]
        except (ValueError, KeyError, TypeError):
            _send(client, _refusal(FormatError("not a control request")))
            return
        if verb == "status":
            _send(client, {"event": "status", **self._status()})
        elif verb == "cancel":
            _send(client, {"event": "cancelled", "was_running": self._slot.cancel()})
        elif verb == "start":
            if not self._starting.acquire(blocking=False):
                _send(client, _refusal(BusyError(_TOO_MANY)))
                return
            try:
                self._start(client, message)
            finally:
                self._starting.release()
        else:
            _send(client, _refusal(FormatError(f"unknown verb {str(verb)[:40]!r}")))

    def _start(self, client: socket.socket, message: Mapping[str, Any]) -> None:
        listener: Pipe[Event] | None = None if message.get("detach") else new_listener()
        try:
            request = decode_request(message.get("request") or {})
            if request.kind is JobKind.DELETE:
                # Its order comes from the API server: who may exec is not who may delete.
                raise UsageError("only the deletion of the object has its backups deleted")
            with self._slot.in_line():
                self._wait_and_start(client, request, listener, wait=bool(message.get("wait")))
        except BackupError as error:
            _send(client, _refusal(error))
            return
        _send(client, {"event": "accepted"})
        if listener is None:
            return
        try:
            while (event := listener.get()) is not None:
                _send(client, event)
        except BackupError as error:  # it read too slowly and was dropped
            _send(client, _refusal(error))
        except OSError:
            # The client is gone; the job is not. Nobody reads this listener any more.
            listener.abort(BusyError("the client went away"))
            raise

    def _wait_and_start(
        self,
        client: socket.socket,
        request: JobRequest,
        listener: Pipe[Event] | None,
        *,
        wait: bool,
    ) -> None:
        """Start a job, after the one that runs if the client wants to wait.

        A look at the locations is always waited for: it is short, and nobody's business.
        """
        told = ""
        while True:
            try:
                self._slot.start(request, listener)
            except Overtaken:
                raise
            except BusyError as error:
                running = self._slot.running
                if self._slot.closed:
                    raise
                if running is None:  # it ended meanwhile
                    continue
                is_look = running.request.kind is JobKind.INSPECT
                if not (wait or is_look):
                    raise
                if not is_look:
                    told = str(error)
                _send(client, {"event": "waiting", "message": told})
                self._slot.join(_WAIT_LINE_S)
            else:
                return


class ControlClient:
    """Talks to a runner from another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(
        self, request: JobRequest, *, detach: bool = False, wait: bool = True
    ) -> Iterator[Event]:
        """Start a job and give its events; with `detach` ends after it was accepted.

        Args:
            wait: for the job that runs; False is refused then.
        Raises: RunnerNotRunning, also when the runner ends before the job; Refused.
        """
        message = {
            "verb": "start",
            "request": orjson.loads(encode_request(request)),
            "detach": detach,
            "wait": wait,
        }
        last = ""
        for event in self._ask(message):
            last = event["event"]
            yield event
        if last != ("accepted" if detach else "outcome"):
            raise RunnerNotRunning(
                "the connection to the runner ended before it told how the job did: "
                "see `runner status` and `runner list`"
            )

    def status(self) -> Event:
        return next(self._ask({"verb": "status"}))

    def cancel(self) -> bool:
        """End the running job; False if there is none."""
        return bool(next(self._ask({"verb": "cancel"})).get("was_running"))

    def is_answered(self) -> bool:
        """Whether a runner listens."""
        try:
            with self._connect():
                return True
        except RunnerNotRunning:
            return False

    def _ask(self, message: Mapping[str, object]) -> Iterator[Event]:
        event = None
        try:
            with self._connect() as connection, connection.makefile("rb") as lines:
                with contextlib.suppress(BrokenPipeError):  # what it said before it hung up counts
                    _send(connection, message)
                for line in lines:
                    event = parse_event(line)
                    if event is None:  # half a line
                        break
                    if event["event"] == "refused":
                        raise Refused(event)
                    yield event
        except ConnectionError as error:
            raise RunnerNotRunning(f"the runner at {self._path} went away") from error
        if event is None:
            raise RunnerNotRunning(f"the runner at {self._path} went away")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise RunnerNotRunning(
                f"no runner listens at {self._path}: `runner run` starts one; a job that another "
                "command does by itself is ended with Ctrl-C there"
            ) from error
        # The default folder is below /tmp, where anybody could have made it before the runner.
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(credentials)
        if uid != os.getuid():
            connection.close()
            raise TerminalError(
                f"user {uid} listens at {self._path} and this is user {os.getuid()}: run this as "
                "the runner's user, or set CONTROL_DIR, to the same for both, to another directory"
            )
        return connection


class Refused(BackupError):
    """The runner did not take the request; reason and exit code are the runner's."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.get("message", "refused"))
        self.reason = event.get("reason", BackupError.reason)  # type: ignore[misc]  # of this one
        self.exit_code = event.get("exitCode", BackupError.exit_code)  # type: ignore[misc]  # ditto


def _refusal(error: BackupError) -> Event:
    return {
        "event": "refused",
        "reason": error.reason,
        "message": str(error),
        "exitCode": error.exit_code,
    }


def _send(connection: socket.socket, event: Mapping[str, object]) -> None:
    connection.sendall(orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z) + b"\n")


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_REQUEST_BYTES:
        chunk = connection.recv(4096)
        if not chunk:
            break
        line += chunk
    return line
