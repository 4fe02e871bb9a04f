"""`controller run`: environment and signals in, an exit code out."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import threading
from collections.abc import Mapping

from controller import config as environment_of
from controller.api.version import version
from controller.kube import config as kube_config
from controller.kube.client import Client
from controller.kube.transport import Options
from controller.metrics import ControllerMetrics
from controller.process.clock import SystemClock
from controller.process.logging import configure, kv
from controller.process.signals import signals_to
from controller.runtime import Runtime

log = logging.getLogger(__name__)

_EXIT_STRAGGLER = 70
#: An answer about the Lease that comes later is no use: the renew deadline is 10 s.
_ELECTION_TIMEOUT_S = 3.0


#: Of mallopt(3).
_M_ARENA_MAX = -8
_ARENAS = 2


def run(environ: Mapping[str, str], *, kubeconfig: str | None, context: str | None) -> int:
    """Run until SIGTERM or SIGINT.

    Raises: InvalidSpec for a wrong environment or kubeconfig.
    """
    is_pod = not (kubeconfig or context) and kube_config.is_in_cluster(environ)
    environment = environment_of.read(environ, is_in_cluster=is_pod)
    configure(level=environment.log_level, is_json=environment.is_log_json)
    endpoint = kube_config.load(kubeconfig=kubeconfig, context=context, environment=environ)
    _keep_memory_together()
    stop = threading.Event()

    metrics = ControllerMetrics(version=version())
    options = Options(observe=metrics.request, limit=environment.api_limit)
    election_options = Options(
        observe=metrics.request,
        connect_timeout_s=_ELECTION_TIMEOUT_S,
        read_timeout_s=_ELECTION_TIMEOUT_S,
        connections=1,
    )
    log.info("controller begins", extra=kv(address=endpoint.server))
    with (
        signals_to(lambda _: stop.set(), signal.SIGTERM, signal.SIGINT),
        Client(endpoint, options) as client,
        Client(endpoint, election_options) as election,
    ):
        runtime = Runtime(
            environment,
            client,
            election,
            namespace=environment.target_namespace or endpoint.namespace,
            metrics=metrics,
            clock=SystemClock(),
        )
        has_ended = runtime.run(stop)
    if not has_ended:
        logging.shutdown()
        # The interpreter would wait for the thread that does not end.
        os._exit(_EXIT_STRAGGLER)
    log.info("controller ends")
    return 0


def _keep_memory_together() -> None:
    """Have all threads share two arenas of memory.

    By default glibc gives a thread one of its own, and what the lists at the start
    took there is not given back.
    """
    with contextlib.suppress(AttributeError, OSError):  # another libc has no such knob
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
