"""Names of children and values of labels: injective, and short enough for Kubernetes.

Readable words are cut and only help the eye; identity is in a hash of
namespace and name joined by a character that neither can contain.
"""

from __future__ import annotations

import base64
import hashlib

_MAX = 63
#: 80 bits: no two of a billion objects meet by chance.
_HASH_CHARS = 16
#: Every name of a child that is a Secret, as Python's re and RE2 read it; with its hash at the
#: end it is no name that a person gives.
CHILD_SECRET = rf"backup-(config|pull)-[-a-z0-9]+-[a-z2-7]{{{_HASH_CHARS}}}"


def child_name(namespace: str, name: str, role: str = "") -> str:
    """Name an object that belongs to a DatabaseBackup.

    Args:
        role: tells several children of one kind apart: "pull", "config".
    Returns: a DNS-1123 label of at most 63 characters.
    """
    words = "-".join(word for word in ("backup", role, namespace, name) if word)
    readable = words.replace(".", "-")[: _MAX - _HASH_CHARS - 1].strip("-")
    return f"{readable}-{short_hash(namespace, name, role)}"


def label_value(name: str) -> str:
    """Fit an object's name, which may have 253 characters, into a label's value.

    A name that fits comes as it is; `_`, which no name contains, marks the others.
    """
    if len(name) <= _MAX:
        return name
    return f"{name[: _MAX - _HASH_CHARS - 1]}_{short_hash(name)}"


def instance_label(namespace: str, name: str) -> str:
    """The value of ``app.kubernetes.io/instance``: one per DatabaseBackup."""
    joined = f"{namespace}_{name}"
    if len(joined) <= _MAX:
        return joined
    return f"{namespace[:20]}_{name[:20]}_{short_hash(namespace, name)}"


def short_hash(*parts: str) -> str:
    """Hash parts, none of which contains ``/``, into 16 of a-z and 2-7."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return base64.b32encode(digest)[:_HASH_CHARS].decode().lower()
