"""`runner run`: the composition root of the runner's main process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from controller.api.durations import parse_duration
from controller.api.errors import InvalidSpec, Problem
from controller.process.signals import signals_to
from runner.cli.context import CliContext, json_option

if TYPE_CHECKING:
    from controller.process.clock import Clock
    from runner.config import RunnerConfig
    from runner.ports import DeletionOrder, Fence, StatusSink

#: Below the terminationGracePeriodSeconds that the controller gives the pod.
_DEFAULT_GRACE = "10m"


@click.command()
@json_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool) -> None:
    """Serve: schedule, control socket, metrics. The pod's main process.

    LISTEN (default :3000) is where metrics and probes are served,
    SHUTDOWN_GRACE (default 10m) how long a running job may go on after SIGTERM.
    In a pod that the controller made (RUNNER_IN_CLUSTER=true) it acts only
    while it holds the object's Lease, and reports into the object's status.
    The log is JSON with and without --json.
    """
    del as_json  # `main` tells an error in its form
    stop, now = threading.Event(), threading.Event()

    def on_signal(number: int) -> None:
        if stop.is_set() or number == signal.SIGINT:
            now.set()
        stop.set()

    # First of all: until it is there, the kernel keeps SIGTERM from the pod's first process, and
    # the pod would stay for its whole grace period.
    with signals_to(on_signal, signal.SIGTERM, signal.SIGINT):
        _serve(context, stop, now)


def _serve(context: CliContext, stop: threading.Event, now: threading.Event) -> None:
    from controller.process.clock import SystemClock  # noqa: PLC0415 - --help needs none of it
    from runner.jobs.environment import log_for  # noqa: PLC0415 - as above
    from runner.parent import Parent, Settings  # noqa: PLC0415 - as above
    from runner.rundir import socket_path  # noqa: PLC0415 - as above

    config = context.load()
    log_for(config)
    try:
        grace = parse_duration(context.environ.get("SHUTDOWN_GRACE", _DEFAULT_GRACE))
    except InvalidSpec as error:
        raise InvalidSpec([Problem("SHUTDOWN_GRACE", str(error))]) from error
    settings = Settings(
        config=context.config,
        listen=context.environ.get("LISTEN", ":3000"),
        control_socket=socket_path(context.config, context.environ),
        grace_s=grace.total_seconds(),
    )
    clock = SystemClock()
    with _ports(context, config, clock) as (fence, status, order):
        Parent(settings, config, clock, fence, status, order).run(stop, now)


@contextmanager
def _ports(
    context: CliContext, config: RunnerConfig, clock: Clock
) -> Iterator[tuple[Fence, StatusSink, DeletionOrder]]:
    """Those of a cluster if the controller started us, else those of a laptop."""
    from runner.ports import (  # noqa: PLC0415 - --help needs none
        BothFences,
        FileFence,
        LastStatus,
        NeverDeleted,
    )
    from runner.rundir import fence_path  # noqa: PLC0415 - as above

    file = FileFence(fence_path(context.config, context.environ))
    if not context.is_in_cluster:
        yield file, LastStatus(), NeverDeleted()
        return
    from runner.cluster import connected  # noqa: PLC0415 - nor does a laptop

    with connected(config.backup.metadata, context.environ) as cluster:
        lease = cluster.fence(clock)
        status = cluster.status(clock, lease.confirm)
        yield BothFences(lease, file), status, cluster.deletion_order(lease)
