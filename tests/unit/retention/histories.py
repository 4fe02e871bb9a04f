"""Backups of an object over time, as retention sees them, and words for what it decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from controller.api.v1 import DatabaseBackupSpec, PostgresSpec, Retention
from runner.retention.policy import (
    Candidate,
    Decision,
    Policy,
    decide,
    labels_at_birth,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(*texts: str) -> list[Candidate]:
    return [Candidate(id=text, started_at=utc(text)) for text in texts]


def kept(decision: Decision) -> set[str]:
    return {verdict.id for verdict in decision.keep}


def dropped(decision: Decision) -> set[str]:
    return {verdict.id for verdict in decision.drop}


def reasons(decision: Decision, id_: str) -> tuple[str, ...]:
    (verdict,) = [one for one in (*decision.keep, *decision.drop) if one.id == id_]
    return verdict.reasons


def rules(zone: Any = UTC, minimum_keep: int = 1, **keep: Any) -> Policy:
    return Policy(rules=Retention(**keep), minimum_keep=minimum_keep, zone=zone)


def a_spec(**fields: Any) -> DatabaseBackupSpec:
    return DatabaseBackupSpec(
        database_type="postgres",
        backup_storage_class="s",
        backup_cron="0 1 * * *",
        postgres=PostgresSpec(database="shop", host="shop-db", user="backup"),
        **fields,
    )


def born(starts_at: list[datetime], policy: Policy, *, prune: bool = False) -> list[Candidate]:
    """Make backups one after the other, each labelled at its birth."""
    history: list[Candidate] = []
    for start in starts_at:
        given_labels = labels_at_birth(start, [history], policy)
        history.append(Candidate(id=f"{start:%m-%dT%H}", started_at=start, labels=given_labels))
        if prune:
            stay = kept(decide(history, policy, start))
            history = [one for one in history if one.id in stay]
    return history


def born_in_two(
    starts_at: list[datetime], missed: list[set[int]], policy: Policy
) -> list[list[Candidate]]:
    """Make backups into two locations, each of which misses some; both prune after each."""
    held: list[list[Candidate]] = [[], []]
    for start, away in zip(starts_at, missed, strict=True):
        takers = [number for number in (0, 1) if number not in away]
        given_labels = labels_at_birth(start, [held[number] for number in takers], policy)
        for number in takers:
            held[number].append(
                Candidate(id=f"{start:%m-%dT%H}", started_at=start, labels=given_labels)
            )
            stay = kept(decide(held[number], policy, start))
            held[number] = [one for one in held[number] if one.id in stay]
    return held
