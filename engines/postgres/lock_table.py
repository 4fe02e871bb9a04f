"""The server's lock table: every lock of every session is in it, and its size is fixed."""

from __future__ import annotations

from controller.api.errors import PreflightFailed, Problem

#: What the server names in any language, when there is no room for one more lock.
_SETTING = "max_locks_per_transaction"


def is_full(said: object) -> bool:
    return _SETTING in str(said)


def full() -> PreflightFailed:
    """The error in place of one that says "out of shared memory" and looks as if it would pass."""
    return PreflightFailed(
        [
            Problem(
                "server",
                "its lock table has no room for the locks on all tables, which a backup takes once "
                "for its snapshot and again for each stream: raise max_locks_per_transaction, "
                "which needs a restart of the server (64 is its default; tables * (streams + 1) / "
                "max_connections is enough), or lower spec.runner.parallelism",
            )
        ]
    )
