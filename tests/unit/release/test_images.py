from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from controller.api.secrets import Secret
from engines import registry
from engines.interface import InitOptions
from release import base, images
from release.__main__ import main
from release.images import REPOSITORY, Image, NotBuilt
from release.sources import VARIABLES, Sources
from tests.builders import a_section

ENGINE_IMAGES = [image for image in images.images() if image.database_version]


@pytest.mark.parametrize("image", ENGINE_IMAGES, ids=lambda image: image.key)
def test_an_image_has_the_name_that_the_controller_asks_for(image: Image) -> None:
    name, _, version = image.key.partition(":")
    engine = registry.get(name)
    engine.init(
        InitOptions(
            namespace="db",
            name="shop",
            spec=a_section(name),
            resolve=lambda value: value.value or Secret(""),
            environ={},
            # An image for all versions is no version to ask for.
            version="" if version == "all" else version,
        )
    )

    wanted = engine.pod_spec(image_prefix="example.com/backup", release="1.2.3-g56789ab").image

    assert image.name("example.com/backup", "1.2.3-g56789ab") == wanted


def test_the_controllers_image_is_what_the_chart_is_told() -> None:
    (image,) = images.choose([images.CONTROLLER])

    assert image.name("example.com/backup", "1.2.3") == "example.com/backup:1.2.3"


def test_every_engine_has_images() -> None:
    assert {image.key.partition(":")[0] for image in ENGINE_IMAGES} == set(registry.names())


@pytest.mark.parametrize("image", images.images(), ids=lambda image: image.key)
def test_a_dockerfile_takes_what_a_build_tells_it(image: Image) -> None:
    """Docker passes over an argument that nobody asks for."""
    text = (REPOSITORY / image.dockerfile).read_text()
    taken = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))

    assert set(images.arguments(image, release="1.2.3", sources=Sources())) <= taken


@pytest.mark.parametrize(
    ("stage", "engines"),
    [
        ("FROM ${BASE_IMAGE} AS base", set(registry.names())),
        ("FROM base AS build", set(registry.names())),
        # One image for all versions is one without the database's own programs.
        (
            "FROM base AS upstream",
            {image.engine for image in ENGINE_IMAGES if image.database_version != "all"},
        ),
    ],
)
def test_the_engines_images_are_built_alike(stage: str, engines: set[str]) -> None:
    """Docker includes nothing, so what all of them do is in each: no copy may fall behind."""
    found = {}
    for engine in engines:
        path = f"engines/{engine}/Dockerfile"
        lines = (REPOSITORY / path).read_text().partition(f"{stage}\n")[2]
        found[path] = lines.partition("\nFROM ")[0].strip()

    assert all(found.values())
    assert len(set(found.values())) == 1, sorted(found)


def test_tools_that_no_debian_has_come_from_where_their_project_has_them() -> None:
    """As each project tells people to write it into apt's sources."""
    told = {
        image.key: images.arguments(image, release="1.2.3", sources=Sources()).get("APT_REPOSITORY")
        for image in images.images()
    }

    assert {key: line for key, line in told.items() if line} == {
        "mariadb:11.4": "https://dlm.mariadb.com/repo/mariadb-server/11.4/repo/debian trixie main",
        "mysql:8.4": "https://repo.mysql.com/apt/debian trixie mysql-8.4-lts",
        "mysql:9.7": "https://repo.mysql.com/apt/debian trixie mysql-9.7-lts",
        "postgres:16": "https://apt.postgresql.org/pub/repos/apt trixie-pgdg main",
        "postgres:18": "https://apt.postgresql.org/pub/repos/apt trixie-pgdg main",
    }


def test_a_mirror_may_have_folders_of_its_own() -> None:
    sources = Sources(mariadb_apt_repository="http://mirror.example.com/mariadb/{series}/debian/")

    repository = sources.repository("mariadb", suite="trixie", series="11.4")

    assert repository.line == "http://mirror.example.com/mariadb/11.4/debian trixie main"


def test_every_source_of_a_build_is_what_its_documented_variable_says() -> None:
    page = (REPOSITORY / "docs" / "images.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    said = {variable: f"what {variable} says" for variable in VARIABLES.values()}

    sources = Sources.from_environment(said)

    assert set(said) <= documented
    assert set(VARIABLES) == {field.name for field in attrs.fields(Sources)}
    for field, variable in VARIABLES.items():
        assert getattr(sources, field) == said[variable]
    assert Sources.from_environment(dict.fromkeys(said, "")) == Sources()


def test_an_unknown_image_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        NotBuilt, match=r"no image postgres:9; there are: controller, cockroach:all, mariadb:10.11"
    ):
        images.choose(["controller", "postgres:9"])


@pytest.mark.parametrize("target", ["images", "base-images"])
def test_an_engine_is_asked_for_one_platform_only(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would keep one of them, and nobody knows which."""
    monkeypatch.setenv("VERSION", "1.2.3")
    monkeypatch.setenv("PLATFORMS", "linux/amd64,linux/arm64")

    assert main([target]) > 0

    assert "PLATFORMS names several: only make push-images" in capsys.readouterr().err


def test_the_base_for_another_platform_is_beside_this_machine_s() -> None:
    assert base.name("") == "localhost/debian:{suite}-slim"
    assert base.name("linux/arm64") == "localhost/debian:{suite}-slim-arm64"


def test_the_page_has_every_image() -> None:
    page = (REPOSITORY / "docs" / "images.md").read_text()
    rows = re.findall(r"^\| .* \| `(<prefix>\S*)` \| Debian (\d+)", page, re.MULTILINE)

    suites = {"12": "bookworm", "13": "trixie"}
    assert [(name, suites[debian]) for name, debian in rows] == [
        (image.name("<prefix>", "<release>"), image.suite) for image in images.images()
    ]


@pytest.mark.parametrize("part", ["controller", "runner"])
def test_the_lock_of_an_image_is_a_part_of_the_lock(part: str) -> None:
    """So that what is tested is what is in the image."""
    whole = _locked(REPOSITORY / "requirements" / "base.txt")
    found = _locked(REPOSITORY / "requirements" / f"{part}.txt")

    assert found
    assert {name: whole.get(name) for name in found} == found


def _locked(file: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Package -> its version and hashes."""
    entries = re.split(r"\n(?=\w)", file.read_text())
    return {
        match[1]: (match[2], frozenset(re.findall(r"sha256:\w+", entry)))
        for entry in entries
        if (match := re.match(r"([\w.-]+)==(\S+)", entry))
    }
