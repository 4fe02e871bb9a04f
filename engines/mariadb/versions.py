"""Which series of MariaDB there are, and what they are to us."""

from __future__ import annotations

#: Those with long-term support.
SUPPORTED = ("10.11", "11.4", "11.8")
#: Backups are taken with newer tools; upstream mends nothing any more.
PAST_END_OF_LIFE = ("10.5", "10.6")
NEWEST = SUPPORTED[-1]
#: The release of Debian that has the client tools of a series among its own packages.
DEBIAN_SUITES = {"10.11": "bookworm", "11.8": "trixie"}
