"""Bech32, as age writes its keys: BIP 173 without its limit of 90 characters."""

from __future__ import annotations

from collections.abc import Iterable

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    words = _regroup(data, 8, 5, pad=True) or []
    check = _polymod([*_expand(prefix), *words, 0, 0, 0, 0, 0, 0]) ^ 1
    words += [(check >> 5 * (5 - index)) & 31 for index in range(6)]
    return prefix + "1" + "".join(_ALPHABET[word] for word in words)


def decode(prefix: str, text: str) -> bytes | None:
    """The bytes of `text`, lower case; None if it is not Bech32 with this prefix."""
    head, _, tail = text.rpartition("1")
    if head != prefix or len(tail) < 6 or any(char not in _ALPHABET for char in tail):
        return None
    words = [_ALPHABET.index(char) for char in tail]
    if _polymod([*_expand(prefix), *words]) != 1:
        return None
    regrouped = _regroup(words[:-6], 5, 8, pad=False)
    return None if regrouped is None else bytes(regrouped)


def _expand(prefix: str) -> list[int]:
    return [*(ord(char) >> 5 for char in prefix), 0, *(ord(char) & 31 for char in prefix)]


def _polymod(words: Iterable[int]) -> int:
    check = 1
    for word in words:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATOR):
            check ^= generator if (top >> bit) & 1 else 0
    return check


def _regroup(words: Iterable[int], size: int, new_size: int, *, pad: bool) -> list[int] | None:
    """Cut a sequence of `size`-bit words into `new_size`-bit ones."""
    value = bits = 0
    out: list[int] = []
    for word in words:
        value = value << size | word
        bits += size
        while bits >= new_size:
            bits -= new_size
            out.append(value >> bits & (1 << new_size) - 1)
    if pad and bits:
        out.append(value << new_size - bits & (1 << new_size) - 1)
    elif not pad and (bits >= size or value & (1 << bits) - 1):
        return None
    return out
