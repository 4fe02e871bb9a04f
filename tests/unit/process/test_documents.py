"""Hostile and unlucky YAML: refused with the line, quickly, and without quoting it."""

from __future__ import annotations

import time

import pytest

from controller.api.errors import InvalidSpec
from controller.process.documents import MAX_BYTES, read_documents

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases and anchors"),
        ("a: &a [*a]", "aliases and anchors"),
        ("value: *canary", "aliases and anchors"),
        ("value: &canary", "aliases and anchors"),
        ("value: !canary", "tags"),
        ("value: !!python/object/apply:os.system [canary]", "tags"),
        ("value: !!binary Y2FuYXJ5", "tags"),
        ("a: 1\na: canary", "line 2, column 1: this key is there twice"),
        ("x: {a: 1, a: 2}", "this key is there twice"),
        ('a: 1\n"a": 2', "this key is there twice"),
        ("1: canary", "a key must be text"),
        ("true: canary", "a key must be text"),
        ("? [a]\n: b", "a key must be text"),
        ("<<: {a: 1}", "a key must be text"),
        ("a: " + "9" * 5000, "a number that cannot be read"),
        ("a: [canary", "is not valid YAML"),
        ("a: 'canary", "is not valid YAML"),
        ("a: b: canary", "line 1, column 5: is not valid YAML: mapping values are not allowed"),
        ("a: @canary", "is not valid YAML"),
        ("a: `canary`", "is not valid YAML"),
        ('a: "\\canary"', "is not valid YAML"),
        ("%canary\n---\n", "is not valid YAML"),
        ("a: \x00canary", "is not valid YAML"),
        ("[" * 900_000, "nested too deeply"),
        ("{a: " * 200_000, "nested too deeply"),
        ("- " * 400_000, "nested too deeply"),
        ("- a\n" * 60_000, "too long"),
        ("---\n" * 60_000, "too long"),
        ("a" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
    ],
)
def test_what_no_manifest_needs_is_refused(text: str, says: str) -> None:
    started = time.monotonic()

    with pytest.raises(InvalidSpec) as refused:
        read_documents(text.encode())

    assert says in str(refused.value)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert time.monotonic() - started < 5


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="UTF-8"):
        read_documents(b"a: \xff\xfe")


def test_documents_come_as_jsons_types() -> None:
    text = (
        "a: 1\nb: [x, true, 1.5, null]\nday: 2024-01-02\ntime: 2024-01-02T03:04:05Z\n---\n---\nc: d"
    )

    assert read_documents(b"\xef\xbb\xbf" + text.encode()) == [
        {
            "a": 1,
            "b": ["x", True, 1.5, None],
            "day": "2024-01-02",
            "time": "2024-01-02T03:04:05Z",
        },
        {"c": "d"},
    ]
    assert read_documents(b"") == []
