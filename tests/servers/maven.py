"""Files of Maven Central, each held against a hash that is written down here."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from tests.servers.apt import Impossible

_CENTRAL = "https://repo1.maven.org/maven2"
_SILENCE_S = 60.0
_BLOCK_BYTES = 1 << 20


def download(group: str, artifact: str, version: str, sha256: str, file: Path) -> None:
    """Download an artifact's jar, from the mirror that MAVEN_MIRROR names if it names one.

    Raises: Impossible, and what came is no file then.
    """
    mirror = os.environ.get("MAVEN_MIRROR", _CENTRAL).rstrip("/")
    name = f"{artifact}-{version}.jar"
    url = f"{mirror}/{group.replace('.', '/')}/{artifact}/{version}/{name}"
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE_S) as answer, file.open("wb") as kept:
            while block := answer.read(_BLOCK_BYTES):
                digest.update(block)
                kept.write(block)
    except (OSError, http.client.HTTPException) as error:
        file.unlink(missing_ok=True)
        raise Impossible(f"{name} of Maven Central did not come: {error}") from error
    if digest.hexdigest() != sha256:
        file.unlink()
        raise Impossible(f"{name} of Maven Central is not the one that is expected, by its hash")
