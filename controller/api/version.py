"""The version of this build, from its distribution."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version as distribution_version

_DISTRIBUTION = re.compile(
    r"(?P<release>\d+\.\d+\.\d+)(?:rc(?P<candidate>\d+))?(?:\+(?P<after>.+))?"
)


@cache
def version() -> str:
    """Tell it as the tags of images and the chart have it.

    The controller names the runners' images by it, so it has to be the same
    word to the letter.
    """
    try:
        return released(distribution_version("db-backup-controller"))
    except PackageNotFoundError:
        return "0.0.0"


def released(distribution: str) -> str:
    """Turn a version of a Python distribution into a semantic one that a tag and a label can be.

    1.2.3+g56789ab is 1.2.3-g56789ab, and 1.2.3rc1 and 1.2.3+rc.1 are 1.2.3-rc.1.
    What has another form stays.
    """
    found = _DISTRIBUTION.fullmatch(distribution)
    if found is None:
        return distribution
    candidate = f"rc.{found['candidate']}" if found["candidate"] else ""
    after = ".".join(filter(None, (candidate, found["after"])))
    return f"{found['release']}-{after}" if after else found["release"]
