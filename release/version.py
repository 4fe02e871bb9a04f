"""The version of what a commit makes. Run by `make`, on a Python without any package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: What chart, images and processes are named by: a semantic version that is also a tag of an image.
#: After its first `-` is what Python calls the local part of a version, after a `+`: a build makes
#: the one of the other, and `controller/api/version.py` turns it back.
VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-rc\.(0|[1-9]\d*)(\.g[0-9a-f]{7,40})?|-g[0-9a-f]{7,40})?"
)
_DESCRIBED = re.compile(r"v(?P<tag>.+?)(-\d+-(?P<commit>g[0-9a-f]{7,40}))?")
_FORM = "a release is v1.2.3, and a candidate v1.2.3-rc.1"


class NoVersion(Exception):
    """What there is gives none; the text has the cure."""


def describe(repository: Path, commit: str = "HEAD") -> str:
    """The version of a commit: of what is checked out, if none is named.

    Raises:
        NoVersion: no repository, or one whose tags may be missing.
    """
    if _git(repository, "rev-parse", "--is-shallow-repository") == "true":
        raise NoVersion("a shallow clone, which may lack the tags: git fetch --unshallow --tags")
    # A tag that is no version, of a nightly build say, is none of ours.
    return release_of(
        _git(repository, "describe", "--tags", "--always", "--match", "v[0-9]*", commit)
    )


def release_of(described: str) -> str:
    """Make the version of what `git describe --tags --always` says.

    ``v1.2.3`` is 1.2.3, four commits later ``v1.2.3-4-g56789ab`` is
    1.2.3-g56789ab, and ``56789ab``, before the first tag, 0.0.0-g56789ab.

    Raises:
        NoVersion: the tag is of another form.
    """
    if re.fullmatch(r"[0-9a-f]{7,40}", described):
        return f"0.0.0-g{described}"
    found = _DESCRIBED.fullmatch(described)
    version = found["tag"] if found else ""
    if found and found["commit"]:
        version += ("." if "-" in version else "-") + found["commit"]
    if not VERSION.fullmatch(version):
        raise NoVersion(f"tag {described}: {_FORM}")
    return version


def revision(repository: Path) -> str:
    """The commit that is checked out, 40 hex digits.

    Raises:
        NoVersion: no repository.
    """
    return _git(repository, "rev-parse", "HEAD")


def with_changes(repository: Path) -> str:
    """A commit of what lies there: changed files too, though not those that git does not know.

    Without a name of its own an image of changes would be taken for the one that is there.

    Raises:
        NoVersion: no repository.
    """
    # It is kept nowhere, so nobody's name is asked for.
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    return _git(repository, *nobody, "stash", "create") or "HEAD"


def _git(repository: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise NoVersion("no git here; say which version it is: VERSION=1.2.3") from None
    if done.returncode:
        why = done.stderr.strip().partition("\n")[0]
        raise NoVersion(f"{why}; say which version it is: VERSION=1.2.3")
    return done.stdout.strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{describe(Path(__file__).parents[1])}\n")
    except NoVersion as error:
        sys.exit(f"version: {error}")
