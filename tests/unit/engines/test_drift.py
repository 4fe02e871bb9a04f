"""A line of the registry promises that the engine is in every other place, and no place is stale.

One test per engine and place, so `pytest tests/unit/engines/test_drift.py -k NAME` is the list of
what an engine still lacks; docs/adding-an-engine.md has a step for each place.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from controller.api.errors import UnknownEngine
from controller.api.rules import ENGINE_BLOCKS
from engines import registry
from release import images
from testenv.deploy import ENGINE_IMAGES
from tests.builders import section_type
from tests.release.test_all_images import PROGRAMS
from tests.servers.helm import CHART

ROOT = Path(__file__).parents[3]
#: Sections of the API that no engine serves, and why: their objects keep the fields, and wait. A
#: name leaves with the change that registers its engine.
NOT_SERVED: Mapping[str, str] = {}
#: Place -> registered engines that are not there yet. A name leaves with the change that adds it.
STILL_LACKING: Mapping[str, frozenset[str]] = {}
NONE_YET = "There is no such engine yet"


def read(path: str) -> str:
    file = ROOT / path
    return file.read_text() if file.exists() else ""


def title(engine: str) -> str:
    """How people write it: PostgreSQL. The docstring of its section begins with it."""
    found = re.match(r"An? (.+?) database\b", section_type(engine).__doc__ or "")
    return found[1] if found else engine


def definition() -> Mapping[str, Any]:
    """The schema of `spec` that a cluster gets."""
    crd = yaml.safe_load(read("deploy/crds/databasebackups.backup.nect.com.yaml"))
    (version,) = crd["spec"]["versions"]
    spec: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def versions_of(engine: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"engines.{engine}.versions")
    except ModuleNotFoundError:
        return None


def images_of(engine: str) -> Sequence[images.Image]:
    return () if list(versions(engine)) else tuple(images._of_engine(engine))


def benches() -> set[str]:
    """The engines that a suite of tests/contract is run on."""
    return {
        engine
        for path in (ROOT / "tests" / "contract").glob("*.py")
        if re.search(r"^BENCHES\b", path.read_text(), re.MULTILINE)
        for engine in importlib.import_module(f"tests.contract.{path.stem}").BENCHES
    }


def nav(part: Any = None) -> Iterator[tuple[str, str]]:
    """Title and file of every page of the site's menu."""
    for one in yaml.safe_load(read("properdocs.yml"))["nav"] if part is None else part:
        for name, place in one.items():
            if isinstance(place, str):
                yield name, place
            else:
                yield from nav(place)


def configuration_row(field: str) -> str:
    found = re.search(rf"^\| `{field}` \|.*", read("docs/configuration.md"), re.MULTILINE)
    return found[0] if found else ""


