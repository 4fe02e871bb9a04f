"""Names and paths as they stand on the wire.

The one place that knows how ``storage_access_key_id`` is spelled in a manifest,
so that a message about a value and the manifest that it came from agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from attrs import evolve

from controller.api.errors import InvalidSpec, Problem

#: What camelCase alone does not give. Names mean the same in every type.
_IRREGULAR = {
    "backup_interval_hours": "backupInterval",
    "cert_ca": "certCA",
    "cert_ca_from_cluster": "certCAFromCluster",
    "password": "pass",
    "ssl_ca": "sslCA",
    "storage_access_key_id": "storageAccessKeyID",
    "storage_use_ssl": "storageUseSSL",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


def wire_name(python_name: str) -> str:
    """Spell a field of controller.api as its manifest does: ``keep_daily`` is ``keepDaily``."""
    if python_name in _IRREGULAR:
        return _IRREGULAR[python_name]
    head, *rest = python_name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def key_path(key: str) -> str:
    """Write one key of an object as a path; what is no plain word comes as ``["..."]``.

    Keys come from outside: control characters are escaped and long ones cut.
    """
    if _PLAIN_KEY.fullmatch(key):
        return key
    return f"[{json.dumps(key if len(key) <= 64 else key[:64] + '...')}]"


def join_path(parent: str, child: str) -> str:
    """Join two paths: ``spec`` and ``postgres``, ``backupLocations`` and ``[1].name``."""
    if not parent or not child:
        return parent or child
    return parent + child if child.startswith("[") else f"{parent}.{child}"


def relocated(refused: InvalidSpec, parent: str) -> Iterator[Problem]:
    """Put the problems of a part below the part's own path."""
    for problem in refused.problems:
        yield evolve(problem, path=join_path(parent, problem.path))
