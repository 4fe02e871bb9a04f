"""Child processes: start, pump, watch, end.

A child is an argv list, never a shell line. It dies with us: a job that is
killed leaves no `pg_dump` behind. End of stream is never taken for success:
only exit status 0 is. Does not belong here: what a tool's options mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import TracebackType
from typing import IO, Self

from attrs import Factory, field, frozen

from controller.api.errors import Cancelled, RetriableError
from controller.api.secrets import REDACTED, Secret
from engines.interface import StreamReader, StreamWriter

#: One read or write; also the size asked for the pipes (Linux lets a plain user have 1 MiB).
BLOCK_BYTES = 1 << 20
#: Half of what a pipe holds. With an eighth of it, threads that take turns cost 3 % of a backup;
#: with all of it the stages wait for each other.
READ_BYTES = 1 << 19
#: How long a child that writes more slowly than we read is left alone, with a pipe of BLOCK_BYTES:
#: much less than it needs to fill it. Tools write 4 KiB at a time, and each time that a reader
#: waits for that costs both of them a switch: a tenth of a dump of MySQL's, on two cores.
_GATHER_S = 0.001
#: Of one line: a statement that failed may name thousands of tables, after the line with the cause.
_LINE_BYTES = 1024
STDERR_TAIL_BYTES = 4096
#: From SIGTERM to SIGKILL.
GRACE_S = 3.0
_POLL_MS = 200

# Between fork and exec no Python may run in a process with threads, so
# `preexec_fn` is out. This small program asks the kernel to kill it when the
# thread that started it ends, looks whether that has happened already, and
# becomes the tool. Python ignores SIGPIPE; the tool must not inherit that.
_TRAMPOLINE = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]): os._exit(1)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""

_PASSWORD_IN_TEXT = re.compile(
    r"(password\s*=\s*)('[^']*'|\S+)|(://[^:/@\s]*:)[^@\s]*(?=@)", re.IGNORECASE
)


class ProcessFailed(RetriableError):
    """A child process ended with a status other than 0.

    Args:
        name: the tool. status: exit status, negative for a signal.
        stderr: its last words, at most 4 KiB, redacted.
    """

    reason = "ProcessFailed"

    def __init__(self, name: str, status: int, stderr: str) -> None:
        self.name = name
        self.status = status
        self.stderr = stderr
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"{name} {how}: {stderr.strip() or 'it said nothing'}")


@frozen(kw_only=True)
class Command:
    """What to run.

    Args:
        argv: absolute path of the program and its arguments; no secrets.
        environment: the whole environment; secrets may be in here.
        secrets: texts that are cut out of everything the child says.
        on_line: sees each line of stderr; True takes it out of the tail.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    secrets: Sequence[Secret] = ()
    on_line: Callable[[str], bool] = field(default=lambda _line: False)
    name: str = field(
        default=Factory(lambda self: os.path.basename(self.argv[0]), takes_self=True)  # noqa: PTH119
    )


