"""Derived passphrases, against HKDF as RFC 5869 writes it down, and against openssl."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from controller.api.secrets import Secret
from runner.crypto.derivation import derive


def by_the_book(passphrase: str, use: str) -> str:
    """Extract with an empty salt, then expand to one block."""
    key = hmac.digest(b"\0" * 32, passphrase.encode(), hashlib.sha256)
    block = hmac.digest(key, use.encode() + b"\1", hashlib.sha256)
    return base64.urlsafe_b64encode(block).decode().rstrip("=")


@given(st.text(min_size=1, max_size=80), st.text(max_size=60))
def test_it_is_hkdf(passphrase: str, use: str) -> None:
    assert derive(Secret(passphrase), use).reveal() == by_the_book(passphrase, use)


def test_each_use_has_its_own() -> None:
    passphrase = Secret("correct horse")
    uses = ["cockroach/a", "cockroach/b", "cockroach", ""]

    assert len({derive(passphrase, use).reveal() for use in uses}) == len(uses)


def test_openssl_derives_the_same(tmp_path: Path) -> None:
    if not shutil.which("openssl") or not shutil.which("xxd"):
        pytest.skip("openssl or xxd is missing: apt install openssl xxd")
    (tmp_path / "pass").write_text("correct horse")
    use = "cockroach/2026-11-26T01-00-00Z-5f0c"
    (command,) = [
        part.replace("USE", use)
        for part in (derive.__doc__ or "").split("\n\n")
        if "openssl kdf" in part
    ]

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == derive(Secret("correct horse"), use).reveal()
