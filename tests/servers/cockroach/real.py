"""A real CockroachDB of one node: a program that is named, or the public image in a container.

No registry of packages has it, so it may be missing where all other servers are required; but what
was asked for by name has to be there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers.cockroach.server import CockroachServer
from tests.servers.provider import (
    ServerMissing,
    answers_http,
    free_port,
    has_container_engine,
    start_process,
)

#: Names a program.
PROGRAM_VARIABLE = "COCKROACH_BIN"
#: Names an image, in place of the newest series' one. Older than 24.3 they want a licence for
#: encryption and increments.
IMAGE_VARIABLE = "COCKROACH_IMAGE"
IMAGE = "docker.io/cockroachdb/cockroach:latest-v26.2"
HOW_TO_GET = f"docker pull {IMAGE}, or name a program in {PROGRAM_VARIABLE}"
_READY_PATH = "/health?ready=1"
_READY_S = 60.0
_ENVIRONMENT = {"COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING": "true"}


def is_asked_for() -> bool:
    """Whether it is named, so that its absence is a failure and no reason to skip."""
    return bool(os.environ.get(PROGRAM_VARIABLE) or os.environ.get(IMAGE_VARIABLE))


@contextlib.contextmanager
def running() -> Iterator[CockroachServer]:
    """A server without data, insecure, on loopback; raises ServerMissing."""
    program = os.environ.get(PROGRAM_VARIABLE)
    if program:
        if not Path(program).is_file():
            raise ServerMissing(f"{PROGRAM_VARIABLE} names {program}, which is no file")
        run = _as_process(Path(program))
    elif has_container_engine():
        run = _as_container(os.environ.get(IMAGE_VARIABLE) or IMAGE)
    else:
        raise ServerMissing("no CockroachDB: no program is named and no container engine answers")
    with run as server:
        yield server


def _arguments(port: int, http: int) -> list[str]:
    return [
        "start-single-node",
        "--insecure",
        f"--listen-addr=127.0.0.1:{port}",
        f"--http-addr=127.0.0.1:{http}",
        "--store=type=mem,size=640MiB",
    ]


@contextlib.contextmanager
def _as_process(program: Path) -> Iterator[CockroachServer]:
    port, http = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="cockroach-") as folder:
        process = start_process(
            [program, *_arguments(port, http), f"--log-dir={folder}/logs"],
            log_file=Path(folder) / "log",
            is_ready=lambda: answers_http(http, _READY_PATH),
            # One that is inherited makes every s3:// of the server fail.
            environment={**_ENVIRONMENT, "AWS_CA_BUNDLE": ""},
        )
        try:
            yield CockroachServer(host="127.0.0.1", port=port)
        finally:
            process.stop()


@contextlib.contextmanager
def _as_container(image: str) -> Iterator[CockroachServer]:
    """In the machine's own network: it has to reach the tests' buckets, which are on loopback."""
    from testcontainers.core.container import DockerContainer

    port, http = free_port(), free_port()
    container = DockerContainer(image).with_command(_arguments(port, http))
    for name, value in _ENVIRONMENT.items():
        container = container.with_env(name, value)
    # Not by the image's own script, which knows few of the arguments.
    container = container.with_kwargs(network="host", entrypoint=["/cockroach/cockroach"])
    try:
        container.start()
    except Exception as error:
        raise ServerMissing(f"no CockroachDB: {image} does not start: {error}") from error
    try:
        _wait(lambda: answers_http(http, _READY_PATH), image)
        yield CockroachServer(host="127.0.0.1", port=port)
    finally:
        container.stop()


def _wait(is_ready: Callable[[], bool], image: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not is_ready():
        if time.monotonic() > deadline:
            raise ServerMissing(f"no CockroachDB: {image} did not become ready")
        time.sleep(0.2)
