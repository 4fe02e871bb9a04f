"""What Prometheus may have read, and which alerts have to fire then.

Values are in promtool's notation, one for each scrape: `5x9` is 5 ten times, `_x9` are nine scrapes
that found nothing, `stale` is a target that is gone. The clock begins at 0: 60 is the first minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

HOUR, DAY = 3600, 86400


@frozen(kw_only=True)
class Example:
    """One alert at a time, as Prometheus hands it on.

    Args:
        labels: all but the severity.
        value: what `$value` looks like in its texts.
    """

    at: str
    labels: Mapping[str, str]
    value: str = ""


@frozen(kw_only=True)
class Case:
    """What was read, and what fires.

    Args:
        firing: time -> the objects for which the alert fires: `name`, `name/location`, or empty for
            the controller.
        interval: of scrapes and evaluations.
    """

    alert: str = ""
    what: str
    series: Mapping[str, str]
    firing: Mapping[str, Sequence[str]]
    interval: str = "1m"
    example: Example | None = None


def of(
    metric: str, values: str, *, name: str = "shop", pod: str = "pod-1", **labels: str
) -> dict[str, str]:
    """A series of a runner, or of the controller about an object."""
    return _series(metric, values, {"namespace": "db", "name": name, "pod": pod} | labels)


def of_controller(metric: str, values: str, *, pod: str = "c-1", **labels: str) -> dict[str, str]:
    return _series(metric, values, {"pod": pod} | labels)


def _series(metric: str, values: str, labels: Mapping[str, str]) -> dict[str, str]:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {f"db_backup_controller_{metric}{{{inner}}}": values}


def a_schedule(
    interval_s: int, success: str, *, name: str = "shop", pod: str = "pod-1"
) -> dict[str, str]:
    """A runner that is there from the first minute on.

    Args:
        success: values of `last_successful_backup`; 0: there is none.
    """
    return (
        of("last_successful_backup", success, name=name, pod=pod)
        | of("runner_started_at", "60x20000", name=name, pod=pod)
        | of("expected_interval_seconds", f"{interval_s}x20000", name=name, pod=pod)
    )


def a_job(job_type: str, running: str, success: str = "", **labels: str) -> dict[str, str]:
    found = of("job_running", running, job_type=job_type, **labels)
    return found | (of("last_job_success", success, job_type=job_type, **labels) if success else {})


#: Long names of what locations tell.
NEWEST = "location_last_successful_backup_timestamp_seconds"
STORED_BYTES = "location_last_backup_stored_bytes"
VERIFIED_AT = "location_last_verified_timestamp_seconds"

SHOP = {"namespace": "db", "name": "shop"}
IN_S3 = SHOP | {"location": "s3"}
