"""Which versions of CockroachDB there are, and what they can do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import field, frozen

#: The image has no client tools, so one serves every version.
SUPPORTED = ("all",)
DEBIAN_SUITES = {"all": "trixie"}

#: Version of what this engine makes of a collection (BackupFacts.engine_version).
LAYOUT = "1"


@frozen(order=True)
class Version:
    """A release series: 24.3.

    Args:
        patch: of a release. Two of one series are equal, and neither is older: they read each
            other's backups.
    """

    year: int
    release: int
    patch: int = field(default=0, eq=False, order=False)

    def __str__(self) -> str:
        return f"{self.year}.{self.release}"

    @property
    def exact(self) -> tuple[int, int, int]:
        return self.year, self.release, self.patch

    @property
    def name(self) -> str:
        """As the cluster writes it: ``v24.3.1``."""
        return "v" + ".".join(map(str, self.exact))

    @property
    def knows_path_style(self) -> bool:
        """Whether a URI may say AWS_USE_PATH_STYLE; up to 24.2 every endpoint is used so."""
        return self.exact >= (24, 3, 3)

    @property
    def lets_owners_end_jobs(self) -> bool:
        """Whether a user may end their own jobs; older ones want CONTROLJOB for that."""
        return self >= Version(25, 1)

    @property
    def numbers_backups(self) -> bool:
        """Whether a session may ask for backups by their ids, and then LATEST is one layer."""
        return self >= Version(26, 2)


OLDEST = Version(23, 1)


@frozen(kw_only=True)
class Fault:
    """What releases of some series do wrong.

    Args:
        does: in words, after a release's name.
        source: where the vendor says so.
        mended: series -> the first release without it, which may be of a later series.
    """

    does: str
    source: str
    mended: Mapping[Version, Version]

    def is_in(self, version: Version) -> bool:
        cure = self.mended.get(version)
        return cure is not None and version.exact < cure.exact

    def told(self, version: Version) -> Iterator[str]:
        """What to say to who has this version, if it has the fault."""
        if self.is_in(version):
            cure = self.mended[version].name
            yield f"{version.name} {self.does} ({self.source}): upgrade to {cure}"


#: Nothing of a cluster shows whether it happened, and no setting avoids it.
LOSES_DATA = Fault(
    does="may call a backup done that lacks data, if the bucket failed it for a while",
    source="technical advisory 151050",
    mended={
        Version(24, 1): Version(24, 1, 22),
        Version(24, 2): Version(24, 3, 17),
        Version(24, 3): Version(24, 3, 17),
        Version(25, 1): Version(25, 1, 10),
        Version(25, 2): Version(25, 2, 4),
    },
)
SPLITS_ROWS = Fault(
    does="restores tables that have column families so that queries give wrong results",
    source="technical advisory 190483",
    mended={Version(23, 1): Version(23, 1, 9)},
)
#: They know neither how to do otherwise nor the parameter that says so.
NAMES_HOST_AFTER_BUCKET = Fault(
    does="looks for a bucket under the host name BUCKET.ENDPOINT only",
    source="cockroachdb/cockroach issue 136678",
    mended={Version(24, 3): Version(24, 3, 3)},
)


def version_of(text: str) -> Version:
    """What is in "24.3", "v24.3.1" or "CockroachDB CCL v24.3.1 (x86_64...)".

    Raises: ValueError.
    """
    match = re.search(r"(?<![\w.])v?(\d{2})\.(\d)(?:\.(\d+))?(?!\d)", text)
    if match is None:
        raise ValueError(f"not a version of CockroachDB: {text[:80]!r}")
    return Version(int(match[1]), int(match[2]), int(match[3] or 0))


def is_known(text: str) -> bool:
    """Whether `databaseVersion` may say so: a series or release from the oldest on."""
    if re.fullmatch(r"\d{2}", text):
        return int(text) >= OLDEST.year
    if not re.fullmatch(r"v?\d{2}\.\d(\.\d+)?", text):
        return False
    return version_of(text) >= OLDEST
