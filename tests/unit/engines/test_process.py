"""Child processes: success is exit status 0 and nothing else; nothing outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from controller.api.errors import Cancelled, ChecksumMismatch, TruncatedBackup
from controller.api.secrets import Secret
from engines import process
from tests.fakes.streams import MemoryReader, MemorySink


def shell(script: str, **fields: object) -> process.Command:
    return process.Command(
        argv=["/bin/sh", "-c", script], environment={"PATH": "/usr/bin:/bin"}, **fields
    )


def dump(script: str, sink: MemorySink, cancelled: threading.Event | None = None) -> None:
    with process.Child(shell(script), cancelled or threading.Event(), stdout=True) as child:
        process.pump_out(child, child.output(), sink.open("dump"))


def test_output_is_copied_whole_and_closed_when_the_child_exits_0() -> None:
    sink = MemorySink()

    dump("head -c 3000000 /dev/zero", sink)

    assert sink.streams["dump"] == bytes(3_000_000)


def test_what_a_slow_child_writes_in_small_pieces_is_read_in_large_ones() -> None:
    # A tool as it writes through stdio, with some computing between two pieces.
    program = """
import os, time
for _ in range(1000):
    os.write(1, bytes(4096))
    until = time.perf_counter_ns() + 20_000
    while time.perf_counter_ns() < until: pass
"""
    command = process.Command(argv=[sys.executable, "-c", program], environment={})
    with process.Child(command, threading.Event(), stdout=True) as child:
        sizes = [len(chunk) for chunk in child.output()]
        child.check()

    assert sum(sizes) == 1000 * 4096
    assert len(sizes) < 1000 / 8


@pytest.mark.parametrize(
    ("script", "said"),
    [("echo data; exit 3", "status 3"), ("echo data; kill -9 $$", "signal 9")],
)
def test_output_of_a_child_that_failed_is_void(script: str, said: str) -> None:
    sink = MemorySink()

    with pytest.raises(process.ProcessFailed, match=said):
        dump(script, sink)

    assert sink.streams == {}
    assert "dump" in sink.aborted


def test_the_exit_is_seen_when_it_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_POLL_MS", 3_600_000)  # whoever waits for it, waits too long
    sink = MemorySink()

    dump("echo data", sink)

    assert sink.streams["dump"] == b"data\n"


def test_the_last_words_are_kept_short_and_without_secrets() -> None:
    command = shell(
        "yes noise | head -c 9000 >&2; echo 'bad hunter2 password=s3cret u://a:pw@h' >&2; exit 1",
        secrets=[Secret("hunter2")],
    )

    with pytest.raises(process.ProcessFailed) as caught:
        process.run(command, threading.Event())

    assert len(caught.value.stderr) <= process.STDERR_TAIL_BYTES + 50
    assert "bad <redacted>" in caught.value.stderr
    for secret in ("hunter2", "s3cret", "pw@"):
        assert secret not in str(caught.value)


def test_lines_that_are_taken_do_not_hide_the_error() -> None:
    taken: list[str] = []
    command = shell(
        "echo good 1 >&2; echo good 2 >&2; echo bad >&2; exit 1",
        on_line=lambda line: line.startswith("good") and not taken.append(line),
    )

    with pytest.raises(process.ProcessFailed, match="bad") as caught:
        process.run(command, threading.Event())

    assert taken == ["good 1", "good 2"]
    assert "good" not in caught.value.stderr


def test_cancelling_ends_a_child_that_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    started = time.monotonic()

    with pytest.raises(Cancelled):
        process.run(shell("trap '' TERM; while :; do sleep 0.05; done"), cancelled)

    timer.join()
    assert time.monotonic() - started < 5


def test_input_reaches_the_child_whole(tmp_path: Path) -> None:
    data = os.urandom(2_500_000)

    process.feed_from(shell(f"cat > {tmp_path}/out"), MemoryReader(data, None), threading.Event())

    assert (tmp_path / "out").read_bytes() == data


def test_a_reader_that_fails_kills_the_child_before_it_sees_an_end(tmp_path: Path) -> None:
    command = shell(f"cat > {tmp_path}/out; touch {tmp_path}/committed")

    with pytest.raises(ChecksumMismatch):
        process.feed_from(
            command, MemoryReader(b"x" * 100_000, ChecksumMismatch("bad")), threading.Event()
        )

    time.sleep(0.1)
    assert not (tmp_path / "committed").exists()


def test_a_child_that_needs_no_more_input_still_waits_for_the_verdict() -> None:
    data = b"x" * 5_000_000

    process.feed_from(shell("head -c 10 >/dev/null"), MemoryReader(data, None), threading.Event())
    with pytest.raises(TruncatedBackup):
        process.feed_from(
            shell("head -c 10 >/dev/null"),
            MemoryReader(data, TruncatedBackup("cut")),
            threading.Event(),
        )


def test_a_child_that_fails_early_is_the_error_not_the_broken_pipe() -> None:
    with pytest.raises(process.ProcessFailed, match="no such table"):
        process.feed_from(
            shell("echo no such table >&2; exit 1"),
            MemoryReader(b"x" * 5_000_000, None),
            threading.Event(),
        )


def test_the_child_dies_when_this_process_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    program = (
        f"import sys, threading; sys.path.insert(0, {str(root)!r})\n"
        "from engines import process\n"
        f"argv = ['/bin/sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 100']\n"
        "command = process.Command(argv=argv, environment={'PATH': '/usr/bin:/bin'})\n"
        "process.run(command, threading.Event())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    pid_file = tmp_path / "pid"
    _until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    pid = int(pid_file.read_text())

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    _until(lambda: not _runs(pid))


def test_together_the_first_failure_stops_the_others() -> None:
    stopped: list[bool] = []

    def fails(_stop: threading.Event) -> None:
        raise ValueError("first")

    def waits(stop: threading.Event) -> None:
        stopped.append(stop.wait(10))
        raise Cancelled("told to")

    with pytest.raises(ValueError, match="first"):
        process.run_together([waits, fails], threading.Event())

    assert stopped == [True]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def _until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
