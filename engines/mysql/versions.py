"""Which series of MySQL there are, and what they are to us."""

from __future__ import annotations

#: Those with long-term support.
SUPPORTED = ("8.4", "9.7")
#: Backups are taken with newer tools; upstream mends nothing any more.
PAST_END_OF_LIFE = ("8.0",)
NEWEST = SUPPORTED[-1]
#: No release of Debian has MySQL's tools: they come from MySQL's own apt repository.
DEBIAN_SUITES: dict[str, str] = {}
