"""Conditions of a status, by the conventions of the Kubernetes API."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from attrs import evolve, frozen

#: The runner's: whether the database is protected.
BACKUP_HEALTHY = "BackupHealthy"

_PASCAL_CASE = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
_MAX_MESSAGE = 32768


class ConditionStatus(enum.Enum):
    """Three-valued: nobody knows is an answer, too."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@frozen(kw_only=True)
class Condition:
    """One aspect of the object's state.

    Args:
        type: unique within a status: Ready, RunnerAvailable, BackupHealthy,
            LocationsHealthy, Verified, DataDeleted.
        status: True, False, or Unknown: nobody knows is an answer, too.
        reason: one PascalCase word for machines.
        message: for people: what is wrong and the cure.
        last_transition_time: when `status` last became another.
        observed_generation: metadata.generation that this was found out about.
    """

    #: What tells entries of a list apart, so that each writer owns its own.
    LIST_KEY: ClassVar[str] = "type"

    # The shape decodes whatever stands in a cluster (the Go original's reasons
    # are no PascalCase); `set_condition` is strict about what we write.
    type: str
    status: ConditionStatus
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int = 0


@frozen
class Verdict:
    """What a condition is going to say."""

    status: ConditionStatus
    reason: str
    message: str


def set_condition(
    conditions: Iterable[Condition],
    *,
    type: str,  # noqa: A002 - the field's name on the wire
    status: ConditionStatus,
    reason: str,
    message: str,
    observed_generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return `conditions` with one replaced in its place, or appended.

    The transition time moves only when the status does: alerts ask "for how
    long", and a new message is no news in that sense.

    Raises: ValueError for a type or reason that is no PascalCase: a defect of the caller.
    """
    for word in (type, reason):
        if not is_reason(word):
            raise ValueError(f"not PascalCase: {word!r}")
    if now.tzinfo is None:
        raise ValueError("now must be aware")
    new = Condition(
        type=type,
        status=status,
        reason=reason,
        message=message[:_MAX_MESSAGE],
        last_transition_time=now,
        observed_generation=observed_generation,
    )
    result = list(conditions)
    for index, old in enumerate(result):
        if old.type == type:
            if old.status is status and old.last_transition_time is not None:
                new = evolve(new, last_transition_time=old.last_transition_time)
            result[index] = new
            return tuple(result)
    return (*result, new)


def is_reason(word: str) -> bool:
    """Whether a condition may have it for its reason, or type."""
    return _PASCAL_CASE.fullmatch(word) is not None


def get_condition(conditions: Iterable[Condition], type: str) -> Condition | None:  # noqa: A002 - as above
    """Find the condition of that type."""
    return next((condition for condition in conditions if condition.type == type), None)
