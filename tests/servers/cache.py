"""The folder in the user's cache where `make test-servers` puts what it gets."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """May be removed at any time; the next `make test-servers` fills it again."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "db-backup-controller"
