"""Which majors of PostgreSQL there are, and what they are to us."""

from __future__ import annotations

import re

SUPPORTED = (15, 16, 17, 18)
#: Images can be built and backups are taken; upstream mends nothing any more.
PAST_END_OF_LIFE = (11, 12, 13, 14)
NEWEST = SUPPORTED[-1]
#: The release of Debian that has the client tools of a major among its own packages, of which the
#: runner's image is then made. Those of the others are from PostgreSQL's own apt repository.
DEBIAN_SUITES = {15: "bookworm", 17: "trixie"}

#: Version of the stream layout that this engine writes (BackupFacts.engine_version).
LAYOUT = "1"


def major_of(text: str) -> int:
    """The major in "16.14", "16.14 (Debian 16.14-1)" or "17beta1".

    Raises: ValueError.
    """
    match = re.match(r"\s*(\d{1,3})(?!\d)", text)
    if match is None:
        raise ValueError(f"not a version of PostgreSQL: {text!r}")
    return int(match[1])
