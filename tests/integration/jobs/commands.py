"""A command that ended, a runner that runs, and waiting for what they do."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, frozen

_T = TypeVar("_T")


@frozen(kw_only=True)
class Done:
    """A command that ended."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        return self.out + self.err

    def json(self) -> Any:
        return json.loads(self.out)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def outcome(self) -> dict[str, Any]:
        """Of a job that was run with --json."""
        event = self.events()[-1]
        assert event["event"] == "outcome", event
        assert event["exitCode"] == self.code
        outcome: dict[str, Any] = event["outcome"]
        return outcome

    def must(self, code: int, *words: str) -> Done:
        """Insist on the exit code, and on words that the command said."""
        assert self.code == code, f"{self.argv} exited with {self.code}, not {code}:\n{self.said}"
        for word in words:
            assert word in self.said, f"{self.argv} does not say {word!r}:\n{self.said}"
        assert "Traceback" not in self.said, self.said
        return self


@define(kw_only=True, eq=False)
class Runner:
    """A `runner run`."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def port(self) -> int:
        match = re.search(r'"address":"[^"]*?:(\d+)"', self.log)
        assert match, self.log
        return int(match[1])

    def wait_ready(self, timeout_s: float = 40) -> None:
        eventually(
            lambda: self._has_started() and self.get("/readyz")[0] == 200,
            say=lambda: f"not ready: {self.log}",
            timeout_s=timeout_s,
        )

    def wait_started(self) -> None:
        """Wait until it serves, ready or not: what comes before that, Python may take itself."""
        eventually(self._has_started, say=lambda: f"not started: {self.log}")

    def _has_started(self) -> bool:
        assert self.process.poll() is None, f"the runner ended: {self.log}"
        return "runner started" in self.log

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series; None if it is absent."""
        for line in self.get("/metrics")[1].splitlines():
            if not line.startswith(f"db_backup_controller_{name}{{"):
                continue
            shown, _, value = line.rpartition(" ")
            if all(f'{key}="{text}"' in shown for key, text in labels.items()):
                return float(value)
        return None

    def end(self) -> None:
        """Ctrl-C: at once, and cleanly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def eventually(
    check: Callable[[], _T],
    *,
    say: Callable[[], str],
    timeout_s: float = 40,
) -> _T:
    """Wait until `check` gives something true; returns that.

    The time is there for a machine that is busy with other tests; only a
    failure takes so long.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if value := check():
            return value
        assert time.monotonic() < deadline, say()
        time.sleep(0.05)
