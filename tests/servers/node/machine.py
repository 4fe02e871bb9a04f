"""Starts a node on this machine and ends it; nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from attrs import define, field

from tests.servers import cgroups
from tests.servers.node import addresses, archive
from tests.servers.node.files import Files
from tests.servers.node.inside import FIXED_FOLDERS
from tests.servers.node.programs import Programs, can_run, find
from tests.servers.provider import ServerMissing, child_of

_REPOSITORY = Path(__file__).parents[3]
#: The kubelet sets these for the whole machine: what they were is written down, and set again.
_KERNEL_SETTINGS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory")
_PODS_CGROUP = "kubepods"
_READY_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0
_TICK_S = 0.05


class NotUp(Exception):
    """The node did not start, or there is one already; the message says what to do."""


@define(eq=False)
class Machine:
    """The node of this machine, running or not."""

    files: Files
    programs: Programs
    #: Where this process started it.
    _started_here: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def kubeconfig(self) -> Path:
        """For cluster-admin."""
        return self.files.kubeconfig("admin")

    @property
    def pid(self) -> int | None:
        """Of the node's first process; None if it does not run."""
        with contextlib.suppress(OSError, ValueError):
            pid, started = self._pid_file.read_text().split()
            # The same process, and not another one of its number.
            if _started(int(pid)) == started:
                return int(pid)
        return None

    def up(self) -> None:
        """Start it, and wait until it takes pods.

        Raises: NotUp.
        """
        if self.pid is not None:
            raise NotUp("a node is up on this machine: end it first, with make cluster-down")
        # What one left that ended by itself, or with the machine.
        self.down()
        for folder in FIXED_FOLDERS:
            Path(folder).mkdir(parents=True, exist_ok=True)
        self.files.folder.mkdir(parents=True)
        self.files.write(self.programs.plugins)
        self._settings_file.write_text(
            "".join(f"{name} {_kernel(name).read_text()}" for name in _KERNEL_SETTINGS)
        )
        try:
            self._start()
            self._connect()
            self._wait("containerd", lambda: self._inside(*self._ctr("version")) == 0)
            self._import_pause()
            self._wait("node", self._is_node_ready)
            self._wait("account", lambda: self.kubectl("get", "serviceaccount", "default") == 0)
            self._wait("DNS", _answers_dns)
        except BaseException:
            self._stop()
            raise

    def down(self) -> None:
        """End it and remove all of it; nothing to do is fine."""
        if not self.files.folder.exists():
            return
        self._stop()
        shutil.rmtree(self.files.folder)
        for folder in FIXED_FOLDERS:
            with contextlib.suppress(OSError):  # somebody else's
                Path(folder).rmdir()

    def load(self, docker: str, names: Sequence[str]) -> None:
        """Give the node images of the container engine.

        Raises: NotUp: one of them is not there, or the node does not take it.
        """
        importing = [*self._enter(), *self._ctr("-n", "k8s.io", "images", "import", "-")]
        with subprocess.Popen([docker, "save", *names], stdout=subprocess.PIPE) as saving:
            done = subprocess.run(
                importing, stdin=saving.stdout, capture_output=True, text=True, check=False
            )
        if saving.returncode or done.returncode:
            raise NotUp(f"{', '.join(names)} could not be loaded: {done.stderr.strip()[-1000:]}")

    def kubectl(self, *arguments: str) -> int:
        """Run kubectl as cluster-admin for its exit code alone."""
        command = [self.programs.kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    @property
    def _pid_file(self) -> Path:
        return self.files.folder / "pid"

    @property
    def _settings_file(self) -> Path:
        return self.files.folder / "kernel-settings"

    def _start(self) -> None:
        with (self.files.logs / "node.log").open("wb") as log:
            unshare = subprocess.Popen(
                [
                    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
                    *("--mount", "--net", "--", sys.executable, "-m", "tests.servers.node.inside"),
                    self.files.folder,
                ],
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started_here = unshare
        deadline = time.monotonic() + _END_TIMEOUT_S
        while unshare.poll() is None and time.monotonic() < deadline:
            if pid := child_of(unshare.pid):
                self._pid_file.write_text(f"{pid} {_started(pid)}")
                return
            time.sleep(_TICK_S)
        unshare.kill()
        raise NotUp(f"unshare did not work: {self._log_tail('node')}")

    def _connect(self) -> None:
        """A wire between this machine and the node, and the ways through it."""
        host, node = addresses.HOST_DEVICE, addresses.NODE_DEVICE
        _ip("link", "add", host, "type", "veth", "peer", "name", node, "netns", str(self.pid))
        _ip("addr", "add", f"{addresses.HOST}/24", "dev", host)
        _ip("link", "set", host, "up")
        for network in (addresses.PODS, addresses.SERVICES):
            _ip("route", "add", network, "via", addresses.ADDRESS)

    def _import_pause(self) -> None:
        image = archive.of_program(self.programs.pause, name=addresses.PAUSE_IMAGE)
        done = subprocess.run(
            [*self._enter(), *self._ctr("-n", "k8s.io", "images", "import", "-")],
            input=image,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise NotUp(f"pause could not be loaded: {done.stderr.decode().strip()[-1000:]}")

    def _is_node_ready(self) -> bool:
        wait = ("wait", "--for=condition=Ready", f"node/{addresses.NODE}", "--timeout=1s")
        return self.kubectl(*wait) == 0

    def _enter(self) -> list[str]:
        """What a command is put behind that is to run within the node."""
        if self.pid is None:
            raise NotUp(f"the node does not run: {self._log_tail('node')}")
        return ["nsenter", "--target", str(self.pid), "--pid", "--mount", "--net", "--"]

    def _inside(self, *argv: str) -> int:
        done = subprocess.run([*self._enter(), *argv], capture_output=True, check=False)
        return done.returncode

    def _ctr(self, *arguments: str) -> list[str]:
        return ["ctr", "--address", str(self.files.socket), *arguments]

    def _wait(self, what: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not is_ready():
            if self.pid is None:
                raise NotUp(f"the node ended: {self._log_tail('node')}")
            if time.monotonic() > deadline:
                raise NotUp(f"{what}: not ready; the logs are in {self.files.logs}")
            time.sleep(_TICK_S)

    def _log_tail(self, name: str) -> str:
        """The end of a log, and of that of the program that it names."""
        text = (self.files.logs / f"{name}.log").read_text(errors="replace").strip()
        other = self.files.logs / f"{text.partition(' ')[0]}.log"
        more = other.read_text(errors="replace").strip()[-2000:] if other.is_file() else ""
        return f"{text[-1000:]}\n{more}".strip()

    def _stop(self) -> None:
        """End the first process, and with it all others; undo what was done to the machine."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + _END_TIMEOUT_S
            while self.pid is not None and time.monotonic() < deadline:
                time.sleep(_TICK_S)
        if self._started_here is not None:
            self._started_here.wait(_END_TIMEOUT_S)
        # Goes with the network of the node, but a moment later.
        subprocess.run(
            ["ip", "link", "delete", addresses.HOST_DEVICE], capture_output=True, check=False
        )
        if self._settings_file.exists():
            for line in self._settings_file.read_text().splitlines():
                name, _, value = line.partition(" ")
                _kernel(name).write_text(value)
        cgroups.remove(_PODS_CGROUP)


def of_this_machine() -> Machine:
    """Raises ServerMissing: a program or a right is not there."""
    if not can_run():
        raise ServerMissing("a node needs root: run this with sudo")
    return Machine(Files(addresses.FOLDER), find())


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty: it is gone, or about to be."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _kernel(name: str) -> Path:
    return Path("/proc/sys") / name


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotUp(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _answers_dns() -> bool:
    connection = HTTPConnection(addresses.ADDRESS, addresses.DNS_READY_PORT, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
