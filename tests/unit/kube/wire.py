"""A client of a server that says what a test wrote down."""

from __future__ import annotations

from typing import Any

from controller.kube.client import Client
from controller.kube.endpoint import Endpoint
from controller.kube.transport import Options
from tests.fakes.scripted_http import Script, ScriptedHttp

OBJECT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "orders", "namespace": "shop", "resourceVersion": "7"},
}
#: For those that wait until a limit is over.
QUICK = Options(connect_timeout_s=2, read_timeout_s=0.3, watch_idle_s=0.3)
#: For those whose server answers, which on a busy machine takes its time.
PATIENT = Options(connect_timeout_s=10, read_timeout_s=10, watch_idle_s=10)


def a_client(server: ScriptedHttp, options: Options = PATIENT, **endpoint: Any) -> Client:
    return Client(Endpoint(server=server.url, **endpoint), options)


def says(status: int, body: Any = None, **headers: str) -> Script:
    return lambda wire: wire.answer(status, {} if body is None else body, **headers)
