from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from controller.api.cron import Cron, read_cron
from controller.api.errors import InvalidSpec


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("@daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@yearly", "0 0 1 1 *"),
        ("0 4 ? * MON-FRI", "0 4 * * MON-FRI"),
        ("  0   4 * * *  ", "0 4 * * *"),
        ("0 0 */2 * */3", "0 0 1-31/2 * 0-6/3"),
        ("0 0 */1 * 1", "0 0 */1 * 1"),
        ("* 5-5/2 * * *", "* 5 * * *"),
    ],
)
def test_the_forms_of_the_go_original_are_read(text: str, expression: str) -> None:
    assert read_cron(text) == Cron(expression=expression)


@pytest.mark.parametrize("prefix", ["TZ=", "CRON_TZ="])
def test_a_zone_may_stand_in_front(prefix: str) -> None:
    cron = read_cron(f"{prefix}Asia/Tokyo 0 9 * * *")

    assert cron == Cron(expression="0 9 * * *", zone=ZoneInfo("Asia/Tokyo"))


def test_every_is_a_pause() -> None:
    assert read_cron("@every 1h30m") == Cron(every=timedelta(hours=1, minutes=30))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "0 0 1 * * *",
        "60 * * * *",
        "0 0 30 2 *",
        "0 0 31 4,6 *",
        "0 0 * * 7#6",
        "@sometimes",
        "@every soon",
        "@every 1s",
        "TZ=Mars/Base 0 0 * * *",
        "TZ=../etc 0 0 * * *",
        "mon 0 * * *",
    ],
)
def test_a_cron_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        read_cron(text)
