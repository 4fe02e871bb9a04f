"""`controller passphrase`: where the class's passphrase comes from, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controller.api.passphrase import derive_passphrase
from controller.api.secrets import Secret

DERIVED = derive_passphrase(Secret("canary pass"), namespace="webshop", name="shop").reveal()


def run(*options: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "controller.cli", "passphrase", *options],
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.mark.parametrize("text", [b"canary pass", b"canary pass\n"])
def test_a_pipe_and_a_file_give_the_same_without_one_newline(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "pass").write_bytes(text)

    piped = run("webshop", "shop", given=text)
    read = run("webshop", "shop", "--file", str(tmp_path / "pass"))

    for done in (piped, read):
        assert (done.returncode, done.stdout, done.stderr) == (0, DERIVED + "\n", "")


def test_a_second_newline_belongs_to_it() -> None:
    assert run("webshop", "shop", given=b"canary pass\n\n").stdout not in {"", DERIVED + "\n"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"canary\xff", "no text in UTF-8"),
        (b"canary" * 200_000, "more than 1 MiB"),
    ],
)
def test_what_is_no_passphrase_is_refused_without_its_text(given: bytes, told: str) -> None:
    done = run("webshop", "shop", given=given)

    assert (done.returncode, done.stdout) == (78, "")
    assert told in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("webshop",),
        ("webshop", "shop/eu"),
        ("Webshop", "shop"),
        ("webshop", "shop", "--file", __file__, "--class-secret", "a", "b", "c"),
        ("webshop", "shop", "--class-secret", "a/b/c"),
        ("webshop", "shop", "canary pass"),
    ],
)
def test_a_wrong_command_line_is_refused(options: tuple[str, ...]) -> None:
    done = run(*options, given=b"canary pass")

    assert (done.returncode, done.stdout) == (64, "")
