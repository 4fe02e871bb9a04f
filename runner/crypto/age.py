"""The age format, v1: streams for one X25519 key, small files for a passphrase.

A backup's streams are encrypted for a fresh X25519 identity; that identity is
wrapped per location in a small age file, for a passphrase or for recipients.
Both are plain age files: the standard `age` reads them.

The primitives are those of `cryptography`. pyrage, which implements the format
too, wraps for recipients (age1..., ssh-...): it holds the interpreter lock and
asks for 8 KiB at a time, a quarter of the throughput on the large streams, and
its passphrase form insists on a work factor that needs 1 GiB of memory
(docs/adr/0003). Every function here is tested against it and against `age`.

Source: https://age-encryption.org/v1 (C2SP/age.md).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from controller.api.errors import ChecksumMismatch, FormatError, NoKey, TruncatedBackup
from controller.api.secrets import Secret
from runner.crypto import age_header, bech32

#: Plain bytes of a block; only the last of a payload may be shorter.
BLOCK_BYTES = 64 * 1024
_TAG_BYTES = 16
_SEALED_BYTES = BLOCK_BYTES + _TAG_BYTES
_FILE_KEY_BYTES = 16
_NONCE_BYTES = 16
#: log2 of scrypt's N for what we write: 32 MiB and a tenth of a second.
SCRYPT_LOG_N = 15
#: What we agree to compute for a file that somebody else may have written: 256 MiB, for a moment.
#: It is what `age -p` chooses, so a key file that a person made with it is read.
MAX_SCRYPT_LOG_N = 18
_X25519_INFO = b"age-encryption.org/v1/X25519"
_SCRYPT_SALT = b"age-encryption.org/v1/scrypt"
_LOG_N = re.compile(rb"[1-9][0-9]?\Z")


class Identity:
    """An X25519 identity: who holds it reads what was encrypted for it."""

    __slots__ = ("_key",)

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Identity:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: Secret) -> Identity:
        """Read ``AGE-SECRET-KEY-1...``, also amid the comments of a key file."""
        for line in text.reveal().splitlines():
            if line.startswith("AGE-SECRET-KEY-1"):
                raw = bech32.decode("age-secret-key-", line.strip().lower())
                if raw is not None and len(raw) == 32:
                    return cls(X25519PrivateKey.from_private_bytes(raw))
        raise FormatError("not an age identity: expected a line AGE-SECRET-KEY-1...")

    def secret_text(self) -> Secret:
        return Secret(bech32.encode("age-secret-key-", self._key.private_bytes_raw()).upper())

    def public_bytes(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def exchange(self, share: bytes) -> bytes:
        return self._key.exchange(X25519PublicKey.from_public_bytes(share))


class Encryptor:
    """Encrypts one stream for one X25519 key; bytes in, bytes out.

    `update` returns whole blocks only and keeps at least the last byte back,
    because the last block is marked as such: without `finish` a stream is
    recognisably cut.

    Threads: not thread-safe; one instance per stream.
    """

    def __init__(self, public_key: bytes) -> None:
        file_key = os.urandom(_FILE_KEY_BYTES)
        nonce = os.urandom(_NONCE_BYTES)
        header = age_header.seal_header([_x25519_stanza(file_key, public_key)], file_key)
        self._start = header + nonce
        self._cipher = _payload_cipher(file_key, nonce)
        self._pending = b""
        self._counter = 0

    def update(self, data: bytes) -> bytes:
        out = [self._start]
        self._start = b""
        pending = self._pending + data
        whole = max(len(pending) - 1, 0) // BLOCK_BYTES
        view = memoryview(pending)
        out += [
            self._seal(view[at : at + BLOCK_BYTES], last=False)
            for at in range(0, whole * BLOCK_BYTES, BLOCK_BYTES)
        ]
        self._pending = pending[whole * BLOCK_BYTES :]
        return b"".join(out)

    def finish(self) -> bytes:
        out = self._start + self._seal(self._pending, last=True)
        self._start = self._pending = b""
        return out

    def _seal(self, block: memoryview | bytes, *, last: bool) -> bytes:
        sealed = self._cipher.encrypt(_block_nonce(self._counter, last=last), block, None)
        self._counter += 1
        return sealed


def decrypt(chunks: Iterable[bytes], identity: Identity) -> Iterator[bytes]:
    """Yield the plain blocks of an age file; ends only at the authenticated end.

    Args:
        chunks: the file in pieces of any length; consumed once.
    Raises:
        TruncatedBackup: the file ends early. Blocks yielded before are authentic.
        ChecksumMismatch: a block was altered, or is another file's.
        FormatError: not an age file.
        NoKey: it was not encrypted for this identity.
    """
    source = iter(chunks)
    header, rest = age_header.read_header(source)
    file_key = _open_x25519(header, identity)
    while len(rest) < _NONCE_BYTES:
        chunk = next(source, None)
        if chunk is None:
            raise TruncatedBackup("the age file ends within its header")
        rest += chunk
    cipher = _payload_cipher(file_key, rest[:_NONCE_BYTES])
    yield from _open_blocks(cipher, rest[_NONCE_BYTES:], source)


def _open_blocks(
    cipher: ChaCha20Poly1305, sealed: bytes, source: Iterator[bytes]
) -> Iterator[bytes]:
    counter = 0
    for chunk in itertools.chain([b""], source):
        sealed += chunk
        # A block is known not to be the last one once a byte follows it.
        whole = max(len(sealed) - 1, 0) // _SEALED_BYTES
        if not whole:
            continue
        view = memoryview(sealed)
        yield b"".join(
            _open_block(cipher, view[at : at + _SEALED_BYTES], counter + index, last=False)
            for index, at in enumerate(range(0, whole * _SEALED_BYTES, _SEALED_BYTES))
        )
        counter += whole
        sealed = sealed[whole * _SEALED_BYTES :]
    if len(sealed) < _TAG_BYTES:
        raise TruncatedBackup("the age file ends within a block")
    last = _open_block(cipher, sealed, counter, last=True)
    if not last and counter:
        raise FormatError("the age file's last block is empty")
    yield last


def _open_block(
    cipher: ChaCha20Poly1305, sealed: memoryview | bytes, counter: int, *, last: bool
) -> bytes:
    try:
        return cipher.decrypt(_block_nonce(counter, last=last), sealed, None)
    except InvalidTag:
        if last:
            # Cut exactly between two blocks, the last one present is intact but not marked.
            try:
                cipher.decrypt(_block_nonce(counter, last=False), sealed, None)
            except InvalidTag:
                pass
            else:
                raise TruncatedBackup(f"the age file ends after block {counter}") from None
        raise ChecksumMismatch(
            f"block {counter} of the age file is damaged or cut: it fails authentication"
        ) from None


def encrypt_with_passphrase(data: bytes, passphrase: Secret) -> bytes:
    """Make a whole age file of `data` (at most a block) for a passphrase.

    Raises: FormatError if the passphrase is empty: that never means "not encrypted".
    """
    if not passphrase:
        raise FormatError("the encryption passphrase is empty")
    file_key = os.urandom(_FILE_KEY_BYTES)
    nonce = os.urandom(_NONCE_BYTES)
    salt = os.urandom(16)
    wrap = ChaCha20Poly1305(_scrypt(passphrase, salt, SCRYPT_LOG_N))
    body = wrap.encrypt(bytes(12), file_key, None)
    stanza = age_header.stanza([b"scrypt", age_header.b64(salt), str(SCRYPT_LOG_N).encode()], body)
    payload = _payload_cipher(file_key, nonce).encrypt(_block_nonce(0, last=True), data, None)
    return age_header.seal_header([stanza], file_key) + nonce + payload


def decrypt_with_passphrases(data: bytes, passphrases: Sequence[Secret]) -> bytes:
    """Open a whole small age file with the first passphrase that fits.

    Raises: NoKey, FormatError, TruncatedBackup, ChecksumMismatch.
    """
    header, rest = age_header.read_header(iter([data]))
    if len(header.stanzas) != 1 or header.stanzas[0].kind != b"scrypt":
        raise NoKey("the key file is not for a passphrase")
    if len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise TruncatedBackup("the key file ends early")
    for passphrase in passphrases:
        file_key = _open_scrypt(header, passphrase)
        if file_key is not None:
            cipher = _payload_cipher(file_key, rest[:_NONCE_BYTES])
            return b"".join(_open_blocks(cipher, rest[_NONCE_BYTES:], iter(())))
    raise NoKey(
        f"none of the {len(passphrases)} configured passphrases opens the key file: "
        "was encryptionPass changed? Add the old one to previousEncryptionPasses. Is it the "
        "class's, and the backup a controller's? Then the object's own is needed: see "
        "docs/encryption.md, The passphrase of one object"
    )


def encrypt_to_recipients(data: bytes, recipients: Sequence[str]) -> bytes:
    """Make a whole age file of `data` for recipients (age1... or ssh-... public keys).

    Raises: FormatError naming the recipient that cannot be read.
    """
    import pyrage  # noqa: PLC0415 - loaded only where recipients are used

    parsed = []
    for text in recipients:
        kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            parsed.append(kind.from_str(text))
        except pyrage.RecipientError as error:
            raise FormatError(f"not an age recipient: {text!r}") from error
    return bytes(pyrage.encrypt(data, parsed))


def decrypt_with_identity(data: bytes, identity: Identity) -> bytes:
    """Open a whole small age file that was encrypted for an X25519 recipient."""
    return b"".join(decrypt([data], identity))


def check_for_recipients(data: bytes, count: int) -> None:
    """Whether a whole small file has the form of one for `count` recipients, without their keys.

    Raises: FormatError, TruncatedBackup.
    """
    header, rest = age_header.read_header(iter([data]))
    # Some writers add a stanza for nobody, so that readers get used to unknown ones.
    if len(header.stanzas) < count or any(one.kind == b"scrypt" for one in header.stanzas):
        raise FormatError(f"the key file is not for {count} recipients")
    if len(rest) <= _NONCE_BYTES + _TAG_BYTES:
        raise TruncatedBackup("the key file ends early")


def _open_x25519(header: age_header.Header, identity: Identity) -> bytes:
    public = identity.public_bytes()
    for stanza in header.stanzas:
        if stanza.kind != b"X25519" or len(stanza.arguments) != 2:
            continue
        share = age_header.unb64(stanza.arguments[1])
        if len(share) != 32 or len(stanza.body) != _FILE_KEY_BYTES + _TAG_BYTES:
            raise FormatError("the age file's X25519 stanza is malformed")
        try:
            shared = identity.exchange(share)
            key = age_header.hkdf(shared, salt=share + public, info=_X25519_INFO)
            file_key = ChaCha20Poly1305(key).decrypt(bytes(12), stanza.body, None)
        except (InvalidTag, ValueError):
            continue
        header.check(file_key)
        return file_key
    raise NoKey("the file was not encrypted for this backup's key: is it another backup's?")


def _open_scrypt(header: age_header.Header, passphrase: Secret) -> bytes | None:
    stanza = header.stanzas[0]
    if len(stanza.arguments) != 3 or not _LOG_N.match(stanza.arguments[2]):
        raise FormatError("the key file's scrypt stanza is malformed")
    log_n = int(stanza.arguments[2])
    if log_n > MAX_SCRYPT_LOG_N:
        raise FormatError(
            f"the key file asks for scrypt with 2^{log_n} rounds, at most 2^{MAX_SCRYPT_LOG_N} "
            "are computed"
        )
    salt = age_header.unb64(stanza.arguments[1])
    if len(salt) != 16 or len(stanza.body) != _FILE_KEY_BYTES + _TAG_BYTES:
        raise FormatError("the key file's scrypt stanza is malformed")
    try:
        cipher = ChaCha20Poly1305(_scrypt(passphrase, salt, log_n))
        file_key = cipher.decrypt(bytes(12), stanza.body, None)
    except InvalidTag:
        return None
    header.check(file_key)
    return file_key


def _x25519_stanza(file_key: bytes, public_key: bytes) -> bytes:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    key = age_header.hkdf(shared, salt=share + public_key, info=_X25519_INFO)
    return age_header.stanza(
        [b"X25519", age_header.b64(share)], ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)
    )


def _payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(age_header.hkdf(file_key, salt=nonce, info=b"payload"))


def _block_nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _scrypt(passphrase: Secret, salt: bytes, log_n: int) -> bytes:
    return hashlib.scrypt(
        passphrase.reveal().encode(),
        salt=_SCRYPT_SALT + salt,
        n=1 << log_n,
        r=8,
        p=1,
        maxmem=(1 << log_n) * 8 * 128 + (1 << 20),
        dklen=32,
    )
