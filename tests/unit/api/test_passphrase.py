"""The derived passphrase is what ``openssl`` gives by the lines in the documentation."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest

from controller.api.errors import InvalidSpec
from controller.api.passphrase import (
    derive_class_key,
    derive_object_passphrase,
    derive_passphrase,
)
from controller.api.secrets import Secret


def openssl(*options: str) -> bytes:
    run = ["openssl", "kdf", "-binary", "-keylen", "32"]
    for option in options[:-1]:
        run += ["-kdfopt", option]
    return subprocess.run([*run, options[-1]], check=True, capture_output=True).stdout


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl: apt-get install openssl")
@pytest.mark.parametrize("text", ["correct horse", "Zürich ' \" \\", "x"])
def test_openssl_derives_the_same(text: str) -> None:
    derived = derive_passphrase(Secret(text), namespace="team-a", name="shop.eu")

    class_key = openssl(
        f"hexpass:{text.encode().hex()}",
        "salt:db-backup-controller/v1",
        "n:65536",
        "r:8",
        "p:1",
        "SCRYPT",
    )
    key = openssl("digest:SHA256", f"hexkey:{class_key.hex()}", "info:team-a/shop.eu", "HKDF")
    assert base64.urlsafe_b64encode(key).decode().rstrip("=") == derived.reveal()


def test_known_values_never_change() -> None:
    """Stored backups are opened by these: a change here loses them."""
    class_key = derive_class_key(Secret("correct horse battery staple"))

    assert class_key.hex() == "eba6e970b1f3739ae571f6a2c8134ff4c6d1dd8a2baf42fc5d5eb0029993eee5"
    assert (
        derive_object_passphrase(class_key, namespace="db", name="shop").reveal()
        == "1i8h2MA5o0zzOWi_dCndr6LT5McI4OKBRdfJxn_r1vs"
    )


def test_tenants_differ_and_namespace_and_name_do_not_run_together() -> None:
    class_key = bytes(32)
    keys = [("a", "b"), ("b", "a"), ("a-b", "c"), ("a", "b-c"), ("a", "bc"), ("ab", "c")]

    derived = {derive_object_passphrase(class_key, namespace=n, name=m).reveal() for n, m in keys}

    assert len(keys) == len(derived)
    for namespace, name in (("", "a"), ("a", ""), ("a/b", "c"), ("a", "b/c")):
        with pytest.raises(ValueError, match="names"):
            derive_object_passphrase(class_key, namespace=namespace, name=name)


def test_an_empty_passphrase_is_an_error() -> None:
    with pytest.raises(InvalidSpec, match="empty"):
        derive_class_key(Secret(""))


def test_the_derived_passphrase_does_not_print() -> None:
    derived = derive_object_passphrase(bytes(32), namespace="a", name="b")

    assert f"{derived}" == "<redacted>"
    assert len(derived.reveal()) == 43
