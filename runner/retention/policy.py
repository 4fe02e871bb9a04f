"""Which backups stay and why: pure, no I/O, no clock.

The effects (deleting, its order, the orphan sweep) are the pruner's. Rules for
users are in docs/retention.md.

Source: the Go original's pkg/labelmanager; differs: a hold counts from the
backup's start instead of the start of the label's period, the newest backups
always stay, and `%Y` beside `%V` is read as the ISO year.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from attrs import Attribute, field, frozen

from controller.api.v1 import DatabaseBackupSpec, Retention

#: strftime format -> how long a backup keeps a label of that format.
LabelHolds = Mapping[str, timedelta]

#: What holds when an object names no rule: the Go original's default.
DEFAULT_LABEL_HOLDS: LabelHolds = {
    "%Y-%m": timedelta(days=12 * 31),
    "%Y-w%V": timedelta(days=31),
    "%Y-%m-%d": timedelta(days=7),
    "%Y-%m-%dT%H": timedelta(hours=24),
    "%Y-%m-%dT%H-%M-%S": timedelta(hours=1),
}

#: (name, field of Retention, strftime of the period). The hour carries its
#: offset: the hour that a zone repeats in autumn is two periods.
_PERIODS = (
    ("hourly", "keep_hourly", "%Y-%m-%dT%H%z"),
    ("daily", "keep_daily", "%Y-%m-%d"),
    ("weekly", "keep_weekly", "%G-W%V"),
    ("monthly", "keep_monthly", "%Y-%m"),
    ("yearly", "keep_yearly", "%Y"),
)
_DIRECTIVE = re.compile(r"%(.)")


def _aware(_: object, attribute: Attribute[datetime], value: datetime) -> None:
    if value.utcoffset() is None:
        raise ValueError(f"{attribute.name} needs an offset")


@frozen
class BirthLabel:
    """A name that was new when a backup was made, and how long it holds that backup.

    Args:
        format: strftime format as configured, the key of `retentionConfig`.
        name: the backup's start in that format and the object's time zone.
        hold: as configured at that time; a format that is still configured
            holds for what is configured now.
    """

    format: str
    name: str
    hold: timedelta

    @property
    def key(self) -> tuple[str, str]:
        """What has to be new for a label to be given."""
        return self.format, self.name


@frozen(kw_only=True)
class Candidate:
    """One committed backup of this owner in one location.

    Args:
        id: unique in the location.
        started_at: aware, the runner's clock.
        labels: as recorded in its manifest; empty if none was new. None if it
            was made while labels were not in use: then, should they be in use
            now, it is read as if it had been labelled at its start.
    """

    id: str
    started_at: datetime = field(validator=_aware)
    labels: tuple[BirthLabel, ...] | None = None
    chain: str = ""
    layer: int = 0


@frozen(kw_only=True)
class Policy:
    """What a DatabaseBackup asks for, with defaults filled in.

    Args:
        rules: of age, number and period; or strftime format -> hold: labels.
        minimum_keep: so many newest backups stay whatever the rules say.
        zone: where days and months begin.
    """

    rules: Retention | LabelHolds
    minimum_keep: int = 3
    zone: tzinfo = UTC


@frozen
class Verdict:
    """Why one backup stays, or why it goes. At least one reason."""

    id: str
    reasons: tuple[str, ...]


@frozen(kw_only=True)
class Decision:
    """Every candidate once, newest first; those to drop so that none goes before what needs it."""

    keep: tuple[Verdict, ...]
    drop: tuple[Verdict, ...]


def policy_of(spec: DatabaseBackupSpec) -> Policy:
    """Read the policy of a valid spec; `useSingleBackupTarget` wins over every rule."""
    zone = UTC if spec.time_zone == "UTC" else ZoneInfo(spec.time_zone)
    if spec.use_single_backup_target:
        return Policy(rules=Retention(keep_last=1), minimum_keep=1, zone=zone)
    if spec.retention is not None:
        return Policy(rules=spec.retention, minimum_keep=spec.retention.minimum_keep, zone=zone)
    return Policy(rules=spec.retention_config or DEFAULT_LABEL_HOLDS, zone=zone)


def decide(candidates: Iterable[Candidate], policy: Policy, now: datetime) -> Decision:
    """Sort backups into those that stay and those that go.

    A backup that starts in the future (a clock was wrong) stays and is not
    counted: it can neither expire nor push another one out. A chain stays as a
    whole while any of its layers does.

    Raises: ValueError: two candidates share an id, or `now` has no offset.
    """
    ordered = sorted(candidates, key=_age_key, reverse=True)
    if len({one.id for one in ordered}) != len(ordered):
        raise ValueError("two backups share an id")
    past = [one for one in ordered if one.started_at <= now]

    reasons = _Reasons()
    for one in ordered[: len(ordered) - len(past)]:
        reasons.stay(one, "starts in the future")
    for one in past[:1]:
        reasons.stay(one, "newest")
    for one in past[: policy.minimum_keep]:
        reasons.stay(one, f"minimumKeep {policy.minimum_keep}")
    if isinstance(policy.rules, Retention):
        _judge_by_rules(past, policy.rules, policy.zone, now, reasons)
    else:
        _judge_by_labels(past, policy.rules, policy.zone, now, reasons)
    _keep_whole_chains(ordered, reasons)
    return reasons.decision(ordered)


def _keep_whole_chains(newest_first: Sequence[Candidate], reasons: _Reasons) -> None:
    """A layer needs those below it; those above go with them, not before: a chain is one folder."""
    wanted = {
        one.chain: one.id for one in reversed(newest_first) if one.chain and reasons.is_for(one)
    }
    for one in newest_first:
        if one.chain in wanted and not reasons.is_for(one):
            reasons.stay(one, f"of the same chain as {wanted[one.chain]}")


def labels_at_birth(
    started_at: datetime, held: Sequence[Iterable[Candidate]], policy: Policy
) -> tuple[BirthLabel, ...] | None:
    """Give the labels that a backup starting now has to record in its manifest.

    A label is given unless every location holds a backup that carries its
    format and name: one that missed the period's first backup would else keep
    nothing of that period. In the others it holds one backup more.

    Args:
        held: the committed backups before this one, of each location that
            takes it.
    Returns: labels in the order of the formats; None when the policy uses none.
    """
    if isinstance(policy.rules, Retention):
        return None
    names = _names_at(started_at, policy.rules, policy.zone)
    taken = {label.key for label in names} if held else set()
    for existing in held:
        carried = _labels_of(sorted(existing, key=_age_key), policy.rules, policy.zone)
        taken &= {label.key for labels in carried.values() for label in labels}
    return tuple(label for label in names if label.key not in taken)


def _age_key(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.started_at, candidate.id


class _Reasons:
    """What was said for and against each backup; one word for it is enough to stay."""

    def __init__(self) -> None:
        self._for: defaultdict[str, list[str]] = defaultdict(list)
        self._against: defaultdict[str, list[str]] = defaultdict(list)

    def stay(self, one: Candidate, reason: str) -> None:
        self._for[one.id].append(reason)

    def go(self, one: Candidate, reason: str) -> None:
        self._against[one.id].append(reason)

    def is_for(self, one: Candidate) -> bool:
        return bool(self._for[one.id])

    def decision(self, ordered: Sequence[Candidate]) -> Decision:
        keep = [one.id for one in ordered if self.is_for(one)]
        drop = [one for one in ordered if not self.is_for(one)]
        # By number, not by time: a clock that was set back must not part a chain.
        drop.sort(key=lambda one: one.layer, reverse=True)
        return Decision(
            keep=tuple(Verdict(i, tuple(self._for[i])) for i in keep),
            drop=tuple(Verdict(one.id, tuple(self._against[one.id])) for one in drop),
        )


# -- period rules -----------------------------------------------------------------


def _judge_by_rules(
    past: Sequence[Candidate], rules: Retention, zone: tzinfo, now: datetime, reasons: _Reasons
) -> None:
    if rules.keep_within:
        _judge_by_age(past, rules.keep_within, now, reasons)
    if rules.keep_last:
        for one in past[: rules.keep_last]:
            reasons.stay(one, f"last {rules.keep_last}")
        for one in past[rules.keep_last :]:
            reasons.go(one, f"not in the last {rules.keep_last}")
    for name, rule, period_format in _PERIODS:
        count = getattr(rules, rule)
        if count:
            periods = [one.started_at.astimezone(zone).strftime(period_format) for one in past]
            _judge_periods(past, periods, name, count, reasons)


def _judge_by_age(
    past: Sequence[Candidate], span: timedelta, now: datetime, reasons: _Reasons
) -> None:
    for one in past:
        if now - one.started_at <= span:
            reasons.stay(one, f"within {_duration_text(span)}")
        else:
            reasons.go(one, f"older than {_duration_text(span)}")


def _judge_periods(
    past: Sequence[Candidate], periods: Sequence[str], name: str, count: int, reasons: _Reasons
) -> None:
    """Keep the last backup of each of the `count` most recent periods that have one."""
    last_of: dict[str, Candidate] = {}
    for one, period in zip(past, periods, strict=True):  # newest first
        if period in last_of:
            reasons.go(one, f"{name} {period} is held by {last_of[period].id}")
        elif len(last_of) < count:
            last_of[period] = one
            reasons.stay(one, f"{name} {period}")
        else:
            reasons.go(one, f"{name} {period} is before the last {count}")


# -- labels -----------------------------------------------------------------------


def _judge_by_labels(
    past: Sequence[Candidate], holds: LabelHolds, zone: tzinfo, now: datetime, reasons: _Reasons
) -> None:
    labels_of = _labels_of(past[::-1], holds, zone)
    for one in past:
        for label in labels_of[one.id]:
            end = _end_text(one.started_at, label.hold, zone)
            if now - one.started_at <= label.hold:
                reasons.stay(one, f"label {label.format} {label.name} holds until {end}")
            else:
                reasons.go(one, f"label {label.format} {label.name} held until {end}")
        if not labels_of[one.id]:
            reasons.go(one, "no label was new when it was made")


def _labels_of(
    oldest_first: Sequence[Candidate], holds: LabelHolds, zone: tzinfo
) -> dict[str, tuple[BirthLabel, ...]]:
    """Recorded labels with the holds of today; those without a record are labelled now."""
    labels_of = {
        one.id: tuple(
            BirthLabel(label.format, label.name, holds.get(label.format) or label.hold)
            for label in one.labels
        )
        for one in oldest_first
        if one.labels is not None
    }
    taken = {label.key for labels in labels_of.values() for label in labels}
    for one in oldest_first:
        if one.labels is None:
            names = _names_at(one.started_at, holds, zone)
            labels_of[one.id] = tuple(label for label in names if label.key not in taken)
            taken.update(label.key for label in labels_of[one.id])
    return labels_of


def _names_at(started_at: datetime, holds: LabelHolds, zone: tzinfo) -> tuple[BirthLabel, ...]:
    local = started_at.astimezone(zone)
    return tuple(
        BirthLabel(label_format, local.strftime(_with_iso_year(label_format)), hold)
        for label_format, hold in holds.items()
    )


def _with_iso_year(label_format: str) -> str:
    """Read `%Y` as `%G` beside an ISO week.

    With the calendar's year, 2027-01-01 would be in "2027-w53", and 2024-12-30
    in "2024-w01", the name of a week that was over for a year.
    """
    letters = {match[1] for match in _DIRECTIVE.finditer(label_format)}
    if "V" not in letters or "G" in letters:
        return label_format
    return _DIRECTIVE.sub(lambda match: "%G" if match[1] == "Y" else match[0], label_format)


# -- words ------------------------------------------------------------------------


def _duration_text(span: timedelta) -> str:
    """Say a duration in its largest whole unit: ``7d``, ``36h``, ``90m``, ``45s``."""
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _end_text(start: datetime, hold: timedelta, zone: tzinfo) -> str:
    try:
        return (start + hold).astimezone(zone).isoformat(timespec="seconds")
    except OverflowError:
        return "the end of time"
