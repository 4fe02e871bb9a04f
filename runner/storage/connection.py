"""How to reach a location over the network: a BackupLocation with its secrets resolved."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from attrs import frozen

from controller.api.errors import InvalidSpec
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import BackupLocation

#: Resolves a secret value of the configuration.
Resolve = Callable[[SecretValue], Secret]


@frozen(kw_only=True)
class Timeouts:
    """How long one request may stay silent.

    Args:
        connect_s: for the TCP connection and TLS handshake.
        read_s: between two reads of an answer, not for the whole of it.
    """

    connect_s: float = 10.0
    read_s: float = 60.0


@frozen(kw_only=True)
class Connection:
    """What every network adapter is built from.

    Args:
        location: the location's name, for messages.
        endpoint: ``host[:port]``; empty means the provider's own.
        access_key: with `secret_key`, or both None: the SDK's default chain.
        credentials_json: Google service account key, or None for the default chain.
        ca_pem: certificates to trust instead of the system's; may be empty.
        path_style: bucket in the path or in the host name; None: what fits the endpoint.
    """

    location: str
    bucket: str
    endpoint: str = ""
    secure: bool = True
    verify: bool = True
    region: str = ""
    access_key: Secret | None = None
    secret_key: Secret | None = None
    credentials_json: Secret | None = None
    ca_pem: str = ""
    path_style: bool | None = None
    timeouts: Timeouts = Timeouts()

    @property
    def url(self) -> str:
        """The endpoint with its scheme, or empty for the provider's own."""
        if not self.endpoint:
            return ""
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"

    @property
    def is_amazon(self) -> bool:
        host = self.endpoint.partition(":")[0]
        return not host or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def resolve_connection(
    location: BackupLocation, resolve: Resolve, timeouts: Timeouts
) -> Connection:
    """Resolve a location's secrets; what `resolve` raises passes through."""

    def text(value: SecretValue | None) -> Secret | None:
        return resolve(value) if value is not None else None

    ca_bundle = text(location.ca_bundle)
    return Connection(
        location=location.name,
        bucket=location.storage_bucket,
        endpoint=location.storage_endpoint,
        # The provider's own endpoint is never spoken to in plain text.
        secure=location.storage_use_ssl or not location.storage_endpoint,
        verify=not location.storage_insecure_skip_verify,
        region=location.storage_location,
        access_key=text(location.storage_access_key_id),
        secret_key=text(location.storage_secret_access_key),
        credentials_json=text(location.gcs_credentials),
        ca_pem=ca_bundle.reveal() if ca_bundle else "",
        path_style=location.force_path_style,
        timeouts=timeouts,
    )


class CaFile:
    """A CA bundle under a path, for SDKs that take nothing else.

    It lives in memory: a read-only root file system is no obstacle, and a
    killed runner leaves nothing behind. The path is valid in this process
    until `close`.
    """

    def __init__(self, location: str, pem: str) -> None:
        try:
            ssl.create_default_context(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSpec(
                f"location {location}: caBundle holds no readable PEM certificates"
            ) from error
        self._fd = os.memfd_create("ca-bundle")
        with os.fdopen(os.dup(self._fd), "wb") as file:
            file.write(pem.encode())
        self.path = f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_ca_file(connection: Connection) -> CaFile | None:
    """The connection's own CA bundle as a file, if it has one and checks certificates."""
    if connection.ca_pem and connection.secure and connection.verify:
        return CaFile(connection.location, connection.ca_pem)
    return None
