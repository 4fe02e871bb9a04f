"""What the statuses say, as far as the controller knows it; pure.

A message says what is wrong and the cure, with the path of the field. What the
runner knows - whether backups succeed - is the runner's to write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from controller.api import codec
from controller.api.conditions import (
    Condition,
    ConditionStatus,
    Verdict,
    get_condition,
    set_condition,
)
from controller.api.errors import BackupError, InvalidSpec, TerminalError, WaitingError
from controller.api.keys import ObjectKey
from controller.api.status import (
    ClassLocationStatus,
    DatabaseBackupStatus,
    LocationStatus,
    StorageClassStatus,
)
from controller.api.v1 import API_VERSION, DatabaseBackup, DatabaseBackupStorageClass
from controller.availability import Rollout, Trouble
from controller.projections import READY, RUNNER_AVAILABLE

#: Of Ready; why is said by RunnerAvailable.
RUNNER_NOT_AVAILABLE = "RunnerNotAvailable"


@frozen(kw_only=True)
class Found:
    """What a reconcile of a DatabaseBackup found out.

    Args:
        runner: name of the Deployment.
        rollout: None: there is no Deployment.
        trouble: what its pods know of.
        error: what it ended with.
        held_back: why a change of the runner waits; empty: none does.
    """

    runner: str
    rollout: Rollout | None
    trouble: Trouble | None = None
    error: Exception | None = None
    held_back: str = ""


def backup_status(
    previous: DatabaseBackupStatus, found: Found, *, generation: int, now: datetime
) -> DatabaseBackupStatus:
    """The controller's part of a DatabaseBackup's status."""
    runner = _runner_verdict(found)
    verdicts = {READY: _ready_verdict(found, runner), RUNNER_AVAILABLE: runner}
    return DatabaseBackupStatus(
        conditions=_conditions(previous.conditions, verdicts, generation, now),
        observed_generation=generation,
        runner=found.runner if found.rollout else "",
    )


def news(
    previous: DatabaseBackupStatus, status: DatabaseBackupStatus, trouble: Trouble | None
) -> Iterator[Condition]:
    """The conditions of which people should be told: not of each word that changed.

    Args:
        trouble: as of `Found`; it is told instead of what follows from it.
    """
    before, ready = (get_condition(one.conditions, READY) for one in (previous, status))
    follows = trouble is not None and ready is not None and ready.reason == RUNNER_NOT_AVAILABLE
    if ready and not follows and _gist(before) != _gist(ready):
        yield ready
    before, runner = (get_condition(one.conditions, RUNNER_AVAILABLE) for one in (previous, status))
    if runner and trouble and (before is None or before.message != runner.message):
        yield runner


def _gist(condition: Condition | None) -> tuple[ConditionStatus, str] | None:
    return (condition.status, condition.reason) if condition else None


def class_status(
    previous: StorageClassStatus,
    *,
    error: Exception | None,
    used_by: int,
    locations: tuple[ClassLocationStatus, ...],
    generation: int,
    now: datetime,
) -> StorageClassStatus:
    """The whole status of a DatabaseBackupStorageClass."""
    ready = Verdict(
        status=ConditionStatus.TRUE, reason="Usable", message="every Secret that it names is there"
    )
    if error is not None:
        ready = verdict_of(error)
    return StorageClassStatus(
        conditions=_conditions(previous.conditions, {READY: ready}, generation, now),
        observed_generation=generation,
        used_by=used_by,
        locations=locations,
    )


def verdict_of(error: Exception) -> Verdict:
    """What an error means to who reads the object."""
    is_known = isinstance(error, WaitingError | TerminalError)
    return Verdict(
        status=ConditionStatus.FALSE if is_known else ConditionStatus.UNKNOWN,
        reason=error.reason if isinstance(error, BackupError) else BackupError.reason,
        message=_words(error),
    )


def gather(
    names: Iterable[str], reports: Iterable[tuple[LocationStatus, ...]]
) -> tuple[ClassLocationStatus, ...]:
    """Count by location how many runners reach it, by name.

    Args:
        reports: of each runner; what it says of other locations is old.
    """
    healthy: dict[str, int] = defaultdict(int)
    failing: dict[str, int] = defaultdict(int)
    messages: dict[str, str] = {}
    for report in reports:
        for location in report:
            if location.healthy:
                healthy[location.name] += 1
            else:
                failing[location.name] += 1
                # The same one each time, whichever runner is looked at first.
                said = messages.get(location.name) or location.message
                messages[location.name] = min(said, location.message or said)
    return tuple(
        ClassLocationStatus(
            name=name,
            healthy=healthy[name],
            failing=failing[name],
            message=messages.get(name, ""),
        )
        for name in sorted(names)
    )


def applied_backup_status(key: ObjectKey, uid: str, status: DatabaseBackupStatus) -> dict[str, Any]:
    """What to apply to /status: all that the controller owns there."""
    return _applied(DatabaseBackup.KIND, key, uid, status)


def applied_class_status(key: ObjectKey, uid: str, status: StorageClassStatus) -> dict[str, Any]:
    return _applied(DatabaseBackupStorageClass.KIND, key, uid, status)


def _applied(kind: str, key: ObjectKey, uid: str, status: object) -> dict[str, Any]:
    # The uid is for `Applier.write_status`: an object of the same name that came since is another.
    metadata = {"name": key.name, "uid": uid}
    if key.namespace:
        metadata["namespace"] = key.namespace
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "status": codec.encode(status),
    }


def _ready_verdict(found: Found, runner: Verdict) -> Verdict:
    if found.error is not None:
        return verdict_of(found.error)
    if runner.status is not ConditionStatus.TRUE:
        message = "; ".join(filter(None, (runner.message, found.held_back)))
        return Verdict(status=ConditionStatus.FALSE, reason=RUNNER_NOT_AVAILABLE, message=message)
    if found.held_back:
        return Verdict(
            status=ConditionStatus.TRUE, reason="ChangeHeldBack", message=found.held_back
        )
    if found.rollout is not None and not found.rollout.is_complete:
        return Verdict(
            status=ConditionStatus.FALSE,
            reason="RunnerReplacing",
            message="the pod that is up is not the one that is wanted; kubectl rollout status"
            f" deployment {found.runner} waits for that",
        )
    return Verdict(
        status=ConditionStatus.TRUE, reason="RunnerAvailable", message="the runner is as desired"
    )


def _runner_verdict(found: Found) -> Verdict:
    rollout, trouble = found.rollout, found.trouble
    if rollout is None:
        return Verdict(
            status=ConditionStatus.FALSE,
            reason="NoRunner",
            message="there is no Deployment yet; the condition Ready says why",
        )
    if rollout.is_available:
        usable = f"kubectl exec deploy/{found.runner} -- backup-now"
        if trouble is None:
            return Verdict(status=ConditionStatus.TRUE, reason="PodAvailable", message=usable)
        return Verdict(
            status=ConditionStatus.TRUE,
            reason="PodRestarted",
            message=f"{usable}; the pod is up again after this: {trouble.message}",
        )
    if trouble is not None:
        return Verdict(
            status=ConditionStatus.FALSE,
            reason=trouble.reason,
            message=f"pod {trouble.pod}: {trouble.message}; kubectl describe pod {trouble.pod} and"
            f" kubectl logs {trouble.pod} --previous show more",
        )
    said = rollout.message or "its pod is not ready yet"
    return Verdict(
        status=ConditionStatus.FALSE,
        reason=rollout.reason or "PodNotReady",
        message=f"Deployment {found.runner}: {said}; kubectl describe deployment {found.runner}"
        " shows more",
    )


def _conditions(
    previous: tuple[Condition, ...],
    verdicts: Mapping[str, Verdict],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Exactly these, in this order; times have whole seconds, as on the wire."""
    conditions = previous
    for kind, verdict in verdicts.items():
        conditions = set_condition(
            conditions,
            type=kind,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=generation,
            now=now.replace(microsecond=0),
        )
    by_type = {condition.type: condition for condition in conditions}
    return tuple(by_type[kind] for kind in verdicts)


def _words(error: Exception) -> str:
    if isinstance(error, InvalidSpec):
        return "; ".join(map(str, error.problems))
    if isinstance(error, BackupError):
        return str(error)
    # Its text is for the log, and may hold anything.
    return f"a defect of the controller ({type(error).__name__}); its log has the stack"
