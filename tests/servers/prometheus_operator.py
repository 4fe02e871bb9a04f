"""The definitions of the Prometheus operator's kinds that the chart makes objects of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.servers.cache import cache_dir
from tests.servers.provider import ServerMissing

GROUP = "monitoring.coreos.com"
PLURALS = ("podmonitors", "prometheusrules", "servicemonitors")
VARIABLE = "DB_BACKUP_TEST_PROMETHEUS_OPERATOR"
_FOLDER = "prometheus-operator"


def crds() -> list[dict[str, Any]]:
    """As its project publishes them; raises ServerMissing."""
    folder = Path(os.environ.get(VARIABLE) or cache_dir() / _FOLDER)
    try:
        return [yaml.safe_load(_file(folder, plural).read_text()) for plural in PLURALS]
    except FileNotFoundError as error:
        raise ServerMissing(f"no definitions of the Prometheus operator: {error}") from error


def unpack(module: Path) -> None:
    """Take them out of the sources of the operator."""
    folder = cache_dir() / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    published = module / "example" / "prometheus-operator-crd"
    for plural in PLURALS:
        shutil.copyfile(_file(published, plural), _file(folder, plural))


def _file(folder: Path, plural: str) -> Path:
    """By the name that its project gives it."""
    return folder / f"{GROUP}_{plural}.yaml"