def redact(text: str, secrets: Sequence[Secret] = ()) -> str:
    """Cut known secrets, and what looks like a password, out of `text`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), REDACTED)
    return _PASSWORD_IN_TEXT.sub(lambda found: (found[1] or found[3]) + REDACTED, text)


def raise_if(cancelled: threading.Event) -> None:
    """Raises: Cancelled, when the event is set."""
    if cancelled.is_set():
        raise Cancelled("the job was ended")


class Child:
    """One running child, a context manager that never leaves it running.

    Threads: used by the thread that made it, which must outlive it: the kernel
    kills the child when that thread ends.
    """

    def __init__(
        self,
        command: Command,
        cancelled: threading.Event,
        *,
        stdin: bool = False,
        stdout: bool = False,
    ) -> None:
        self._command = command
        self._cancelled = cancelled
        self._tail = b""
        self._line = b""
        trampoline = [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid())]
        self._process = subprocess.Popen(
            [*trampoline, *command.argv],
            env=dict(command.environment),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,  # Ctrl-C reaches us alone; we end the children
        )
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # over the user's limit: the default will do
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, BLOCK_BYTES)
                os.set_blocking(pipe.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> Iterator[bytes]:
        """What the child writes, until it closes stdout. Then call `check`."""
        out = _pipe(self._process.stdout)
        gather_s = _GATHER_S * fcntl.fcntl(out, fcntl.F_GETPIPE_SZ) / BLOCK_BYTES
        while True:
            if not self._poll((out, select.POLLIN)):
                continue
            try:
                data = os.read(out, READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                return
            yield data
            if len(data) < READ_BYTES:
                time.sleep(gather_s)

    def feed(self, data: bytes) -> bool:
        """Write all of `data` to stdin; False when the child reads no more."""
        sink = _pipe(self._process.stdin)
        rest = memoryview(data)
        while rest:
            if not self._poll((sink, select.POLLOUT)):
                continue
            try:
                rest = rest[os.write(sink, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
        return True

    def end_of_input(self) -> None:
        """Close stdin. To the child this says that the input is whole."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def check(self) -> None:
        """Wait for the end.

        Raises: ProcessFailed, Cancelled.
        """
        status = None
        while status is None:
            raise_if(self._cancelled)
            timeout_s = _POLL_MS / 1000
            if self._is_talking():
                # The end of stderr comes with the exit, unless a grandchild holds it open.
                self._poll(None)
                timeout_s = 0.01
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(timeout_s)
        self._drain_stderr()
        if status:
            raise ProcessFailed(self._command.name, status, self.stderr_tail())

    def stderr_tail(self) -> str:
        text = (self._tail + self._line)[-STDERR_TAIL_BYTES:].decode(errors="replace")
        return redact(text, self._command.secrets)

    def end(self) -> None:
        """Make sure that the child is gone: SIGTERM, which lets it cancel its query, then SIGKILL.

        Its stdin stays open until it is dead: closing it would say that the input is whole.
        """
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # The group is the child's own from its first instant (process_group=0).
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _poll(self, wanted: tuple[int, int] | None) -> bool:
        """Wait a little for `wanted`, taking in stderr meanwhile; raises Cancelled."""
        raise_if(self._cancelled)
        poll = select.poll()
        if wanted is not None:
            poll.register(*wanted)
        if self._is_talking():
            poll.register(_pipe(self._process.stderr), select.POLLIN)
        ready = False
        for descriptor, _event in poll.poll(_POLL_MS):
            if wanted is not None and descriptor == wanted[0]:
                ready = True
            else:
                self._drain_stderr()
        return ready

    def _is_talking(self) -> bool:
        err = self._process.stderr
        return err is not None and not err.closed

    def _drain_stderr(self) -> None:
        err = self._process.stderr
        while err is not None and not err.closed:
            try:
                data = os.read(err.fileno(), READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                err.close()
                return
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                if not self._command.on_line(line.decode(errors="replace")):
                    self._tail = (self._tail + line[:_LINE_BYTES] + b"\n")[-STDERR_TAIL_BYTES:]
            self._line = self._line[:STDERR_TAIL_BYTES]


def _pipe(end: IO[bytes] | None) -> int:
    """Descriptor of a pipe that was asked for when the child was made."""
    if end is None:
        raise ValueError("the child was started without this pipe")
    return end.fileno()


def run(command: Command, cancelled: threading.Event) -> None:
    """Run to the end, with no input and no output.

    Raises: ProcessFailed, Cancelled.
    """
    with Child(command, cancelled) as child:
        child.check()


def pump_out(
    child: Child,
    chunks: Iterable[bytes],
    writer: StreamWriter,
    moved: Callable[[int], None] = lambda _size: None,
) -> None:
    """Copy `chunks`, the child's output, into `writer`, closed only if the child exited 0.

    Raises: ProcessFailed, Cancelled, and what the writer raises; the writer is
        aborted with the same error.
    """
    try:
        for data in chunks:
            writer.write(data)
            moved(len(data))
        child.check()
        writer.close()
    except BaseException as error:
        child.end()
        writer.abort(error)
        raise


def feed_from(
    command: Command,
    reader: StreamReader,
    cancelled: threading.Event,
    moved: Callable[[int], None] = lambda _size: None,
) -> None:
    """Run a child on the bytes of `reader`; both must reach their end.

    A reader that raises kills the child with its stdin still open: a tool that
    commits at the end of its input must not see one. A child that needs no
    more input and exits 0 leaves the rest to be read here, for its verdict.

    Raises: ProcessFailed, Cancelled, and what the reader raises.
    """
    with Child(command, cancelled, stdin=True) as child:
        reading = True
        while data := reader.read(BLOCK_BYTES):
            moved(len(data))
            if reading and not child.feed(data):
                reading = False
                child.check()
            raise_if(cancelled)
        if reading:
            child.end_of_input()
        child.check()


def run_together(
    jobs: Sequence[Callable[[threading.Event], None]],
    cancelled: threading.Event,
    *,
    on_stop: Callable[[], None] = lambda: None,
    at_once: int | None = None,
) -> None:
    """Run each job in a thread of its own; the first failure stops the others.

    Args:
        jobs: each gets the event that tells it to end.
        at_once: how many may run at the same time; None is all.
        on_stop: called once when that event is set, to wake who waits elsewhere.

    Raises: the first error that is not Cancelled, when all have ended; further
        ones are notes on it.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=at_once or len(jobs), thread_name_prefix="stream") as pool:
        futures = [pool.submit(job, stop) for job in jobs]
        waiting = set(futures)
        while waiting:
            ended, waiting = wait(waiting, timeout=_POLL_MS / 1000, return_when=FIRST_COMPLETED)
            failed = any(future.exception() is not None for future in ended)
            if (failed or cancelled.is_set()) and not stop.is_set():
                stop.set()
                on_stop()
    errors = [error for future in futures if (error := future.exception()) is not None]
    if not errors:
        raise_if(cancelled)
        return
    errors.sort(key=lambda error: isinstance(error, Cancelled))
    for further in errors[1:]:
        if not isinstance(further, Cancelled):
            errors[0].add_note(f"also: {further}")
    raise errors[0]
