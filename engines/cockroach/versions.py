"""Which versions of CockroachDB there are, and what they can do."""

from __future__ import annotations

import re

from attrs import frozen

#: The image has no client tools, so one serves every version.
SUPPORTED = ("all",)
DEBIAN_SUITES = {"all": "trixie"}

#: Version of what this engine makes of a collection (BackupFacts.engine_version).
LAYOUT = "1"


@frozen(order=True)
class Version:
    """A release series: 24.3."""

    year: int
    release: int

    def __str__(self) -> str:
        return f"{self.year}.{self.release}"

    @property
    def knows_path_style(self) -> bool:
        """Whether a URI may say AWS_USE_PATH_STYLE; older ones do so with every endpoint."""
        return self >= Version(24, 3)

    @property
    def lets_owners_end_jobs(self) -> bool:
        """Whether a user may end their own jobs; older ones want CONTROLJOB for that."""
        return self >= Version(25, 1)

    @property
    def numbers_backups(self) -> bool:
        """Whether a session may ask for backups by their ids, and then LATEST is one layer."""
        return self >= Version(26, 2)


OLDEST = Version(23, 1)


def version_of(text: str) -> Version:
    """The series in "24.3", "v24.3.1" or "CockroachDB CCL v24.3.1 (x86_64...)".

    Raises: ValueError.
    """
    match = re.search(r"(?<![\w.])v?(\d{2})\.(\d)(?!\d)", text)
    if match is None:
        raise ValueError(f"not a version of CockroachDB: {text[:80]!r}")
    return Version(int(match[1]), int(match[2]))


def is_known(text: str) -> bool:
    """Whether `databaseVersion` may say so: a series or release from the oldest on."""
    if re.fullmatch(r"\d{2}", text):
        return int(text) >= OLDEST.year
    if not re.fullmatch(r"v?\d{2}\.\d(\.\d+)?", text):
        return False
    return version_of(text) >= OLDEST
