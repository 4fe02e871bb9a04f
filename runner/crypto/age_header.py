"""The header of an age file: stanzas, each with the file key for somebody, and their seal.

What a stanza's body means is said where keys are wrapped, in `age`.

Source: https://age-encryption.org/v1 (C2SP/age.md).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator, Sequence

from attrs import frozen
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controller.api.errors import ChecksumMismatch, FormatError, TruncatedBackup

_INTRO = b"age-encryption.org/v1\n"
#: A header is a few lines; more than this is an attack or not an age file.
MAX_HEADER_BYTES = 64 * 1024


@frozen
class Stanza:
    arguments: tuple[bytes, ...]
    body: bytes

    @property
    def kind(self) -> bytes:
        return self.arguments[0]


@frozen
class Header:
    stanzas: tuple[Stanza, ...]
    signed: bytes
    mac: bytes

    def check(self, file_key: bytes) -> None:
        if not hmac.compare_digest(_header_mac(file_key, self.signed), self.mac):
            raise ChecksumMismatch("the age file's header fails authentication")


def read_header(source: Iterator[bytes]) -> tuple[Header, bytes]:
    """Read up to the MAC line; returns the header and what follows it of the last chunk."""
    text = bytearray()
    end = -1
    while end < 0:
        if len(text) > MAX_HEADER_BYTES:
            raise FormatError("not an age file: no end of its header found")
        chunk = next(source, None)
        if chunk is None:
            raise TruncatedBackup("the age file ends within its header")
        text += chunk
        if not text.startswith(_INTRO[: len(text)]):
            raise FormatError("not an age file")
        mac_line = text.find(b"\n--- ", 0, MAX_HEADER_BYTES)
        end = text.find(b"\n", mac_line + 1) if mac_line >= 0 else -1
    mac = unb64(bytes(text[mac_line + 5 : end]))
    lines = bytes(text[len(_INTRO) : mac_line + 1]).split(b"\n")[:-1]
    header = Header(
        stanzas=tuple(_parse_stanzas(lines)), signed=bytes(text[: mac_line + 4]), mac=mac
    )
    return header, bytes(text[end + 1 :])


def _parse_stanzas(lines: list[bytes]) -> Iterator[Stanza]:
    position = 0
    while position < len(lines):
        if not lines[position].startswith(b"-> "):
            raise FormatError("the age file's header is malformed")
        arguments = tuple(lines[position][3:].split(b" "))
        body = b""
        while True:
            position += 1
            if position >= len(lines):
                raise FormatError("the age file's header is malformed")
            body += lines[position]
            if len(lines[position]) < 64:
                break
        position += 1
        yield Stanza(arguments, unb64(body))


def stanza(arguments: Sequence[bytes], body: bytes) -> bytes:
    text = b64(body)
    # The last line is shorter than 64, so a body that fills its lines ends with an empty one.
    lines = [text[start : start + 64] for start in range(0, len(text) + 1, 64)]
    return b"-> " + b" ".join(arguments) + b"\n" + b"\n".join(lines) + b"\n"


def seal_header(stanzas: Sequence[bytes], file_key: bytes) -> bytes:
    signed = _INTRO + b"".join(stanzas) + b"---"
    return signed + b" " + b64(_header_mac(file_key, signed)) + b"\n"


def _header_mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(hkdf(file_key, salt=b"", info=b"header"), signed, "sha256")


def hkdf(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt or None, info).derive(secret)


def b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def unb64(text: bytes) -> bytes:
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise FormatError("the age file's header is malformed") from None
    if b64(raw) != text:
        raise FormatError("the age file's header is malformed")
    return raw
