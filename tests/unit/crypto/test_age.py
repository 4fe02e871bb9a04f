"""runner.crypto.age against pyrage and the standard `age`, both ways, and against damage."""

import io
import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, strategies as st

from controller.api.errors import (
    ChecksumMismatch,
    FormatError,
    IntegrityError,
    NoKey,
    TruncatedBackup,
)
from controller.api.secrets import Secret
from runner.crypto import age

BLOCK = age.BLOCK_BYTES
SIZES = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 17)


def encrypt(data: bytes, identity: age.Identity, *, step: int = 100_000) -> bytes:
    encryptor = age.Encryptor(identity.public_bytes())
    out = [encryptor.update(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join([*out, encryptor.finish()])


def decrypt(data: bytes, identity: age.Identity, *, step: int = 70_000) -> bytes:
    chunks = (data[at : at + step] for at in range(0, len(data), step))
    return b"".join(age.decrypt(chunks, identity))


def text(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_reads_what_the_encryptor_wrote(size: int) -> None:
    identity = age.Identity.generate()

    stored = encrypt(text(size), identity)

    theirs = pyrage.x25519.Identity.from_str(identity.secret_text().reveal())
    assert text(size) == pyrage.decrypt(stored, [theirs])


@pytest.mark.parametrize("size", SIZES)
def test_decrypt_reads_what_pyrage_wrote(size: int) -> None:
    theirs = pyrage.x25519.Identity.generate()
    out = io.BytesIO()
    pyrage.encrypt_io(io.BytesIO(text(size)), out, [theirs.to_public()])

    identity = age.Identity.parse(Secret(str(theirs)))

    assert text(size) == decrypt(out.getvalue(), identity)


@given(size=st.integers(0, 4 * BLOCK), write=st.integers(1, BLOCK * 2), read=st.integers(1, BLOCK))
def test_chunking_does_not_matter(size: int, write: int, read: int) -> None:
    identity = age.Identity.generate()

    stored = encrypt(text(size), identity, step=max(write, 500))

    assert text(size) == decrypt(stored, identity, step=max(read, 500))


def test_pyrage_reads_a_passphrase_file() -> None:
    stored = age.encrypt_with_passphrase(b"the key", Secret("correct horse"))

    assert pyrage.passphrase.decrypt(stored, "correct horse") == b"the key"


def test_any_of_several_passphrases_opens() -> None:
    stored = age.encrypt_with_passphrase(b"the key", Secret("old"))

    assert age.decrypt_with_passphrases(stored, [Secret("new"), Secret("old")]) == b"the key"


def test_wrong_passphrase_names_the_cure_and_no_secret() -> None:
    stored = age.encrypt_with_passphrase(b"the key", Secret("old"))

    with pytest.raises(NoKey, match="previousEncryptionPasses") as caught:
        age.decrypt_with_passphrases(stored, [Secret("canary-passphrase")])

    assert "canary" not in repr(caught.value)


def test_empty_passphrase_is_refused() -> None:
    with pytest.raises(FormatError, match="empty"):
        age.encrypt_with_passphrase(b"the key", Secret(""))


def test_recipients_open_and_others_do_not() -> None:
    identity, other = age.Identity.generate(), age.Identity.generate()
    recipient = pyrage.x25519.Identity.from_str(identity.secret_text().reveal()).to_public()

    stored = age.encrypt_to_recipients(b"the key", [str(recipient)])

    assert age.decrypt_with_identity(stored, identity) == b"the key"
    with pytest.raises(NoKey):
        age.decrypt_with_identity(stored, other)


def test_unreadable_recipient_is_named() -> None:
    with pytest.raises(FormatError, match="age1nonsense"):
        age.encrypt_to_recipients(b"the key", ["age1nonsense"])


@pytest.mark.parametrize("log_n", [19, 20, 30])
def test_a_work_factor_that_needs_more_memory_than_a_runner_has_is_refused(log_n: int) -> None:
    stored = age.encrypt_with_passphrase(b"the key", Secret("p"))
    costly = stored.replace(b" 15\n", f" {log_n}\n".encode(), 1)

    with pytest.raises(FormatError, match=rf"2\^{log_n}"):
        age.decrypt_with_passphrases(costly, [Secret("p")])


def test_the_work_factor_of_age_itself_is_computed() -> None:
    stored = age.encrypt_with_passphrase(b"the key", Secret("p"))

    with pytest.raises(NoKey):  # it was wrapped with another one
        age.decrypt_with_passphrases(stored.replace(b" 15\n", b" 18\n", 1), [Secret("p")])


@pytest.mark.parametrize("keep", [0, 1, 30, 150, 215, 220, 240, BLOCK, BLOCK + 400, 2 * BLOCK])
def test_every_cut_is_noticed(keep: int) -> None:
    identity = age.Identity.generate()
    stored = encrypt(text(2 * BLOCK + 5), identity)

    with pytest.raises(IntegrityError):
        decrypt(stored[:keep], identity)


def test_cut_between_two_blocks_is_called_truncated() -> None:
    identity = age.Identity.generate()
    stored = encrypt(text(2 * BLOCK + 5), identity)
    last_block = 5 + 16

    with pytest.raises(TruncatedBackup):
        decrypt(stored[:-last_block], identity)


def test_appended_bytes_are_noticed() -> None:
    identity = age.Identity.generate()

    with pytest.raises(ChecksumMismatch):
        decrypt(encrypt(text(10), identity) + b"x", identity)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(position: float, bit: int) -> None:
    identity = age.Identity.generate()
    stored = bytearray(encrypt(text(BLOCK + 100), identity))
    stored[int(position * len(stored))] ^= 1 << bit

    with pytest.raises(IntegrityError):
        decrypt(bytes(stored), identity)


@given(st.binary(max_size=300))
def test_garbage_ends_in_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decrypt(data, age.Identity.generate())


@given(st.binary(max_size=300))
def test_garbage_after_the_intro_ends_in_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decrypt(b"age-encryption.org/v1\n" + data, age.Identity.generate())


def test_another_backups_stream_is_refused() -> None:
    stored = encrypt(b"other", age.Identity.generate())

    with pytest.raises(NoKey, match="another backup"):
        decrypt(stored, age.Identity.generate())


@pytest.mark.skipif(not shutil.which("age"), reason="needs age: make test-servers")
def test_standard_age_reads_a_stream(tmp_path: Path) -> None:
    identity = age.Identity.generate()
    (tmp_path / "key").write_text(identity.secret_text().reveal() + "\n")
    (tmp_path / "stream.age").write_bytes(encrypt(text(3 * BLOCK), identity))

    plain = subprocess.run(
        ["age", "-d", "-i", "key", "stream.age"], cwd=tmp_path, capture_output=True, check=True
    )

    assert text(3 * BLOCK) == plain.stdout
