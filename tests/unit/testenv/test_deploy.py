"""Which images `make deploy-local` builds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from release.images import NotBuilt, choose
from release.sources import Sources
from testenv.deploy import buildable, wanted_images
from tests.fakes.scripted_http import ScriptedHttp, Wire

NEEDED = ("controller", "postgres:17")


@pytest.fixture
def sources() -> Iterator[Sources]:
    """Of PostgreSQL's repository alone there is something to be had."""

    def there(wire: Wire) -> None:
        wire.answer(200)

    with ScriptedHttp() as gone, ScriptedHttp(there) as postgres:
        pass_over = f"{gone.url}/gone"
        yield Sources(
            apt_repository=postgres.url,
            mariadb_apt_repository=pass_over,
            mysql_apt_repository=pass_over,
        )


def test_all_images_unless_some_are_named() -> None:
    assert wanted_images("", NEEDED) == choose([])
    assert wanted_images("postgres:17 mysql:8.4", NEEDED) == choose([*NEEDED, "mysql:8.4"])


def test_what_nothing_works_without_is_built_though_it_is_not_named() -> None:
    assert wanted_images("mariadb:11.8", NEEDED) == choose([*NEEDED, "mariadb:11.8"])


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(NotBuilt, match="no image postgres:9; there are: controller"):
        wanted_images("postgres:9", NEEDED)


def test_an_image_whose_packages_cannot_be_had_is_left_out_and_named(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    found = buildable(choose([]), NEEDED, sources)

    left_out = {"mariadb:11.4", "mysql:8.4", "mysql:9.7"}
    assert [image for image in choose([]) if image.key not in left_out] == list(found)
    mariadb, mysql = sorted(capsys.readouterr().out.splitlines())
    assert mariadb.startswith("left out: mariadb:11.4: http://127.0.0.1")
    assert mariadb.endswith("; MARIADB_APT_REPOSITORY names a mirror")
    assert mysql.startswith("left out: mysql:8.4, mysql:9.7: http://127.0.0.1")
    assert mysql.endswith("; MYSQL_APT_REPOSITORY names a mirror")


def test_without_the_packages_of_an_image_that_is_needed_nothing_is_built(
    sources: Sources,
) -> None:
    with pytest.raises(NotBuilt, match=r"mysql:8\.4: http.*; MYSQL_APT_REPOSITORY names a mirror"):
        buildable(choose([]), ("controller", "mysql:8.4"), sources)
