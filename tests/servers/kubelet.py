"""The one thing of a kubelet that tests and the demo need: how it publishes a volume's files."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def mount(
    projected: Mapping[str, Any], found: Mapping[str, Mapping[str, bytes]], folder: Path
) -> None:
    """Publish a projected volume of Secrets in a folder; again, for what changed since.

    All files appear at once: they are in a folder of their own to which the link
    ``..data`` points, and what people see are links through it.

    Args:
        projected: the volume, of a pod's spec.
        found: the namespace's Secrets: name -> key -> content.
    """
    publication = folder / f"..{secrets.token_hex(6)}"
    for source in projected["sources"]:
        secret = source["secret"]
        data = found.get(secret["name"])
        if data is None and not secret.get("optional"):
            raise FileNotFoundError(f"Secret {secret['name']}")
        items = secret.get("items") or [{"key": key, "path": key} for key in data or ()]
        for item in items:
            if data is not None and item["key"] in data:
                file = publication / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data[item["key"]])
                file.chmod(projected["defaultMode"])
    link = folder / "..data"
    old = link.resolve() if link.is_symlink() else None
    new = folder / "..data_tmp"
    new.symlink_to(publication.name)
    new.rename(link)
    for entry in publication.iterdir():
        shown = folder / entry.name
        if not shown.is_symlink():
            shown.symlink_to(Path("..data") / entry.name)
    if old is not None:
        shutil.rmtree(old)
