"""`runner run`: the composition root of the runner's main process."""

from __future__ import annotations

import signal
import threading

import click

from controller.api.durations import parse_duration
from controller.api.errors import InvalidSpec, Problem
from runner.cli.context import CliContext, json_option

#: Below the terminationGracePeriodSeconds that the controller gives the pod.
_DEFAULT_GRACE = "10m"


@click.command()
@json_option
@click.pass_obj
def command(context: CliContext, *, as_json: bool) -> None:
    """Serve: schedule, control socket, metrics. The pod's main process.

    LISTEN (default :3000) is where metrics and probes are served,
    SHUTDOWN_GRACE (default 10m) how long a running job may go on after SIGTERM.
    The log is JSON with and without --json.
    """
    del as_json  # `main` tells an error in its form
    from controller.process.clock import SystemClock  # noqa: PLC0415 - --help needs none of it
    from runner.parent import Parent, Settings  # noqa: PLC0415 - as above
    from runner.ports import FileFence, LastStatus  # noqa: PLC0415 - as above
    from runner.rundir import fence_path, socket_path  # noqa: PLC0415 - as above

    config = context.load()
    socket = socket_path(context.config, context.environ)
    try:
        grace = parse_duration(context.environ.get("SHUTDOWN_GRACE", _DEFAULT_GRACE))
    except InvalidSpec as error:
        raise InvalidSpec([Problem("SHUTDOWN_GRACE", str(error))]) from error
    parent = Parent(
        Settings(
            config=context.config,
            listen=context.environ.get("LISTEN", ":3000"),
            control_socket=socket,
            grace_s=grace.total_seconds(),
        ),
        config,
        SystemClock(),
        FileFence(fence_path(context.config, context.environ)),
        LastStatus(),
    )
    stop, now = threading.Event(), threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set() or number == signal.SIGINT:
            now.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    parent.run(stop, now)
