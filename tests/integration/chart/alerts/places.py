"""Cases of locations, of runners, and of the controller."""

from __future__ import annotations

from tests.integration.chart.alerts.series import (
    DAY,
    IN_S3,
    NEWEST,
    SHOP,
    Case,
    Example,
    a_schedule,
    of,
    of_controller,
)

_LOCATIONS = (
    Case(
        alert="LocationFailing",
        what="one does not answer, another one missed the last backup",
        series=of("location_healthy", "1x9 0x60", location="s3")
        | of("location_healthy", "1x70", location="gcs")
        | of("location_last_backup_success", "1x9 0x60", location="gcs")
        | of("location_healthy", "1x70", location="folder")
        | of("location_last_backup_success", "1x70", location="folder"),
        firing={"20m": [], "26m": ["shop/s3", "shop/gcs"]},
    ),
    Case(
        alert="LocationFailing",
        what="over a restart of the runner",
        series=of("location_healthy", "0x19 stale", location="s3")
        | of("location_healthy", "_x20 0x60", location="s3", pod="pod-2"),
        firing={"19m": ["shop/s3"], "40m": ["shop/s3"]},
        example=Example(at="40m", labels=IN_S3),
    ),
    Case(
        alert="LocationFailing",
        what="for a moment, not looked at yet, and taken out of the class",
        series=of("location_healthy", "1x9 0x9 1x60", location="s3")
        | of("location_healthy", "_x20 1x60", location="new")
        | of("location_healthy", "0x9 stale", location="old"),
        firing={"18m": [], "26m": [], "40m": []},
    ),
    Case(
        alert="LocationLagging",
        what="more than two days behind the other one, with a daily schedule",
        series=of(NEWEST, "300000x60", location="gcs")
        | of(NEWEST, "120000x60", location="s3")
        | a_schedule(DAY, "300000x60"),
        firing={"14m": [], "16m": ["shop/s3"]},
        example=Example(at="16m", labels=IN_S3, value="2d 2h 0m 0s"),
    ),
    Case(
        alert="LocationLagging",
        what="one missed, all late alike, new, the only one, suspended",
        series=of(NEWEST, "300000x60", location="gcs")
        | of(NEWEST, "200000x60", location="s3")
        | of(NEWEST, "0x60", location="new")
        | a_schedule(DAY, "300000x60")
        | of(NEWEST, "60x60", name="one", location="s3")
        | a_schedule(300, "60x60", name="one")
        | of(NEWEST, "900000x60", name="off", location="s3")
        | of(NEWEST, "60x60", name="off", location="gcs")
        | a_schedule(0, "900000x60", name="off"),
        firing={"16m": [], "50m": []},
    ),
)

_RUNNERS = (
    Case(
        alert="RunnerNotAvailable",
        what="no pod is up, as both replicas of the controller tell",
        series=of("runner_available", "1x9 0x60", pod="c-1")
        | of("runner_available", "1x9 0x60", pod="c-2"),
        firing={"39m": [], "41m": ["shop"]},
        example=Example(at="41m", labels=SHOP),
    ),
    Case(
        alert="RunnerNotAvailable",
        what="replaced, deleted, over a restart of the controller, and one replica that is behind",
        series=of("runner_available", "1x9 0x10 1x60 stale", pod="c-1")
        | of("runner_available", "0x9 stale", name="deleted", pod="c-1")
        | of("runner_available", "1x9 _x20 1x60", name="other", pod="c-1")
        | of("runner_available", "0x90", name="behind", pod="c-1")
        | of("runner_available", "1x90", name="behind", pod="c-2"),
        firing={"19m": [], "40m": [], "60m": [], "85m": []},
    ),
    Case(
        alert="RunnerNotScraped",
        what="it is up, and nothing is read of it",
        series=of("runner_available", "1x60", pod="c-1"),
        firing={"29m": [], "31m": ["shop"]},
        example=Example(at="31m", labels=SHOP),
    ),
    Case(
        alert="RunnerNotScraped",
        what="read, replaced, and one that is not up",
        series=of("runner_available", "1x90", pod="c-1")
        | of("runner_started_at", "60x9 _x10 1200x70")
        | of("runner_available", "0x90", name="down", pod="c-1"),
        firing={"15m": [], "31m": [], "80m": []},
    ),
    Case(
        alert="RunnerRestarting",
        what="four times within minutes",
        series=of("runner_started_at", "60x9 660x3 900x3 1140x3 1380x90"),
        firing={"20m": [], "23m": ["shop"], "90m": []},
        example=Example(at="23m", labels=SHOP, value="4"),
    ),
    Case(
        alert="RunnerRestarting",
        what="once, and replaced by other pods",
        series=of("runner_started_at", "60x9 660x9 stale")
        | of("runner_started_at", "_x20 1200x4 stale", pod="pod-2")
        | of("runner_started_at", "_x26 1560x4 stale", pod="pod-3")
        | of("runner_started_at", "_x32 1920x60", pod="pod-4"),
        firing={"15m": [], "24m": [], "40m": []},
    ),
)

