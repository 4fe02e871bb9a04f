"""The chart of a release: packaged with its version and its images' place, and pushed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from release.version import VERSION
from tests.servers.helm import CHART, find_helm
from tests.servers.provider import HOW_TO_GET, ServerMissing

#: The one line of values.yaml that a release fills in.
_NO_REPO = re.compile(r'^  repo: ""$', re.MULTILINE)


class ChartRefused(click.ClickException):
    """Helm refuses what it was given, and says why."""


def package(version: str, image_repo: str, folder: Path) -> Path:
    """Write the chart's archive into a folder, and say where.

    Who installs a release names no image: the chart has them, and its version
    is that of all of them.

    Args:
        version: as of `release.version`.
        image_repo: of the controller, as of the value `image.repo`.
    Raises:
        ChartRefused: the version or the name is not of their form.
        ServerMissing: there is no helm.
    """
    if not VERSION.fullmatch(version):
        raise ChartRefused(f"VERSION={version}: such as 1.2.3, 1.2.3-rc.1 or 1.2.3-g56789ab")
    if not image_repo:
        raise ChartRefused("IMAGE_PREFIX is empty: the chart has to name its images")
    with tempfile.TemporaryDirectory(prefix="chart-") as name:
        chart = Path(name) / CHART.name
        shutil.copytree(CHART, chart)
        values = chart / "values.yaml"
        text, count = _NO_REPO.subn(f'  repo: "{image_repo}"', values.read_text())
        if count != 1:
            raise ChartRefused(f"{values.name}: image.repo is not one empty text")
        values.write_text(text)
        _helm("lint", "--strict", "--quiet", str(chart))
        versions = ("--version", version, "--app-version", version)
        _helm("package", str(chart), *versions, "--destination", str(folder))
    return folder / f"{CHART.name}-{version}.tgz"


def push(archive: Path, registry: str) -> None:
    """Push an archive; its name and version become those of the reference.

    Args:
        registry: with the folder of charts and without scheme; credentials are those of Docker.
    """
    _helm("push", str(archive), f"oci://{registry}")


def _helm(*arguments: str) -> None:
    done = subprocess.run([find_helm(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartRefused(f"helm {arguments[0]}: {(done.stdout + done.stderr).strip()}")


@click.command()
@click.option("--version", required=True, help="As `make version` tells it.")
@click.option("--image-repo", required=True, help="The controller's image, without tag.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the archive.")
@click.option("--push", "registry", default="", help="Push it into this folder of a registry.")
def command(version: str, image_repo: str, folder: Path, registry: str) -> None:
    """Package the chart, and push it if a registry is named."""
    try:
        archive = package(version, image_repo, folder)
        click.echo(archive)
        if registry:
            push(archive, registry)
            click.echo(f"oci://{registry}/{CHART.name}:{version}")
    except ServerMissing as missing:
        raise click.ClickException(f"{missing}; to get it: {HOW_TO_GET}") from missing


if __name__ == "__main__":
    command()
