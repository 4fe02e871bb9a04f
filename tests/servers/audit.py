"""What an API server says it was asked: its audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

#: The tests' own admin is left out.
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [admin]}
- {level: Metadata}
"""
_CREDENTIAL = "authentication.kubernetes.io/credential-id"


@frozen(kw_only=True)
class AuditEntry:
    """A request as the server itself saw it; those of the tests' own admin are left out.

    Args:
        at: when it came.
        credential: tells tokens of one user apart; empty for other credentials.
    """

    verb: str
    #: Empty if the credentials were not accepted.
    user: str
    user_agent: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    at: datetime
    credential: str

    @property
    def is_write(self) -> bool:
        return self.verb not in {"get", "list", "watch"}


class AuditLog:
    """The log's file, which the server writes; there need not be one yet.

    Threads: for one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._entries: list[AuditEntry] = []
        #: How much of the file is in them.
        self._end = 0

    def entries(self) -> list[AuditEntry]:
        """All so far.

        Only what is new is read: tests ask again and again, and at the end of a
        run there is much.
        """
        if self._file.exists():
            with self._file.open("rb") as stream:
                stream.seek(self._end)
                whole_lines = stream.read().rpartition(b"\n")[0]
            if whole_lines:
                self._end += len(whole_lines) + 1
                self._entries += [_entry(json.loads(line)) for line in whole_lines.split(b"\n")]
        return list(self._entries)


def _entry(raw: Mapping[str, Any]) -> AuditEntry:
    about = raw.get("objectRef") or {}
    return AuditEntry(
        verb=raw["verb"],
        user=raw["user"].get("username", ""),
        user_agent=raw.get("userAgent", ""),
        resource=about.get("resource", ""),
        subresource=about.get("subresource", ""),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=raw["responseStatus"]["code"],
        at=datetime.fromisoformat(raw["requestReceivedTimestamp"]),
        credential=next(iter(raw["user"].get("extra", {}).get(_CREDENTIAL, ())), ""),
    )
