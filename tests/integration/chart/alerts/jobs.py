"""Cases of backups that are late, and of jobs that fail or take long."""

from __future__ import annotations

from tests.integration.chart.alerts.series import (
    DAY,
    HOUR,
    SHOP,
    Case,
    Example,
    a_job,
    a_schedule,
    of,
)

_JOB_FAILED = (
    Case(
        alert="JobFailed",
        what="the last backup failed",
        series=of("last_job_success", "1x9 0x60", job_type="backup", engine="postgres"),
        firing={"19m": [], "21m": ["shop"], "60m": ["shop"]},
        example=Example(
            at="21m",
            labels=SHOP | {"pod": "pod-1", "job_type": "backup", "engine": "postgres"},
        ),
    ),
    Case(
        alert="JobFailed",
        what="the next one succeeded",
        series=of("last_job_success", "0x20 1x60", job_type="backup"),
        firing={"15m": ["shop"], "22m": []},
    ),
    Case(
        alert="JobFailed",
        what="the object is deleted",
        series=of("last_job_success", "0x20 stale", job_type="backup"),
        firing={"15m": ["shop"], "22m": []},
    ),
    Case(
        alert="JobFailed",
        what="no job has ended yet, and one that succeeds after a gap in the scrapes",
        series=of("last_job_success", "_x30 1x10 _x20 1x10", job_type="backup"),
        firing={"20m": [], "35m": [], "50m": [], "70m": []},
    ),
)

