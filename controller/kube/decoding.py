"""JSON from an API server, also from one that lets in what no decoder follows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

#: An API server takes objects that are nested ten times as deep as the decoder goes.
_MAX_LEVELS = 256
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def decode(data: bytes) -> Any:
    """Decode; what is nested deeper than 256 levels becomes null.

    One object of that kind would keep everybody from reading the list that it
    is in: whoever may write one could stop a controller.

    Raises: orjson.JSONDecodeError for what is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        cut = b"".join(_cut(data))
        if len(cut) == len(data):
            raise
        return orjson.loads(cut)


def _cut(data: bytes) -> Iterator[bytes]:
    levels, kept = 0, 0
    for token in _TOKEN.finditer(data):
        match token[0]:
            case b"{" | b"[":
                levels += 1
                if levels == _MAX_LEVELS + 1:
                    yield data[kept : token.start()]
            case b"}" | b"]":
                if levels == _MAX_LEVELS + 1:
                    yield b"null"
                    kept = token.end()
                levels -= 1
    yield data[kept:]
