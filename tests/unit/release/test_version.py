"""From a commit to the word that chart, images and processes are named by."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.version import Version

from controller.api.version import released
from release.version import VERSION, NoVersion, describe, release_of, revision, with_changes

MADE = {
    "v1.2.3": "1.2.3",
    "v10.0.21": "10.0.21",
    "v1.2.3-4-g56789ab": "1.2.3-g56789ab",
    "v1.3.0-rc.1": "1.3.0-rc.1",
    "v1.3.0-rc.1-12-g56789ab": "1.3.0-rc.1.g56789ab",
    "56789ab": "0.0.0-g56789ab",
    "0123456": "0.0.0-g0123456",
}


@pytest.mark.parametrize("described", MADE)
def test_a_commit_is_called_after_the_tag_before_it(described: str) -> None:
    version = release_of(described)

    assert version == MADE[described]
    assert VERSION.fullmatch(version)


@pytest.mark.parametrize("version", MADE.values())
def test_what_is_built_of_it_tells_the_same_version(version: str) -> None:
    """An image's build makes a distribution of it, whose versions have a `+` there."""
    assert released(str(Version(version.replace("-", "+", 1)))) == version


def test_a_checkout_tells_the_same_version() -> None:
    """As setuptools-scm names a distribution after a tag."""
    for described, version in (("1.3.0rc1", "1.3.0-rc.1"), ("1.3.0rc1+g5678", "1.3.0-rc.1.g5678")):
        assert released(str(Version(described))) == version


@pytest.mark.parametrize(
    "described",
    ["v1.2", "v1.2.3.4", "1.2.3", "v1.2.3-beta.1", "v01.2.3", "v1.2.3-rc1", "v1.2-4-g56789ab", ""],
)
def test_a_tag_of_another_form_is_refused_with_the_form(described: str) -> None:
    with pytest.raises(NoVersion, match=r"a release is v1\.2\.3"):
        release_of(described)


@pytest.mark.parametrize("distribution", ["0.0.1.dev243", "1.2", "1.2.3.post1", "unknown"])
def test_what_is_no_release_is_told_as_it_is(distribution: str) -> None:
    assert released(distribution) == distribution


Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository with one commit, and nothing of the settings of who runs the tests."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    # A repository around this one would be asked otherwise.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "--quiet")
    run("commit", "--quiet", "--allow-empty", "--message=first")
    return run


def test_git_is_asked_for_the_newest_release(git: Git, tmp_path: Path) -> None:
    git("tag", "nightly")  # of no version
    assert describe(tmp_path) == f"0.0.0-g{git('rev-parse', '--short', 'HEAD')}"
    git("tag", "v1.2.3")
    assert describe(tmp_path) == "1.2.3"
    git("commit", "--quiet", "--allow-empty", "--message=second")
    assert describe(tmp_path) == f"1.2.3-g{git('rev-parse', '--short', 'HEAD')}"
    git("tag", "--annotate", "v1.3.0", "--message=a release")
    assert describe(tmp_path) == "1.3.0"
    assert revision(tmp_path) == git("rev-parse", "HEAD")


def test_changes_have_a_version_of_their_own(git: Git, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "--message=second")
    git("tag", "v1.2.3")
    assert describe(tmp_path, with_changes(tmp_path)) == "1.2.3"

    (tmp_path / "a").write_text("2")

    assert describe(tmp_path, with_changes(tmp_path)).startswith("1.2.3-g")
    assert describe(tmp_path) == "1.2.3"
    assert git("stash", "list") == "", "nothing is put away"


def test_a_shallow_clone_has_no_version(git: Git, tmp_path: Path) -> None:
    """It would pass for one from before the first tag."""
    git("commit", "--quiet", "--allow-empty", "--message=second")
    clone = tmp_path / "clone"
    git("clone", "--quiet", "--depth=1", f"file://{tmp_path}", str(clone))

    with pytest.raises(NoVersion, match="git fetch --unshallow --tags"):
        describe(clone)


def test_without_a_repository_somebody_has_to_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    with pytest.raises(NoVersion, match=r"VERSION=1\.2\.3"):
        describe(tmp_path)

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoVersion, match=r"VERSION=1\.2\.3"):
        describe(tmp_path)
