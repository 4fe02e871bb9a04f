"""The least that a client can do: create ready-made objects over kept connections."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import urllib3
from attrs import frozen

from tests.servers.kubernetes import KubernetesServer


@frozen(kw_only=True)
class Write:
    """One request that writes, its body made before the clock starts."""

    path: str
    body: bytes
    method: str = "POST"
    content_type: str = "application/json"

    @classmethod
    def of(cls, path: str, manifest: Mapping[str, Any], method: str = "POST") -> Write:
        return cls(path=path, body=orjson.dumps(manifest), method=method)


class BareClient:
    """So many connections, each with one request after the other on it.

    Args:
        token: of a service account; None: cluster-admin.
    """

    def __init__(
        self, server: KubernetesServer, *, connections: int, token: str | None = None
    ) -> None:
        self._connections = connections
        tls: dict[str, Any] = {"ca_certs": str(server.ca_file)}
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        else:
            tls["cert_file"] = str(Path(server.folder) / "admin.crt")
            tls["key_file"] = str(Path(server.folder) / "admin.key")
        self._headers = headers
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", server.port, maxsize=connections, retries=False, **tls
        )

    def send(self, groups: Sequence[Sequence[Write]]) -> float:
        """Send all, each group in order over one connection; seconds until the last answer."""
        shares = [
            list(chain(*groups[start :: self._connections])) for start in range(self._connections)
        ]
        started = time.perf_counter()
        with ThreadPoolExecutor(self._connections) as threads:
            list(threads.map(self._send_share, shares))
        return time.perf_counter() - started

    def write(self, write: Write) -> dict[str, Any]:
        headers = self._headers | {"Content-Type": write.content_type}
        return self._ask(write.method, write.path, headers=headers, body=write.body)

    def get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, headers=self._headers)

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """The events of a watch, until the server ends it."""
        answer = self._pool.request(
            "GET", path, headers=self._headers, preload_content=False, timeout=3600
        )
        rest = b""
        for chunk in answer.stream(1 << 16, decode_content=False):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from map(orjson.loads, whole)

    def _send_share(self, share: Sequence[Write]) -> None:
        for write in share:
            self.write(write)

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        answer = self._pool.request(method, path, **content)
        if answer.status not in {200, 201, 202}:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data[:500]!r}")
        found: dict[str, Any] = orjson.loads(answer.data)
        return found


class Arrivals:
    """When objects of one kind were first seen, by namespace and name, from now on."""

    def __init__(self, client: BareClient, path: str) -> None:
        self._client = client
        self._seen: dict[tuple[str, str], float] = {}
        self._changed = threading.Condition()
        revision = client.get(f"{path}?limit=1")["metadata"]["resourceVersion"]
        self._path = f"{path}?watch=1&timeoutSeconds=3600&resourceVersion={revision}"
        threading.Thread(target=self._run, name="arrivals", daemon=True).start()

    def wait(
        self, expected: frozenset[tuple[str, str]], timeout_s: float
    ) -> dict[tuple[str, str], float]:
        """Wait until all have come; when each did, on the clock of perf_counter."""
        with self._changed:
            if not self._changed.wait_for(lambda: expected <= self._seen.keys(), timeout_s):
                missing = len(expected - self._seen.keys())
                raise TimeoutError(f"{missing} of {len(expected)} did not come in {timeout_s} s")
            return {key: self._seen[key] for key in expected}

    def _run(self) -> None:
        # Until the server ends, and with it the benchmark.
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            self._take_all()

    def _take_all(self) -> None:
        for event in self._client.lines(self._path):
            if event["type"] == "ADDED":
                metadata = event["object"]["metadata"]
                with self._changed:
                    self._seen[metadata["namespace"], metadata["name"]] = time.perf_counter()
                    self._changed.notify_all()
