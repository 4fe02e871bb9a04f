"""An apt repository of one's own, signed, over TLS: as those that database projects have."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import ssl
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import frozen

from tests.servers import apt
from tests.servers.tls import Issued

_WHO = "apt repositories of a test"


@frozen
class Signer:
    """A key that signs repositories, made for as long as its folder is there."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Signer:
        """Raises: apt.Impossible: there is no gpg here."""
        if shutil.which("gpg") is None:
            raise apt.Impossible("needs gpg to sign with: apt install gpg")
        folder.mkdir(mode=0o700)
        signer = cls(folder)
        signer._gpg("--passphrase", "", "--quick-generate-key", _WHO, "ed25519", "sign", "1d")
        return signer

    def export(self, file: Path, *, is_text: bool) -> None:
        """Write the public key, as text or as bytes."""
        armor = ("--armor",) if is_text else ()
        self._gpg(*armor, "--output", file, "--export", _WHO)

    def sign(self, text: Path, signed: Path) -> None:
        self._gpg("--digest-algo", "SHA512", "--output", signed, "--clearsign", text)

    def end(self) -> None:
        """The agent that gpg has started goes when its folder does, but not at once."""
        apt.run(["gpgconf", "--homedir", self.folder, "--kill", "all"])

    def _gpg(self, *arguments: str | Path) -> None:
        apt.run(["gpg", "--homedir", self.folder, "--batch", "--quiet", "--yes", *arguments])


def publish(
    root: Path, packages: Iterable[Path], *, distribution: str, component: str, signer: Signer
) -> None:
    """Add a component with packages, and sign the distribution with all components that it has.

    Args:
        root: what the URL of the repository names.
    Raises: apt.Impossible
    """
    pool = root / "pool" / component
    pool.mkdir(parents=True, exist_ok=True)
    for package in packages:
        shutil.copy(package, pool)
    (architecture,) = apt.run(["dpkg", "--print-architecture"]).split()
    index = root / "dists" / distribution / component / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True, exist_ok=True)
    stanzas = [_stanza(package, root) for package in sorted(pool.iterdir())]
    index.write_text("\n".join(stanzas))
    _sign(root / "dists" / distribution, architecture, signer)


def _stanza(package: Path, root: Path) -> str:
    control = apt.run(["dpkg-deb", "--field", package])
    content = package.read_bytes()
    return (
        f"{control.rstrip()}\nFilename: {package.relative_to(root)}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def _sign(folder: Path, architecture: str, signer: Signer) -> None:
    indexes = sorted(folder.glob("*/binary-*/Packages"))
    components = sorted({index.relative_to(folder).parts[0] for index in indexes})
    lines = [
        f"Suite: {folder.name}",
        f"Codename: {folder.name}",
        f"Components: {' '.join(components)}",
        f"Architectures: {architecture}",
        f"Date: {datetime.now(UTC):%a, %d %b %Y %H:%M:%S} +0000",
        "SHA256:",
    ]
    for index in indexes:
        content = index.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f" {digest} {len(content)} {index.relative_to(folder)}")
    (folder / "Release").write_text("\n".join(lines) + "\n")
    signer.sign(folder / "Release", folder / "InRelease")


class _Quiet(SimpleHTTPRequestHandler):
    # The older one ends an answer with the connection, which over TLS is an error to apt.
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing: apt says what it misses."""


@contextlib.contextmanager
def serving(folder: Path, certificate: Issued) -> Iterator[str]:
    """Serve a folder on loopback over TLS; the URL of it."""
    certificate.write(folder.with_name("tls"), certificate="certificate", key="key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        folder.with_name("tls") / "certificate", folder.with_name("tls") / "key"
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
