"""What a database project's own repository has is known before anything is built."""

from __future__ import annotations

import pytest

from release.images import NotBuilt, choose, platforms_of, unreachable
from release.sources import Sources
from tests.fakes.scripted_http import ScriptedHttp, Wire


def there(wire: Wire) -> None:
    wire.answer(200, b"Suite: trixie\nArchitectures: amd64 i386\nSHA256:\n")


def not_there(wire: Wire) -> None:
    wire.answer(404)


def test_a_repository_is_asked_once_for_all_images_that_need_it() -> None:
    wanted = choose(["controller", "mysql:8.4", "mysql:9.7", "postgres:16", "postgres:17"])
    with ScriptedHttp(there) as mysql, ScriptedHttp(not_there) as postgres:
        sources = Sources(
            mysql_apt_repository=f"{mysql.url}/apt/debian", apt_repository=f"{postgres.url}/apt/"
        )

        found = unreachable(wanted, sources)
        file = f"{postgres.url}/apt/dists/trixie-pgdg/InRelease"

    assert found == {"postgres:16": f"{file}: 404 -; APT_REPOSITORY names a mirror"}
    assert [seen.target for seen in mysql.seen] == ["/apt/debian/dists/trixie/InRelease"]
    assert len(postgres.seen) == 1


def test_what_nobody_answers_for_or_what_is_no_url_is_told() -> None:
    with ScriptedHttp() as server:
        gone = server.url
    sources = Sources(mysql_apt_repository=gone, mariadb_apt_repository="example.com/{series}")

    found = unreachable(choose(["mysql:8.4", "mariadb:11.4"]), sources)

    assert found["mysql:8.4"].endswith("Connection refused; MYSQL_APT_REPOSITORY names a mirror")
    assert found["mariadb:11.4"].startswith("example.com/11.4/dists/trixie/InRelease: unknown url")


def test_an_image_is_for_the_platforms_that_its_project_has_packages_for() -> None:
    both = "linux/amd64,linux/arm64"
    postgres_17, mysql = choose(["postgres:17", "mysql:9.7"])
    with ScriptedHttp(there, there, not_there) as server:
        sources = Sources(mysql_apt_repository=server.url)

        assert platforms_of(mysql, "", sources) == ""
        assert platforms_of(postgres_17, both, sources) == both
        assert platforms_of(mysql, both, sources) == "linux/amd64"
        with pytest.raises(NotBuilt, match=r"mysql:9\.7: http.* has packages for amd64 i386 alone"):
            platforms_of(mysql, "linux/arm64", sources)
        # The build will tell what is the matter.
        assert platforms_of(mysql, both, sources) == both
