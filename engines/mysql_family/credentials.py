"""How the client tools learn where the server is and who we are: an option file, mode 0600.

A password in arguments is seen by everyone on the machine, one in the
environment by everything that the tool starts. Does not belong here: what a
tool is asked to do, but for what no argument list is long enough for.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

from controller.api.errors import RetriableError
from controller.api.secrets import Secret, SecretValue
from controller.api.v1 import TlsMode
from engines.mysql_family.family import Spec

_VERIFYING = (TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY)
_ENFORCING = (TlsMode.REQUIRED, *_VERIFYING)
#: What of a connection has to be the same whatever the tool.
_LARGEST_PACKET = "1G"


@frozen(kw_only=True)
class CertificateFiles:
    """The certificates of a section as files; None where it has none."""

    authority: Path | None
    certificate: Path | None
    key: Path | None


class Files:
    """Writes secrets into the job's scratch folder.

    Threads: `_lock` guards names; a file is replaced at once, for a child may be reading it.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._lock = threading.Lock()

    def write(self, name: str, content: str) -> Path:
        """Raises: RetriableError: there is no room, for example."""
        path = self._scratch / name
        fresh = self._scratch / f"{name}.new"
        with self._lock:
            try:
                fresh.unlink(missing_ok=True)
                descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
                    file.write(content)
                fresh.replace(path)
            except OSError as error:
                raise RetriableError(
                    f"the job cannot write {name} into its own folder for what only its tools may "
                    f"read; make room where TMPDIR is: {error.strerror}"
                ) from error
        return path


@frozen(kw_only=True)
class Login:
    """Who we are at this moment: secrets are resolved for each connection anew."""

    spec: Spec
    user: Secret
    password: Secret | None
    certificates: CertificateFiles
    is_mariadb: bool = field(repr=False)

    @property
    def is_socket(self) -> bool:
        return self.spec.host.startswith("/")

    @property
    def is_tls_enforced(self) -> bool:
        return self.mode in _ENFORCING or self.certificates.certificate is not None

    @property
    def mode(self) -> TlsMode:
        return TlsMode(self.spec.ssl_mode.value)

    def tls_context(self) -> ssl.SSLContext:
        """For sessions of our own, when TLS is enforced."""
        authority = self.certificates.authority
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        # What MySQL makes for itself has no extension that says that it is an authority.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.mode is TlsMode.VERIFY_IDENTITY
        if self.mode not in _VERIFYING:
            context.verify_mode = ssl.CERT_NONE
        if self.certificates.certificate is not None:
            context.load_cert_chain(self.certificates.certificate, self.certificates.key)
        return context

    def options(self) -> list[tuple[str, str | None]]:
        """Lines of the group ``[client]``."""
        lines: list[tuple[str, str | None]] = [("user", self.user.reveal())]
        if self.password is not None:
            lines.append(("password", self.password.reveal()))
        if self.is_socket:
            lines += [("socket", self.spec.host), ("protocol", "socket")]
        else:
            lines += [
                ("host", self.spec.host),
                ("port", str(self.spec.port)),
                ("protocol", "tcp"),
            ]
        lines += [("default-character-set", "utf8mb4"), ("max-allowed-packet", _LARGEST_PACKET)]
        return lines + (self._mariadb_tls() if self.is_mariadb else self._mysql_tls())

    def _mysql_tls(self) -> list[tuple[str, str | None]]:
        mode = self.mode
        if mode is TlsMode.PREFERRED and self.is_tls_enforced:
            mode = TlsMode.REQUIRED
        return [("ssl-mode", mode.name), *self._certificates()]

    def _mariadb_tls(self) -> list[tuple[str, str | None]]:
        """Before 11.4 nothing is verified unless told; since then everything, unless told not to.

        Who does not verify is not insisted on TLS for, whatever `ssl` says: `required` is what our
        own session has asked of the server a moment earlier.
        """
        if self.mode is TlsMode.DISABLED:
            return [("skip-ssl", None)]
        if self.mode is TlsMode.PREFERRED and not self.is_tls_enforced:
            return [("skip-ssl-verify-server-cert", None)]
        checks = "" if self.mode is TlsMode.VERIFY_IDENTITY else "skip-"
        return [("ssl", None), (f"{checks}ssl-verify-server-cert", None), *self._certificates()]

    def _certificates(self) -> list[tuple[str, str | None]]:
        found = self.certificates
        lines: list[tuple[str, str | None]] = []
        if found.authority is not None:
            lines.append(("ssl-ca", str(found.authority)))
        elif self.mode in _VERIFYING:
            lines += _system_authorities()
        if found.certificate is not None:
            lines += [("ssl-cert", str(found.certificate)), ("ssl-key", str(found.key))]
        return lines

    def beginning_with(self, statement: str) -> tuple[str, str]:
        """The option `host` that has a tool of MariaDB's run a statement as it connects.

        `mariadb-dump` has no option for that. The library that it connects with takes a list of
        settings in place of a host, as long as a semicolon is in it.
        """
        host = "" if self.is_socket else f"host={self.spec.host};"
        return "host", f"{host}init-command={{{statement}}};"

    def secrets(self) -> tuple[Secret, ...]:
        return (self.password,) if self.password else ()


def login(
    spec: Spec, resolve: Mapping[str, Secret | None], files: Files, *, is_mariadb: bool
) -> Login:
    """Make a login of resolved secrets: `user`, `password`, `ssl_ca`, `ssl_cert`, `ssl_key`."""

    def as_file(name: str) -> Path | None:
        secret = resolve[name]
        return None if secret is None else files.write(f"{name}.pem", secret.reveal())

    user = resolve["user"]
    assert user is not None  # noqa: S101 - the section requires it
    return Login(
        spec=spec,
        user=user,
        password=resolve["password"],
        certificates=CertificateFiles(
            authority=as_file("ssl_ca"),
            certificate=as_file("ssl_cert"),
            key=as_file("ssl_key"),
        ),
        is_mariadb=is_mariadb,
    )


def secret_values(spec: Spec) -> dict[str, SecretValue | None]:
    """The secret values of a section, by their field."""
    return {
        "user": spec.user,
        "password": spec.password,
        "ssl_ca": spec.ssl_ca,
        "ssl_cert": spec.ssl_cert,
        "ssl_key": spec.ssl_key,
    }


def option_file(groups: Mapping[str, Iterable[tuple[str, str | None]]]) -> str:
    """The text of an option file; whatever is in a value stays a value."""
    lines = []
    for group, options in groups.items():
        lines.append(f"[{group}]")
        lines += [name if value is None else f"{name}={_quoted(value)}" for name, value in options]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("\r", "\\r").replace("\t", "\\t") + '"'


def _system_authorities() -> list[tuple[str, str | None]]:
    """Where this machine keeps whom it trusts: the tools look nowhere by themselves."""
    paths = ssl.get_default_verify_paths()
    found: list[tuple[str, str | None]] = []
    if paths.cafile:
        found.append(("ssl-ca", paths.cafile))
    if paths.capath:
        found.append(("ssl-capath", paths.capath))
    return found