_CONTROLLER = (
    Case(
        alert="ControllerNotActing",
        what="two replicas, and none acts",
        series=of_controller("leader", "1x9 0x60") | of_controller("leader", "0x70", pod="c-2"),
        firing={"14m": [], "16m": [""]},
        example=Example(at="16m", labels={}),
    ),
    Case(
        alert="ControllerNotActing",
        what="Prometheus sees none at all",
        series=of_controller("leader", "1x9 stale"),
        firing={"9m": [], "17m": [""]},
    ),
    Case(
        alert="ControllerNotActing",
        what="one takes over from another one",
        series=of_controller("leader", "1x9 0x60")
        | of_controller("leader", "0x11 1x60", pod="c-2"),
        firing={"11m": [], "17m": [], "60m": []},
    ),
    Case(
        alert="ControllerDefect",
        what="one, within the hour",
        series=of_controller("unexpected_errors_total", "0x9 1x200"),
        firing={"9m": [], "11m": [""], "80m": []},
        example=Example(at="11m", labels={"pod": "c-1"}),
    ),
    Case(
        alert="ControllerDefect",
        what="none, and a restart",
        series=of_controller("unexpected_errors_total", "3x9 0x200"),
        firing={"9m": [], "11m": [], "30m": []},
    ),
    Case(
        alert="ControllerCannotRead",
        what="one object",
        series=of_controller("cache_unreadable_objects", "0x9 1x9 0x9", resource="secrets"),
        firing={"9m": [], "11m": [""], "21m": []},
        example=Example(at="11m", labels={"pod": "c-1", "resource": "secrets"}),
    ),
    Case(
        alert="ControllerCannotRead",
        what="none",
        series=of_controller("cache_unreadable_objects", "0x60", resource="secrets"),
        firing={"30m": []},
    ),
    Case(
        alert="ControllerCacheStale",
        what="nothing was listed for a while",
        series=of_controller("cache_stale_seconds", "0x9 0+60x60", resource="secrets"),
        firing={"19m": [], "21m": [""]},
        example=Example(at="21m", labels={"pod": "c-1", "resource": "secrets"}, value="11m 0s"),
    ),
    Case(
        alert="ControllerCacheStale",
        what="short gaps, and not listed yet",
        series=of_controller(
            "cache_stale_seconds", "_x9 0 60 120 0 60 120 180 240 0x60", resource="secrets"
        ),
        firing={"5m": [], "18m": [], "30m": []},
    ),
    Case(
        alert="ControllerStuck",
        what="many objects wait; a worker hangs",
        series=of_controller("queue_depth", "101x60", kind="DatabaseBackup")
        | of_controller("queue_longest_running_seconds", "0x60", kind="DatabaseBackup"),
        firing={"14m": [], "16m": [""]},
        example=Example(at="16m", labels={"pod": "c-1", "kind": "DatabaseBackup"}),
    ),
    Case(
        alert="ControllerStuck",
        what="a worker hangs",
        series=of_controller("queue_depth", "0x60", kind="DatabaseBackup")
        | of_controller("queue_longest_running_seconds", "0+60x60", kind="DatabaseBackup"),
        firing={"20m": [], "21m": [""]},
    ),
    Case(
        alert="ControllerStuck",
        what="a start with many objects",
        series=of_controller("queue_depth", "900 700 500 300 0x60", kind="DatabaseBackup")
        | of_controller("queue_longest_running_seconds", "2x60", kind="DatabaseBackup"),
        firing={"3m": [], "20m": []},
    ),
)

CASES = (*_LOCATIONS, *_RUNNERS, *_CONTROLLER)
