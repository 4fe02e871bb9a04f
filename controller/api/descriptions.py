"""What `kubectl explain` prints, from the docstrings of the types.

A summary, perhaps more paragraphs, then ``Args:`` with an entry for each field;
a field whose type is one of ours needs none: that type's own text is its text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

_ENTRY = re.compile(r"    (\S[^:]*): (.*)")


def describe(kind: type) -> str:
    """Give the text of a type: paragraphs, each on one line."""
    text, _, _ = _parts(kind)
    return "\n\n".join(" ".join(block.split()) for block in text.split("\n\n"))


def describe_fields(kind: type) -> Mapping[str, str]:
    """Give the text of each field that has an entry, by its Python name.

    A field that a type inherits has its entry where it is defined.

    Raises: ValueError for an entry that no field has: a field was renamed.
    """
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        _, found, arguments = _parts(base) if attrs.has(base) else ("", "", "")
        texts |= _entries(arguments) if found else ()
    names = {field.name for field in attrs.fields(kind)}
    if unknown := texts.keys() - names:
        raise ValueError(f"{kind.__name__}: no such fields: {', '.join(sorted(unknown))}")
    return texts


def _parts(kind: type) -> tuple[str, str, str]:
    # cleandoc and not getdoc, which looks into base classes.
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\nArgs:\n")


def _entries(arguments: str) -> Iterator[tuple[str, str]]:
    """One entry may be of several fields: ``ssl_cert, ssl_key: PEM texts.``."""
    names: list[str] = []
    words: list[str] = []
    for line in [*arguments.splitlines(), "    : "]:  # one more ends the last
        entry = _ENTRY.fullmatch(line)
        if entry or line == "    : ":
            for name in names:
                yield name, _sentence(words)
        if entry:
            names, words = entry[1].split(", "), [entry[2]]
        else:
            words.append(line.strip())


def _sentence(words: list[str]) -> str:
    text = " ".join(words).strip()
    return text[:1].upper() + text[1:]


def default_text(value: Any) -> str:
    """Say a default; explain prints none by itself."""
    return f" Defaults to {str(value).lower() if isinstance(value, bool) else value}."
