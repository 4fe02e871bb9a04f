"""The version of this build, from its distribution."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version as distribution_version


@cache
def version() -> str:
    try:
        return distribution_version("db-backup-controller")
    except PackageNotFoundError:
        return "0.0.0"
