"""Clusters in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.integration.chart.alerts.series import (
    DAY,
    NEWEST,
    STORED_BYTES,
    VERIFIED_AT,
    Case,
    a_job,
    a_schedule,
    of,
    of_controller,
)


def _well(
    name: str, interval_s: int, success: str, *, pod: str = "pod-1", first: int = 0, last: int = 400
) -> dict[str, str]:
    """All series of a runner for which nothing is wrong.

    Args:
        success: value, or value+step, of the newest backup.
        first, last: minutes between which there is this pod.
    """
    before = f"_x{first} " if first else ""

    def series(metric: str, value: object, **labels: str) -> dict[str, str]:
        return of(metric, f"{before}{value}x{last - first} stale", name=name, pod=pod, **labels)

    in_s3 = {"location": "s3"}
    backups = {"job_type": "backup"}
    return (
        series("runner_started_at", 60 * first + 60)
        | series("expected_interval_seconds", interval_s)
        | series("expected_verification_interval_seconds", 7 * DAY)
        | series("suspended", 0)
        | series("job_timeout_seconds", DAY)
        | series("last_successful_backup", success)
        | series("last_backup_plain_bytes", 5 * 10**9)
        | series("last_job_success", 1, **backups)
        | series("last_job_duration_seconds", 120, **backups)
        | series("job_running", 0, **backups)
        | series("job_started_timestamp_seconds", 0, **backups)
        | series("location_healthy", 1, **in_s3)
        | series("location_last_backup_success", 1, **in_s3)
        | series(NEWEST, success, **in_s3)
        | series(STORED_BYTES, 10**9, **in_s3)
        | series("location_stored_backup_count", 20, **in_s3)
        | series(VERIFIED_AT, 60, **in_s3)
        | series("location_last_verification_success", 1, **in_s3)
        | series("location_vanished_backups_total", 0, **in_s3)
    )


_ACTING = (
    of_controller("leader", "1x500")
    | of_controller("unexpected_errors_total", "0x500")
    | of_controller("cache_unreadable_objects", "0x500", resource="secrets")
    | of_controller("cache_stale_seconds", "0x500", resource="secrets")
    | of_controller("queue_depth", "3x500", kind="DatabaseBackup")
    | of_controller("queue_longest_running_seconds", "0x500", kind="DatabaseBackup")
    | of("runner_available", "1x500", pod="c-1")
    | of("runner_available", "1x500", name="feed", pod="c-1")
)
_TIMES: Mapping[str, Sequence[str]] = {f"{minute}m": () for minute in (2, 30, 61, 65, 120, 300)}

HEALTHY = (
    Case(
        what="a daily and a 5-minutely schedule side by side",
        series=_ACTING | _well("shop", DAY, "60") | _well("feed", 300, "0+60"),
        firing=_TIMES,
    ),
    Case(
        what="a runner is replaced after an hour",
        series=_ACTING
        | _well("shop", DAY, "60", last=59)
        | _well("shop", DAY, "60", pod="pod-2", first=61)
        | _well("feed", 300, "0+60"),
        firing=_TIMES,
    ),
    Case(
        what="new: nothing was backed up yet, and the first backup runs",
        series=_ACTING
        | a_schedule(300, "0x400")
        | a_job("backup", "1x400")
        | of("suspended", "0x400")
        | of("job_timeout_seconds", "86400x400")
        | of("job_started_timestamp_seconds", "60x400", job_type="backup")
        | of("expected_verification_interval_seconds", "86400x400")
        | of("location_healthy", "1x400", location="s3")
        | of("location_stored_backup_count", "0x400", location="s3")
        | of(NEWEST, "0x400", location="s3")
        | of(VERIFIED_AT, "0x400", location="s3")
        | _well("feed", 300, "0+60"),
        firing=_TIMES,
    ),
    Case(
        what="a controller without any object",
        series={key: values for key, values in _ACTING.items() if "runner_available" not in key},
        firing=_TIMES,
    ),
)
