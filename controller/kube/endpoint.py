"""Where an API server is and how one shows who one is: values, and the token's file."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from controller.api.errors import AccessDenied, ApiRefused
from controller.api.secrets import Secret

#: The kubelet replaces the file at 80 % of the token's hour; a look a minute is soon enough.
_REREAD_S = 60.0


class Credentials(Protocol):
    """What goes into the Authorization header. Thread-safe."""

    def authorization(self) -> Secret | None:
        """The header's value; None sends none."""
        ...

    def renew(self) -> bool:
        """Look again, because the server refused what it got; whether there is anything new."""
        ...


class NoCredentials:
    """A client certificate is enough, or nothing is needed."""

    def authorization(self) -> Secret | None:
        return None

    def renew(self) -> bool:
        return False


class TokenFile:
    """A token in a file that somebody else replaces before it expires.

    A file that cannot be read leaves the last token in use: the server says
    when that is not good any more.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        # Guards the two below; a read of a small file happens under it, so that
        # requests after a rotation do not all read.
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._read_mono = 0.0

    def authorization(self) -> Secret:
        with self._lock:
            if self._token is None or self._monotonic() - self._read_mono >= _REREAD_S:
                self._read_locked()
            if self._token is None:
                raise AccessDenied(f"{self._path}: cannot be read or is empty; it holds the token")
            return self._token

    def renew(self) -> bool:
        with self._lock:
            before = self._token
            self._read_locked()
            return self._token != before

    def _read_locked(self) -> None:
        self._read_mono = self._monotonic()
        try:
            token = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return
        if token:
            self._token = Secret(f"Bearer {token}")


@frozen(kw_only=True)
class Endpoint:
    """One API server and one identity. It is reached directly, never through a proxy.

    Args:
        server: ``https://host:port``, perhaps with a path before the API's own.
        ca_file: who signed the server's certificate; None: the system's list.
        client_certificate_file, client_key_file: PEM; None: no certificate.
        tls_server_name: the name that the certificate has, if not the address.
        is_verified: False takes any certificate; only a kubeconfig can say so.
        namespace: the identity's own.
    """

    server: str
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    tls_server_name: str | None = None
    is_verified: bool = True
    namespace: str = "default"
    credentials: Credentials = field(factory=NoCredentials)

    def tls(self) -> ssl.SSLContext | None:
        """A context for connections; None where the server speaks plain HTTP."""
        if not self.server.startswith("https://"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.client_certificate_file:
                context.load_cert_chain(self.client_certificate_file, self.client_key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(
                str(one)
                for one in (self.ca_file, self.client_certificate_file, self.client_key_file)
                if one
            )
            raise ApiRefused(f"{files}: no usable certificates or key in PEM form") from error
        if not self.is_verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
