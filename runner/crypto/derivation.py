"""Passphrases for whoever encrypts in our place, derived from one that we have."""

from __future__ import annotations

import base64

from controller.api.secrets import Secret

_KEY_BYTES = 32


def derive(passphrase: Secret, use: str) -> Secret:
    r"""HKDF-SHA256 without salt, 32 bytes, as base64url without padding.

    By hand, with the passphrase in the file `pass` (without a newline at its end)::

        openssl kdf -binary -keylen 32 -kdfopt digest:SHA256 \
          -kdfopt hexkey:$(xxd -p -c 0 pass) -kdfopt info:USE HKDF | basenc --base64url | tr -d =

    Args:
        use: what it is for, such as ``cockroach/<chain>``: each use has a passphrase of its own.
    """
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - not every job encrypts
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

    kdf = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=use.encode())
    key = kdf.derive(passphrase.reveal().encode())
    return Secret(base64.urlsafe_b64encode(key).rstrip(b"=").decode())
