"""The version of what a commit makes. Run by `make`, on a Python without any package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What chart, images and processes are named by: a semantic version, without `+`, which no tag of
#: an image may have. `controller/api/version.py` makes the same of the distribution's version.
VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-rc\.(0|[1-9]\d*))?"  # a candidate
    r"(-g[0-9a-f]{7,40})?"  # a commit after it
)
_FORM = "a release is v1.2.3, and a candidate v1.2.3-rc.1"


class NoVersion(Exception):
    """What there is gives none; the text has the cure."""


def of_commit(described: str) -> str:
    """Make the version of what `git describe --tags --always` says.

    ``v1.2.3`` is 1.2.3, four commits later ``v1.2.3-4-g56789ab`` is
    1.2.3-g56789ab, and ``56789ab``, before the first tag, 0.0.0-g56789ab.

    Raises:
        NoVersion: the tag is of another form.
    """
    if re.fullmatch(r"[0-9a-f]{7,40}", described):
        return f"0.0.0-g{described}"
    version = re.sub(r"-\d+(-g[0-9a-f]+)$", r"\1", described.removeprefix("v"))
    if not described.startswith("v") or not VERSION.fullmatch(version):
        raise NoVersion(f"tag {described}: {_FORM}")
    return version


def current(folder: Path = ROOT) -> str:
    """Ask git about what is checked out.

    Raises:
        NoVersion: no repository, or one whose tags may be missing.
    """
    if _git(folder, "rev-parse", "--is-shallow-repository") == "true":
        raise NoVersion("a shallow clone, which may lack the tags: git fetch --unshallow --tags")
    # A tag that is no version, of a nightly build say, is none of ours.
    return of_commit(_git(folder, "describe", "--tags", "--always", "--match", "v[0-9]*"))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise NoVersion("no git here; say which version it is: VERSION=1.2.3") from None
    if done.returncode:
        why = done.stderr.strip().partition("\n")[0]
        raise NoVersion(f"{why}; say which version it is: VERSION=1.2.3")
    return done.stdout.strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{current()}\n")
    except NoVersion as error:
        sys.exit(f"version: {error}")
