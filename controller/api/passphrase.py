r"""The passphrase of one DatabaseBackup, derived from that of its storage class.

The class's own passphrase would open every tenant's backups; a runner gets only
this one. By hand, with ``openssl`` and the class's passphrase in the file `pass`::

    class=$(openssl kdf -keylen 32 -kdfopt hexpass:$(xxd -p -c 0 pass) \
      -kdfopt salt:db-backup-controller/v1 -kdfopt n:65536 -kdfopt r:8 -kdfopt p:1 SCRYPT)
    openssl kdf -binary -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:${class//:/} \
      -kdfopt info:NAMESPACE/NAME HKDF | basenc --base64url | tr -d =

(the file without a newline at its end).
"""

from __future__ import annotations

import base64

from controller.api.errors import InvalidSpec
from controller.api.secrets import Secret

_SALT = b"db-backup-controller/v1"
_KEY_BYTES = 32


def derive_passphrase(encryption_pass: Secret, *, namespace: str, name: str) -> Secret:
    """Derive the passphrase of ``namespace/name``; about 0.2 s and 64 MiB of memory.

    The slow step (scrypt) does not depend on the object: who derives many for
    one class keeps `derive_class_key` and calls `derive_object_passphrase`.

    Raises: InvalidSpec if the class's passphrase is empty.
    """
    return derive_object_passphrase(
        derive_class_key(encryption_pass), namespace=namespace, name=name
    )


def derive_class_key(encryption_pass: Secret) -> bytes:
    """Stretch a class's passphrase: scrypt, N=2^16, r=8, p=1, 32 bytes."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt  # noqa: PLC0415 - runners need none

    if not encryption_pass:
        raise InvalidSpec("the encryption passphrase is empty")
    kdf = Scrypt(salt=_SALT, length=_KEY_BYTES, n=2**16, r=8, p=1)
    return kdf.derive(encryption_pass.reveal().encode())


def derive_object_passphrase(class_key: bytes, *, namespace: str, name: str) -> Secret:
    """Bind a class's key to one object: HKDF-SHA256 without salt, base64url without padding."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

    if not namespace or not name or "/" in namespace + name:
        raise ValueError("namespace and name must be names of Kubernetes objects")
    info = f"{namespace}/{name}".encode()
    key = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(class_key)
    return Secret(base64.urlsafe_b64encode(key).rstrip(b"=").decode())
