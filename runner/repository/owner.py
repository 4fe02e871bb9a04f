"""Which cluster writes below a prefix: two clusters that share one would prune each other."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class OwnerRecord:
    """`_owner.json`."""

    cluster_id: str