def configuration_section(engine: str) -> str:
    pattern = rf"^### spec\.{engine}\n(.*?)(?=^#|\Z)"
    found = re.search(pattern, read("docs/configuration.md"), re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def unreleased(heading: str) -> str:
    """What the changelog has below that heading of the next release."""
    whole = re.search(
        r"^## Unreleased\n(.*?)(?=^## |\Z)", read("CHANGELOG.md"), re.DOTALL | re.MULTILINE
    )
    pattern = rf"^### {heading}\n(.*?)(?=^### |\Z)"
    found = re.search(pattern, whole[1] if whole else "", re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


# -- The places: each tells what an engine lacks there ----------------------------------------


def api(engine: str) -> Iterator[str]:
    if section_type(engine) is None:
        yield f"controller/api/v1.py: DatabaseBackupSpec has no field {engine}"
    elif title(engine) == engine:
        yield f"controller/api/databases.py: docstring of {engine}'s section begins with no title"
    if engine not in ENGINE_BLOCKS:
        yield f"controller/api/rules.py: {engine} is not in ENGINE_BLOCKS"


def crd(engine: str) -> Iterator[str]:
    fields = definition()["properties"]
    if engine not in fields["databaseType"]["enum"]:
        yield f"deploy/crds: databaseType cannot be {engine}: make generate"
    if engine not in fields:
        yield f"deploy/crds: spec has no section {engine}: make generate"


def folder(engine: str) -> Iterator[str]:
    try:
        made = type(registry.get(engine)).__module__
    except UnknownEngine:
        yield f"engines/registry.py: {engine} is not registered"
    except ImportError as error:
        yield f"engines/registry.py: {engine} cannot be made: {error}"
    else:
        # Of its folder: there a build looks for versions.py and the Dockerfile.
        if not made.startswith(f"engines.{engine}."):
            yield f"engines/registry.py: {engine} is made by {made}, and not in engines/{engine}"


def versions(engine: str) -> Iterator[str]:
    module, path = versions_of(engine), f"engines/{engine}/versions.py"
    if module is None:
        yield f"{path}: is missing"
        return
    supported = getattr(module, "SUPPORTED", ())
    if not supported or len(set(supported)) < len(supported):
        yield f"{path}: SUPPORTED has to name each version that has an image, once"
    suites = getattr(module, "DEBIAN_SUITES", None)
    if suites is None:
        yield f"{path}: has no DEBIAN_SUITES"
    if stale := set(suites or ()) - set(supported):
        yield f"{path}: DEBIAN_SUITES names {stale}, which SUPPORTED does not"


def dockerfile(engine: str) -> Iterator[str]:
    path = f"engines/{engine}/Dockerfile"
    if not (text := read(path)):
        yield f"{path}: is missing"
        return
    supported = {str(one) for one in getattr(versions_of(engine), "SUPPORTED", ())}
    defaults = set(re.findall(r"^ARG DATABASE_VERSION=(\S+)$", text, re.MULTILINE))
    if len(defaults) != 1 or not defaults <= supported:
        yield (
            f"{path}: needs one default of ARG DATABASE_VERSION, of {sorted(supported)}; "
            f"has {sorted(defaults)}"
        )


def images_page(engine: str) -> Iterator[str]:
    if not (built := images_of(engine)):
        yield f"release/images.py: makes no image of {engine}"
    for image in built:
        if f"| `{image.name('<prefix>', '<release>')}` |" not in read("docs/images.md"):
            yield f"docs/images.md: has no row for {image.key}"
    if engine not in PROGRAMS:
        yield f"tests/release/test_all_images.py: {engine} is not in PROGRAMS"


def bench(engine: str) -> Iterator[str]:
    if engine not in benches():
        yield f"tests/contract: no suite has {engine} in its BENCHES"


def environment(engine: str) -> Iterator[str]:
    needed = ENGINE_IMAGES.get(engine)
    if needed is None:
        yield f"testenv/deploy.py: {engine} is not in ENGINE_IMAGES"
    elif needed not in {image.key for image in images_of(engine)}:
        yield f"testenv/deploy.py: {engine} needs the image {needed}, which no build makes"


def configuration(engine: str) -> Iterator[str]:
    if not configuration_row(engine):
        yield f"docs/configuration.md: the table of spec has no row {engine}"
    if not configuration_section(engine):
        yield f"docs/configuration.md: has no section spec.{engine}"


def example(engine: str) -> Iterator[str]:
    pattern = re.compile(rf"^ *databaseType: {engine}$", re.MULTILINE)
    if not any(pattern.search(file.read_text()) for file in (ROOT / "docs/examples").glob("*")):
        yield f"docs/examples: no manifest has databaseType: {engine}"


def page(engine: str) -> Iterator[str]:
    name = f"{engine}.md"
    if not read(f"docs/{name}"):
        yield f"docs/{name}: is missing"
    if name not in dict(map(reversed, nav())):
        yield f"properdocs.yml: {name} is not in nav"
    if f"](docs/{name})" not in read("README.md"):
        yield f"README.md: the table of the documentation has no docs/{name}"


def told(engine: str) -> Iterator[str]:
    for place, is_served in claims(engine).items():
        if not is_served:
            yield f"{place}: does not say that there is an engine {engine}"
    for sentence in re.split(r"(?<=[.:])\s", read("docs/migration.md")):
        if f"`{engine}`" in sentence and "no engine yet" in sentence:
            yield f"docs/migration.md: says that {engine} has no engine yet"
    if section_type(engine) and title(engine) in re.split(r"[;,.]\s*", unreleased("Not yet")):
        yield f"CHANGELOG.md: {engine} is not there yet, by the list of the next release"


def claims(engine: str) -> Mapping[str, bool]:
    """Place -> whether it tells people that there is an engine, and not that there is none."""
    section = section_type(engine)
    name = title(engine) if section else engine
    meaning = configuration_row("databaseType").split("|")[5:6] or [""]
    sentences = re.split(r"(?<=\.) ", meaning[0].strip())
    status = re.findall(
        r"^\| (works|not yet)[^|]* \| (.*Engines?:.*)", read("README.md"), re.MULTILINE
    )
    works = " ".join(text for kind, text in status if kind == "works")
    not_yet = " ".join(text for kind, text in status if kind == "not yet")
    return {
        "controller/api/databases.py, docstring of the section": (
            section is not None and NONE_YET not in " ".join((section.__doc__ or "").split())
        ),
        "docs/configuration.md, row databaseType": (
            f"`{engine}`" in sentences[0]
            and not any(f"`{engine}`" in one and "no engine" in one for one in sentences)
        ),
        f"docs/configuration.md, row {engine}": (
            (row := configuration_row(engine)) != "" and "Not yet" not in row
        ),
        f"docs/configuration.md, section spec.{engine}": (
            (text := configuration_section(engine)) != "" and NONE_YET not in text
        ),
        "README.md, What works today": (has_word(name, works) and not has_word(name, not_yet)),
    }


def has_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


PLACES: Mapping[str, Callable[[str], Iterator[str]]] = {
    "api": api,
    "crd": crd,
    "folder": folder,
    "versions": versions,
    "dockerfile": dockerfile,
    "images": images_page,
    "bench": bench,
    "testenv": environment,
    "configuration": configuration,
    "example": example,
    "page": page,
    "told": told,
}


# -- The tests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", registry.names())
@pytest.mark.parametrize("place", PLACES)
def test_a_registered_engine_lacks_nothing(place: str, engine: str) -> None:
    missing = list(PLACES[place](engine))

    if engine in STILL_LACKING.get(place, ()):
        assert missing, f"it is there now: take {engine} out of STILL_LACKING[{place!r}]"
        pytest.xfail("; ".join(missing))
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_nowhere_is_missed_in_every_place(place: str) -> None:
    """What is proven of each place: that it can fail, and by which name."""
    missing = list(PLACES[place]("nowhere"))

    assert missing
    assert all("nowhere" in one for one in missing)


def test_a_section_without_an_engine_is_listed_and_told_as_one() -> None:
    unserved = set(ENGINE_BLOCKS) - set(registry.names())

    assert not unserved - set(NOT_SERVED), (
        "register an engine, or say in NOT_SERVED why there is none"
    )
    assert not set(NOT_SERVED) - unserved, "there is an engine now: take it out of NOT_SERVED"
    for engine in unserved:
        claimed = [place for place, is_served in claims(engine).items() if is_served]
        assert not claimed, f"there is no engine {engine}; who reads this believes so: {claimed}"


def test_the_definition_has_the_engines_of_the_api_and_no_other() -> None:
    fields = definition()["properties"]

    assert set(ENGINE_BLOCKS) == set(fields["databaseType"]["enum"])
    assert set(ENGINE_BLOCKS) <= set(fields)


def test_nothing_is_left_of_an_engine_that_is_not_registered() -> None:
    found = {
        "Dockerfiles in engines": {path.parent.name for path in ROOT.glob("engines/*/Dockerfile")},
        "BENCHES in tests/contract": benches(),
        "ENGINE_IMAGES in testenv/deploy.py": set(ENGINE_IMAGES),
    }
    known = set(registry.names())

    assert not {place: names - known for place, names in found.items() if names - known}


def test_the_controller_s_chart_names_no_engine_so_that_a_new_one_needs_no_value() -> None:
    words = {*ENGINE_BLOCKS, *registry.names()}
    # As a word, and as one of those that a name in camel case is made of.
    names = re.compile(
        rf"(?<![A-Za-z])({'|'.join(words)})(?![a-z])|({'|'.join(map(str.title, words))})(?![a-z])"
    )
    files = [CHART / "values.yaml", CHART / "values.schema.json", *CHART.glob("templates/*")]

    named = {file.name: names.findall(file.read_text()) for file in files}

    assert len(files) > 10
    assert not {name: found for name, found in named.items() if found}


def test_the_page_settles_every_place_in_a_step() -> None:
    settled = re.findall(r'-k "?NAME and \(?([a-z or]+)', read("docs/adding-an-engine.md"))

    assert set(PLACES) == {place for one in settled for place in one.split(" or ")}
