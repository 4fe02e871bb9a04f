"""The cron of a manifest, read as the Go original reads it.

Its parser takes more than five plain fields: ``@daily`` and its like,
``@every 1h30m``, a zone in front (``CRON_TZ=Asia/Tokyo 0 9 * * *``) and ``?``
for a star. Manifests with them are in use.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from controller.api.durations import parse_duration
from controller.api.errors import InvalidSpec

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
# cronsim takes 5-5/2 for 5/2, which runs on to the end of the field.
_RANGE_OF_ONE = re.compile(r"\b(\w+)-\1/\d+")


@frozen(kw_only=True)
class Cron:
    """What a cron means.

    Args:
        expression: five fields that cronsim reads; empty if `every` counts.
        every: a fixed pause, aligned to the epoch.
        zone: named in the text itself; None: the object's own counts.
    """

    expression: str = ""
    every: timedelta | None = None
    zone: ZoneInfo | None = None


def read_cron(text: str) -> Cron:
    """Read a cron and make sure that it ever fires.

    Raises: InvalidSpec: says in one sentence what is wrong, without a path.
    """
    zone, text = _split_zone(text.strip())
    if text.startswith("@every "):
        every = parse_duration(text.removeprefix("@every ").strip())
        if every < timedelta(minutes=1):
            raise InvalidSpec("@every must be at least 1m")
        return Cron(every=every, zone=zone)
    fields = _DESCRIPTORS.get(text, text).replace("?", "*").split()
    if len(fields) != 5:
        raise InvalidSpec("must have 5 fields: minute hour day-of-month month day-of-week")
    fields[2] = _without_starred_step(fields[2], "1-31")
    fields[4] = _without_starred_step(fields[4], "0-6")
    expression = _RANGE_OF_ONE.sub(r"\1", " ".join(fields))
    _check_that_it_fires(expression)
    return Cron(expression=expression, zone=zone)


def _split_zone(text: str) -> tuple[ZoneInfo | None, str]:
    zoned = _ZONE_PREFIX.fullmatch(text)
    if zoned is None:
        return None, text
    try:
        return ZoneInfo(zoned[1]), zoned[2].strip()
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSpec('TZ must be a name of the IANA database, such as "Europe/Berlin"') from (
            error
        )


def _without_starred_step(days: str, span: str) -> str:
    """Spell ``*/2`` out: in the Go original only a plain star means "any day".

    With both day fields restricted, a day that matches either counts.
    """
    return ",".join(
        f"{span}/{term[2:]}" if term.startswith("*/") and term != "*/1" else term
        for term in days.split(",")
    )


def _check_that_it_fires(expression: str) -> None:
    # Here and not at the top: cronsim is of no use to who reads only a storage class.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    try:
        # Any start will do: cronsim looks half a century ahead.
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        # cronsim says "Bad hour"; it repeats nothing of the expression.
        raise InvalidSpec(f"is not a cron expression: {error}") from error
    except StopIteration:
        raise InvalidSpec("never fires: no date matches it") from None
