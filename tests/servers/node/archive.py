"""An image of one program, made without a container engine."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

#: As images call the kinds of machines.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def of_program(program: Path, *, name: str) -> bytes:
    """An archive as `docker save` writes it, of an image with a static program and nothing else.

    Args:
        name: of the image, with its tag.
    """
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    content = json.dumps(config).encode()
    digest = hashlib.sha256(content).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            f"{digest}.json": content,
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        },
        mode=0o644,
    )


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()