_OVERDUE = (
    Case(
        alert="BackupOverdue",
        what="a daily and a 5-minutely schedule side by side, and no backup succeeds any more",
        series=a_schedule(DAY, "60x4000")
        | a_schedule(300, "60x4000", name="feed")
        | a_schedule(0, "60x4000", name="by-hand"),
        firing={"10m": [], "17m": ["feed"], "2880m": ["feed"], "2887m": ["feed", "shop"]},
    ),
    Case(
        alert="BackupOverdue",
        what="says for how long",
        series=a_schedule(HOUR, "60x200"),
        firing={"120m": [], "127m": ["shop"]},
        example=Example(at="131m", labels=SHOP, value="2h 10m 0s"),
    ),
    Case(
        alert="BackupOverdue",
        what="nothing is late, however far apart the schedules are",
        series=a_schedule(300, "0+60x3000")
        | a_schedule(DAY, "60x1440 86460x1500", name="daily")
        | a_schedule(7 * DAY, "60x3000", name="weekly"),
        firing={"5m": [], "20m": [], "1440m": [], "1500m": [], "2890m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="a new object, while its first backup runs for long",
        series=a_schedule(300, "0x179 60x2 10860x60") | a_job("backup", "1x179 0x60"),
        firing={"20m": [], "170m": [], "181m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="a new object whose first backup failed",
        series=a_schedule(300, "0x60") | a_job("backup", "1x3 0x60", "_x3 0x60"),
        firing={"10m": [], "17m": ["shop"]},
    ),
    Case(
        alert="BackupOverdue",
        what="a new object that waits for its first backup",
        series=of("last_successful_backup", "_x300 0x60")
        | of("runner_started_at", "_x300 18000x60")
        | of("expected_interval_seconds", f"_x300 {HOUR}x60"),
        firing={"310m": [], "360m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="every try fails, and one runs most of the time",
        series=a_schedule(300, "60x60") | a_job("backup", "1 1 1 0 " * 15, "1x3 0x56"),
        firing={"10m": [], "17m": ["shop"], "30m": ["shop"], "45m": ["shop"]},
    ),
    Case(
        alert="BackupOverdue",
        what="the runner is replaced meanwhile",
        series=a_schedule(HOUR, "60x200 stale")
        | of("last_successful_backup", "_x200 0x1 60x60", pod="pod-2")
        | of("runner_started_at", "_x200 12060x60", pod="pod-2")
        | of("expected_interval_seconds", "_x200 0x1 3600x60", pod="pod-2"),
        firing={"199m": ["shop"], "215m": ["shop"]},
    ),
    Case(
        alert="BackupOverdue",
        what="the runner is replaced, and the next backup comes in time",
        series=of("last_successful_backup", "60x30 stale")
        | of("runner_started_at", "60x30 stale")
        | of("expected_interval_seconds", "3600x30 stale")
        | of("last_successful_backup", "_x30 0x1 60x27 3600x60", pod="pod-2")
        | of("runner_started_at", "_x30 1860x100", pod="pod-2")
        | of("expected_interval_seconds", "_x30 0x1 3600x100", pod="pod-2"),
        firing={"29m": [], "33m": [], "60m": [], "100m": [], "119m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="suspended for a month, and resumed: the next backup runs",
        series=of("last_successful_backup", "60x89 5400x60")
        | of("runner_started_at", "60x150")
        | of("expected_interval_seconds", "0x59 300x90")
        | a_job("backup", "0x59 1x29 0x60", "1x150"),
        firing={"50m": [], "70m": [], "88m": [], "95m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="the object is deleted",
        series=of("last_successful_backup", "60x30 stale")
        | of("runner_started_at", "60x30 stale")
        | of("expected_interval_seconds", "300x30 stale"),
        firing={"29m": ["shop"], "32m": []},
    ),
    Case(
        alert="BackupOverdue",
        what="a gap in the scrapes",
        series=of("last_successful_backup", "60x9 _x49 3600x60")
        | of("runner_started_at", "60x9 _x49 60x60")
        | of("expected_interval_seconds", "3600x9 _x49 3600x60"),
        firing={"12m": [], "30m": [], "61m": [], "100m": []},
    ),
)

_SLOW = (
    Case(
        alert="BackupSlowerThanSchedule",
        what="a backup takes 10 minutes, every 5 and every 60 minutes",
        series=a_schedule(300, "60x60")
        | of("last_job_duration_seconds", "600x60", job_type="backup")
        | a_schedule(HOUR, "60x60", name="hourly")
        | of("last_job_duration_seconds", "600x60", job_type="backup", name="hourly"),
        firing={"14m": [], "16m": ["shop"]},
        example=Example(at="16m", labels=SHOP, value="10m 0s"),
    ),
    Case(
        alert="BackupSlowerThanSchedule",
        what="suspended, and without a schedule",
        series=a_schedule(0, "60x60")
        | of("last_job_duration_seconds", "600x60", job_type="backup"),
        firing={"30m": []},
    ),
    Case(
        alert="JobNearTimeout",
        what="a verification runs and runs",
        series=of("job_started_timestamp_seconds", "0x59 3600x300", job_type="verify")
        | of("job_started_timestamp_seconds", "0x400", job_type="backup")
        | of("job_timeout_seconds", "14400x400"),
        firing={"230m": [], "241m": ["shop"]},
        example=Example(at="242m", labels=SHOP | {"job_type": "verify"}, value="3h 2m 0s"),
    ),
    Case(
        alert="JobNearTimeout",
        what="jobs that end, for days",
        series=of("job_started_timestamp_seconds", "60x170 0x60 14000x170 0x60", job_type="backup")
        | of("job_timeout_seconds", "14400x500"),
        firing={"170m": [], "230m": [], "400m": [], "460m": []},
    ),
    Case(
        alert="RestoreRunningTooLong",
        what="a restore of what takes 10 minutes to back up",
        series=of("job_started_timestamp_seconds", "60x300", job_type="restore")
        | of("last_job_duration_seconds", "600x300", job_type="backup"),
        firing={"110m": [], "112m": ["shop"]},
        example=Example(at="121m", labels=SHOP, value="2h 0m 0s"),
    ),
    Case(
        alert="RestoreRunningTooLong",
        what="none runs, and one of what takes 10 hours",
        series=of("job_started_timestamp_seconds", "0x300", job_type="restore")
        | of("last_job_duration_seconds", "600x300", job_type="backup")
        | of("job_started_timestamp_seconds", "60x300", job_type="restore", name="large")
        | of("last_job_duration_seconds", "36000x300", job_type="backup", name="large"),
        firing={"200m": [], "300m": []},
    ),
)

CASES = (*_JOB_FAILED, *_OVERDUE, *_SLOW)
