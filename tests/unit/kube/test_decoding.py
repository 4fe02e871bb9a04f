"""What an API server lets in is decoded, whatever it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from controller.kube.decoding import decode


def levels_of(value: Any) -> int:
    levels = 0
    while value is not None:
        (value,) = value.values() if isinstance(value, dict) else value
        levels += 1
    return levels


@pytest.mark.parametrize(("begin", "end"), [(b'{"a":', b"}"), (b"[", b"]")])
@pytest.mark.parametrize("levels", [1500, 9999])
def test_what_no_decoder_follows_is_cut(begin: bytes, end: bytes, levels: int) -> None:
    deep = begin * levels + b"{}" + end * levels

    found = decode(b'{"items":[1,' + deep + b',"after"],"text":"[{\\"]}"}')

    one, cut, after = found.pop("items")
    assert (one, after, found) == (1, "after", {"text": '[{"]}'})
    assert levels_of(cut) == 254


def test_what_is_decoded_is_as_it_was() -> None:
    raw = {"a": [{"b": [[], {}]}, "}]", None, 1.5, True]}

    assert decode(orjson.dumps(raw)) == raw


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b"]" * 2000, b"[" * 2000])
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        decode(data)
