"""Which series of MySQL and MariaDB a run of the tests covers."""

from __future__ import annotations

import pytest

from tests.servers import mysql_packages, series


def test_a_run_covers_the_usual_unless_it_is_told_others() -> None:
    assert series.covered({}) == {"mariadb": ("10.11", "11.8"), "mysql": ("9.7",)}
    assert series.covered({series.VARIABLE: "mysql-9.7 mysql-8.4"}) == {
        "mariadb": (),
        "mysql": ("8.4", "9.7"),
    }


def test_what_there_is_not_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"names mysql-8\.3; there are mariadb-10\.11, .*mysql-9"):
        series.covered({series.VARIABLE: "mysql-8.4 mysql-8.3"})


def test_every_series_that_has_an_image_can_be_had_for_tests() -> None:
    assert {(source.family, source.series) for source in mysql_packages.KNOWN} == {
        (family, one) for family, known in series.SUPPORTED.items() for one in known
    }
